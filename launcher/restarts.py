"""When a process that has crashed is started again, where nobody watches: after a growing pause, and not for ever."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from launcher.arguments import EXIT_USAGE

FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 30.0
MOST: Final = 10
"""Restarts in a row."""
STEADY_S: Final = 60.0
"""A process that ran for so long had recovered: the next crash is the first one again."""
AT_ONCE_S: Final = 10.0
"""A process that gives up within this, when it is started for the first time, needs a person: its port is in use, or
its configuration is wrong."""


class Restarts:
    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._since: dict[str, float] = {}
        self._crashes: dict[str, int] = {}
        """In a row, by name."""

    def started(self, name: str, *, wanted: bool) -> None:
        """`wanted` by a person: whatever was before is forgotten."""
        self._since[name] = self._clock()
        if wanted:
            self._crashes.pop(name, None)

    def pause(self, name: str, code: int) -> float | None:
        """How many seconds to wait before it is started again, after it has ended with this exit code (negative: of a
        signal); None: it is not."""
        ran = self._clock() - self._since[name]
        crashes = 0 if ran >= STEADY_S else self._crashes.get(name, 0)
        if code in (0, EXIT_USAGE) or (code > 0 and not crashes and ran < AT_ONCE_S) or crashes == MOST:
            return None
        self._crashes[name] = crashes + 1
        return min(FIRST_PAUSE_S * 2.0**crashes, LONGEST_PAUSE_S)
