"""Faults that end automatically: `--for 10s`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import msgspec

from api.operator_events import FaultOverEvent
from api.operator_results import RunningTimer

Undo: TypeAlias = Callable[[], Awaitable[str | None]]
"""Removes a fault; returns the change as text, or None if nothing of it was left."""


class Timer(msgspec.Struct):
    token: int
    fault: str
    """As it was typed."""
    ends: float
    """Loop time."""
    handle: asyncio.TimerHandle
    still_on: Callable[[], bool]


class Timers:
    """`over` is called when a fault has been taken back, with a sentence about that."""

    def __init__(self, over: Callable[[FaultOverEvent, str], None]) -> None:
        self._over = over
        self._count = 0
        self._timers: dict[int, Timer] = {}
        self._ending: set[asyncio.Task[None]] = set()

    def token(self) -> int:
        """A token for a fault about to be set."""
        self._count += 1
        return self._count

    def start(
        self, token: int, fault: str, seconds: float, undo: Undo, still_on: Callable[[], bool], over: str = ""
    ) -> None:
        """`over`: what is said when it has ended; what `undo` returns, if that is empty."""
        loop = asyncio.get_running_loop()
        handle = loop.call_later(seconds, self._end, token, undo, over)
        self._timers[token] = Timer(token, fault, loop.time() + seconds, handle, still_on)

    def cancel(self, token: int | None) -> None:
        """Cancels the timer: a later command has replaced the fault."""
        timer = self._timers.pop(token, None) if token is not None else None
        if timer is not None:
            timer.handle.cancel()

    def running(self) -> list[RunningTimer]:
        """Faults that will end automatically, the next one first."""
        now = asyncio.get_running_loop().time()
        timers = sorted((each for each in self._timers.values() if each.still_on()), key=lambda timer: timer.ends)
        return [RunningTimer(each.fault, round(max(each.ends - now, 0), 1)) for each in timers]

    def clear(self) -> None:
        for token in list(self._timers):
            self.cancel(token)

    async def close(self) -> None:
        self.clear()
        for task in list(self._ending):
            task.cancel()
        if self._ending:
            await asyncio.wait(self._ending)

    def _end(self, token: int, undo: Undo, over: str) -> None:
        timer = self._timers.pop(token)
        task = asyncio.ensure_future(self._undo(timer.fault, undo, over))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _undo(self, fault: str, undo: Undo, over: str) -> None:
        now = await undo()
        if now is not None:
            self._over(FaultOverEvent(fault, now), over or now)
