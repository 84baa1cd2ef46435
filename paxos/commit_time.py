"""How long a node's disk takes to make something durable, the wait for what it is writing already included.

Measured, never configured: what is told here is the time from handing a write to the disk until it is durable. Whoever
waits for something that others must store first (a promise, a vote) waits for their disks as well as for the network.
"""

from __future__ import annotations

SMOOTHING = 0.5
MOST = 10.0
"""Seconds; a disk that takes longer hangs, and is not waited for in proportion."""


class CommitTime:
    def __init__(self) -> None:
        self._mean: float | None = None

    @property
    def seconds(self) -> float:
        """0 as long as nothing was stored."""
        return self._mean or 0.0

    def measured(self, seconds: float) -> None:
        """The disk took so long for one write."""
        sample = bounded(seconds)
        self._mean = sample if self._mean is None else self._mean + (sample - self._mean) * SMOOTHING


def bounded(seconds: float) -> float:
    """What may be believed of a time that somebody claims, however odd."""
    return min(max(0.0, seconds), MOST)
