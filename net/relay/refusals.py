"""Reports refused connections to the operator, rate-limited: a flood of them must not flood the screen."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

import msgspec

WINDOW_S = 30.0
MAX_LINES = 10
"""Per code and window; further ones are counted and reported at its end."""
MAX_SAME = 2
"""How often the same line is shown per window: a node that keeps retrying adds nothing new."""


STRANGERS = "strangers"
"""Counted together, whatever they send: the first one of a window is told, and how many more there were."""


class RefusalNotice(msgspec.Struct, frozen=True):
    """One refused connection, or `count` further ones of the same code, whose addresses are not told."""

    code: str
    reason: str
    """A sentence."""
    address: str | None = None
    count: int | None = None


class _Window:
    def __init__(self) -> None:
        self.told: Counter[str] = Counter()
        self.untold = 0


class Refusals:
    """Calls `tell` for a few refusals of each code in one window of time, after that only with their number."""

    def __init__(self, tell: Callable[[RefusalNotice], None], window_s: float = WINDOW_S) -> None:
        self._tell = tell
        self._window_s = window_s
        self._windows: dict[str, _Window] = {}
        self._timers: set[asyncio.TimerHandle] = set()

    def add(self, code: str, reason: str, address: str, *, stranger: bool = False) -> None:
        """`stranger`: it has not said who it is. (Who says so wrongly is told of like a node: often it is one.)"""
        kind = STRANGERS if stranger else code
        window = self._windows.get(kind)
        if window is None:
            window = self._windows[kind] = _Window()
            self._close_later(kind, code)
        line = f"{address} {reason}"
        if window.told[line] >= MAX_SAME or window.told.total() >= (1 if stranger else MAX_LINES):
            window.untold += 1
            return
        window.told[line] += 1
        self._tell(RefusalNotice(code, reason, address))

    def close(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        self._windows.clear()

    def _close_later(self, kind: str, code: str) -> None:
        def close() -> None:
            self._timers.discard(timer)
            count = self._windows.pop(kind).untold
            if count:
                self._tell(RefusalNotice(code, f"{count} more like this within {self._window_s:g} s", count=count))

        timer = asyncio.get_running_loop().call_later(self._window_s, close)
        self._timers.add(timer)
