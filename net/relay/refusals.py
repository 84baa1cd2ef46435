"""Lines for the operator about connections that were not wanted, so that a flood of strangers floods no screen."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

WINDOW_S = 30.0
MAX_LINES = 10
"""For each kind, in one window; further ones are counted and told of at its end."""
MAX_SAME = 2
"""How often the same line is told in one window: a node that keeps trying says nothing new."""

Emit = Callable[[dict[str, object]], None]


class _Window:
    def __init__(self) -> None:
        self.told: Counter[str] = Counter()
        self.silent = 0


class Notices:
    """Emits `refused` events: a few of each kind in one window of time, after that only their number."""

    def __init__(self, emit: Emit, window_s: float = WINDOW_S) -> None:
        self._emit = emit
        self._window_s = window_s
        self._windows: dict[str, _Window] = {}
        self._timers: set[asyncio.TimerHandle] = set()

    def refused(self, kind: str, reason: str, host: str) -> None:
        window = self._windows.get(kind)
        if window is None:
            window = self._windows[kind] = _Window()
            self._close_later(kind)
        line = f"{host} {reason}"
        if window.told[line] >= MAX_SAME or window.told.total() >= MAX_LINES:
            window.silent += 1
            return
        window.told[line] += 1
        self._emit({"event": "refused", "code": kind, "reason": reason, "address": host})

    def close(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        self._windows.clear()

    def _close_later(self, kind: str) -> None:
        def close() -> None:
            self._timers.discard(timer)
            window = self._windows.pop(kind)
            if window.silent:
                reason = f"{window.silent} more like it within {self._window_s:g} s"
                self._emit({"event": "refused", "code": kind, "reason": reason, "count": window.silent})

        timer = asyncio.get_running_loop().call_later(self._window_s, close)
        self._timers.add(timer)
