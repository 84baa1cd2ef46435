"""`watch`: the operator's `status`, kept on the screen or sent once a second."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from console import Result
from orchestrator.words import Action, CommandError

EVERY_S = 1.0


class Watch:
    """In a terminal it is a panel that whoever shows the status line draws while `on`; elsewhere, events."""

    def __init__(self, live: bool, status: Callable[[], Result], emit: Callable[[Result], None]) -> None:
        self._live = live
        self._status = status
        self._emit = emit
        self._task: asyncio.Task[None] | None = None
        self.on = False

    def plan(self, args: list[str]) -> Action:
        word = args[0].lower() if args else ""
        if word not in ("", "on", "off"):
            raise CommandError(f"'{args[0][:40]}' is neither on nor off, for example: watch on")
        return lambda: self._switch(word)

    async def _switch(self, word: str) -> Result:
        on = word == "on" or (word == "" and not (self.on and self._live))
        self.stop()
        self.on = on
        if on and not self._live:
            self._tell_now()
            self._task = asyncio.ensure_future(self._tell())
        ends = "watch again" if self._live else "the next line"
        return {"on": on, "text": f"watching; {ends} ends it" if on else "no longer watching"}

    def next_line(self) -> None:
        """Something was typed."""
        if not self._live:
            self.stop()

    def stop(self) -> None:
        self.on = False
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _tell(self) -> None:
        while True:
            await asyncio.sleep(EVERY_S)
            self._tell_now()

    def _tell_now(self) -> None:
        self._emit({"event": "status", **self._status()})
