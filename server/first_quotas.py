"""The leader of a cluster without quotas proposes the first ones, once every member understands them."""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

import msgspec

from engine.interface import Busy
from kvstore.operations import SetQuotas, StoreOperation
from kvstore.quotas import FIRST
from kvstore.store import Store

AGAIN_S: Final = 5.0
"""Before the next attempt, if some member runs an older release, or the node is busy."""


class Engine(Protocol):
    """What this needs of an `engine.interface.Engine`."""

    @property
    def store(self) -> Store: ...

    def submit(self, operation: StoreOperation) -> object: ...

    def read(self) -> asyncio.Future[None]: ...


class FirstQuotas:
    """At node `number`. If two leaders propose quotas, the second ones are refused."""

    def __init__(self, engine: Engine, number: int) -> None:
        self._engine = engine
        self._number = number
        self._proposing: asyncio.Task[None] | None = None

    def see(self, leader: int | None) -> None:
        """The leader that this node sees now."""
        if leader != self._number:
            self.stop()
        elif self._proposing is None and self._engine.store.quotas is None:
            self._proposing = asyncio.get_running_loop().create_task(self._propose())

    def stop(self) -> None:
        if self._proposing is not None:
            self._proposing.cancel()
            self._proposing = None

    async def _propose(self) -> None:
        while True:
            try:
                await self._engine.read()  # quotas may be decided and not applied here yet
                if self._engine.store.quotas is None:
                    self._engine.submit(SetQuotas(**msgspec.structs.asdict(FIRST), first=True))
                return
            except Busy:
                await asyncio.sleep(AGAIN_S)
