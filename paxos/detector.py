"""Suspects a source that is silent for longer than usual.

After Chandra and Toueg's eventually perfect detector, with the wait taken from measured gaps (as in Jacobson's
round-trip estimator) instead of a setting: longer on a slow or jittery network, shorter on a fast one.
"""

from __future__ import annotations

SMOOTHING = 1 / 16
DEVIATIONS = 6.0
MOST_PATIENT = 10.0
"""The maximum wait in election times; also limits how long one long gap is remembered."""


class Detector:
    def __init__(self, election_s: float, usual_gap_s: float) -> None:
        self._least = election_s
        self._most = election_s * MOST_PATIENT
        self._mean = usual_gap_s
        self._deviation = 0.0
        self._last: float | None = None
        self.patience = election_s
        """Seconds of silence that are still normal."""

    def beat(self, now: float) -> None:
        """A message from the source arrived."""
        if self._last is not None:
            gap = min(now - self._last, self._most)
            self._deviation += (abs(gap - self._mean) - self._deviation) * SMOOTHING
            self._mean += (gap - self._mean) * SMOOTHING
            self.patience = min(max(self._least, self._mean + DEVIATIONS * self._deviation), self._most)
        self._last = now

    def forget(self) -> None:
        """Suspect at once, until the next message."""
        self._last = None

    def lately(self, now: float) -> bool:
        """Heard recently: well within the normal silence."""
        return self._last is not None and now - self._last <= self.patience / 2

    def alive(self, now: float) -> bool:
        return self._last is not None and now - self._last <= self.patience
