"""The leader ends a poll when all nodes that are there have voted, or time is up.

The store counts the votes, and the log determines which votes count; only the time of the count is
decided here. If two leaders close a poll, the second comes too late and changes nothing.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from engine.interface import Busy
from kvstore.conversation import Conversation
from kvstore.operations import Elect, ElectWeighed, IfCreatedAt, StoreOperation
from kvstore.store import Store
from llm.requests import View

_AGAIN_S = 1.0
"""Delay before the next attempt if the node was busy."""

Key = tuple[str, int, int, int]
"""Conversation, the position that created it, turn, poll."""


class Engine(Protocol):
    """What closing polls needs of an `engine.interface.Engine`."""

    @property
    def store(self) -> Store: ...

    def submit(self, operation: StoreOperation) -> object:
        """A poll that is already over is ignored. Raises Busy."""
        ...


class PollCloser:
    """At node `number`. A poll is waited for `timeout_s` seconds since this node first saw it as the leader. With
    `by_agreement`, how far the answers agree counts beside the votes."""

    def __init__(self, engine: Engine, number: int, timeout_s: float, by_agreement: bool) -> None:
        self._engine = engine
        self._number = number
        self._timeout_s = timeout_s
        self._elect = ElectWeighed if by_agreement else Elect
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._submitted: set[Key] = set()
        """Their end is submitted, and not applied yet."""

    def review(self, conversation: Conversation, view: View) -> None:
        """To be called after every event that may end a poll."""
        turn = conversation.open_turn
        poll = None if turn is None else conversation.turns[turn - 1].open_poll
        if turn is None or poll is None:
            if self._timers or self._submitted:
                self.forget(conversation.context)
            return
        key = conversation.context, conversation.created, turn, poll.number
        if view.leader != self._number:
            self._drop(key)
        elif key in self._submitted:
            return
        elif (view.live | {self._number}) <= poll.votes.keys():
            self._close(key)
        elif key not in self._timers:
            self._wait(key, self._timeout_s)

    def forget_all(self) -> None:
        """The conversations were replaced, or this node is leaving."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._submitted.clear()

    def _wait(self, key: Key, seconds: float) -> None:
        self._timers[key] = asyncio.get_running_loop().call_later(seconds, self._close, key)

    def _close(self, key: Key) -> None:
        context, created, turn, poll = key
        self._drop(key)
        try:
            self._engine.submit(IfCreatedAt(created, self._elect(context, turn, poll)))
        except Busy:
            self._wait(key, _AGAIN_S)
        else:
            self._submitted.add(key)

    def _drop(self, key: Key) -> None:
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()

    def forget(self, context: str) -> None:
        """Nothing is to be chosen in this conversation."""
        for key in [key for key in self._timers if key[0] == context]:
            self._drop(key)
        self._submitted = {key for key in self._submitted if key[0] != context}
