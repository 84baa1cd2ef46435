"""When to send again: patient at first, more patient every time, never giving up."""

from __future__ import annotations

GROWTH = 1.3
CEILING = 4.0
"""However often something was repeated, it waits at most this many times its first wait."""


class Retry:
    __slots__ = ("_factor", "_since")

    def __init__(self, now: float) -> None:
        self._since = now
        self._factor = 1.0

    def due(self, now: float, wait_s: float) -> bool:
        """True when it's time to repeat; then the next wait begins, a little longer than the last."""
        if now - self._since < wait_s * self._factor:
            return False
        self._since = now
        self._factor = min(self._factor * GROWTH, CEILING)
        return True

    def reset(self, now: float) -> None:
        """There was progress (or a new try): wait from now on, as patiently as at first."""
        self._since = now
        self._factor = 1.0
