"""The leader deletes temporary conversations a while after their last change.

Which are temporary is decided with the question that begins them; only the time of the deletion is decided here. If two
leaders delete one, the second comes too late and changes nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

from engine.interface import Busy, EngineStatus
from kvstore.operations import Delete, StoreOperation
from kvstore.store import Store

KEPT_S = 3600.0
"""So long, whoever asked can repeat a question, and gets the same answer."""
EVERY_S = 60.0
AT_A_TIME = 200


class Engine(Protocol):
    """What expiry needs of an `engine.interface.Engine`."""

    @property
    def store(self) -> Store: ...

    def status(self) -> EngineStatus: ...

    def submit(self, operation: StoreOperation) -> object:
        """Raises Busy."""
        ...


class Expiry:
    """At node `number`."""

    def __init__(self, engine: Engine, number: int, clock: Callable[[], float] = time.time) -> None:
        self._engine = engine
        self._number = number
        self._clock = clock
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(EVERY_S, self._again)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _again(self) -> None:
        self.start()
        self.sweep()

    def sweep(self) -> None:
        if self._engine.status().leader != self._number:
            return
        before = (self._clock() - KEPT_S) * 1000
        found = self._engine.store.conversations.values()
        over = [conversation for conversation in found if conversation.temporary and conversation.changed < before]
        for conversation in over[:AT_A_TIME]:
            try:
                self._engine.submit(Delete(conversation.context, conversation.created))
            except Busy:
                return  # the next sweep finds it again
