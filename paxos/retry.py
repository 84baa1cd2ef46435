"""When to retransmit: with a growing interval, without end."""

from __future__ import annotations

GROWTH = 1.3
CEILING = 4.0
"""The maximum wait, as a multiple of the first wait."""


class Retry:
    __slots__ = ("_factor", "_since")

    def __init__(self, now: float) -> None:
        self._since = now
        self._factor = 1.0

    def due(self, now: float, wait_s: float) -> bool:
        """True when a repetition is due; then the next, slightly longer wait begins."""
        if now - self._since < wait_s * self._factor:
            return False
        self._since = now
        self._factor = min(self._factor * GROWTH, CEILING)
        return True

    def reset(self, now: float) -> None:
        """There was progress (or a new attempt): restart with the initial wait."""
        self._since = now
        self._factor = 1.0
