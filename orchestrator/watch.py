"""`watch`: the operator's `status`, all the time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from api.operator_commands import WatchCommand
from api.operator_events import NetworkStatusEvent
from api.operator_results import NetworkStatusResult, WatchResult

EVERY_S = 1.0


class Watch:
    """If `drawn`, somebody shows the status as long as `on`; else it is sent as an event once a second."""

    def __init__(
        self, drawn: bool, status: Callable[[], NetworkStatusResult], emit: Callable[[NetworkStatusEvent], None]
    ) -> None:
        self._drawn = drawn
        self._status = status
        self._emit = emit
        self._task: asyncio.Task[None] | None = None
        self.on = False

    async def switch(self, command: WatchCommand) -> WatchResult:
        on = not (self.on and self._drawn) if command.on is None else command.on
        self.stop()
        self.on = on
        if on and not self._drawn:
            self._send()
            self._task = asyncio.ensure_future(self._send_repeatedly())
        ends = "watch again" if self._drawn else "the next line"
        return WatchResult(on=on, text=f"watching; {ends} ends it" if on else "no longer watching")

    def on_command(self) -> None:
        """Something was typed."""
        if not self._drawn:
            self.stop()

    def stop(self) -> None:
        self.on = False
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _send_repeatedly(self) -> None:
        while True:
            await asyncio.sleep(EVERY_S)
            self._send()

    def _send(self) -> None:
        status = self._status()
        self._emit(NetworkStatusEvent(**{name: getattr(status, name) for name in NetworkStatusEvent.__struct_fields__}))
