"""The leader of a cluster without quotas proposes the first ones when half of one is used: until then they would refuse
nothing. It takes that every member understands them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final, Protocol

import msgspec

from engine.interface import Busy
from kvstore.conversation import Conversation
from kvstore.operations import SetQuotas, StoreOperation
from kvstore.quotas import FIRST
from kvstore.store import Outcome, Store

AGAIN_S: Final = 5.0
"""Before the next attempt, if some member runs an older release, or the node is busy."""


PROPOSED: Final = SetQuotas(**msgspec.structs.asdict(FIRST), first=True)


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
        self._leads = False
        self._proposing: asyncio.Task[None] | None = None

    def see(self, leader: int | None) -> None:
        """The leader that this node sees now."""
        led, self._leads = self._leads, leader == self._number
        if not self._leads:
            self.stop()
        elif not led:
            self._review(self._engine.store.conversations.values())

    def on_applied(self, outcome: Outcome) -> None:
        """To be called after each operation that is applied."""
        if self._leads and outcome.ok and outcome.context is not None:
            changed = self._engine.store.conversations.get(outcome.context)
            self._review(() if changed is None else (changed,))

    def _review(self, changed: Iterable[Conversation]) -> None:
        store = self._engine.store
        if self._proposing is None and store.quotas is None and (
            2 * len(store.conversations) >= FIRST.conversations or 2 * store.size >= FIRST.total
            or any(map(_is_half_full, changed))
        ):
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
                    self._engine.submit(PROPOSED)
                return
            except Busy:
                await asyncio.sleep(AGAIN_S)


def _is_half_full(conversation: Conversation) -> bool:
    return 2 * len(conversation.turns) >= FIRST.turns or 2 * conversation.bytes >= FIRST.bytes
