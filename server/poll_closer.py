"""The returning officer: the leader, who ends a poll when all nodes that are there have voted, or time is up.

How the votes are counted is the store's business, and which votes count follows from the log; only when to count is
decided here. If two leaders do it, the second one comes too late and changes nothing.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from engine.interface import Busy
from kvstore.conversation import Conversation
from kvstore.operations import Elect, StoreOperation
from kvstore.store import Store
from llm.requests import View

_AGAIN_S = 1.0
"""Until the next try if the node had no room."""

Key = tuple[str, int, int]
"""Conversation, turn, poll."""


class Node(Protocol):
    @property
    def store(self) -> Store: ...

    def submit(self, operation: StoreOperation) -> object:
        """A poll that is over already is no matter. Raises Busy."""
        ...


class PollCloser:
    """At node `number`. A poll is waited for `patience_s` seconds since this node first saw it as the leader."""

    def __init__(self, node: Node, number: int, patience_s: float) -> None:
        self._node = node
        self._number = number
        self._patience_s = patience_s
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._counted: set[Key] = set()
        """Handed in, and not over yet."""

    def review(self, conversation: Conversation, view: View) -> None:
        """To be called after everything that may end a poll."""
        turn = conversation.open_turn
        poll = None if turn is None else conversation.turns[turn - 1].open_poll
        if turn is None or poll is None:
            if self._timers or self._counted:
                self._forget(conversation.context)
            return
        key = conversation.context, turn, poll.number
        if view.leader != self._number:
            self._drop(key)
        elif key in self._counted:
            return
        elif (view.live | {self._number}) <= poll.votes.keys():
            self._count(key)
        elif key not in self._timers:
            self._wait(key, self._patience_s)

    def forget_all(self) -> None:
        """The conversations were replaced, or nobody is there any more who could count."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._counted.clear()

    def _wait(self, key: Key, seconds: float) -> None:
        self._timers[key] = asyncio.get_running_loop().call_later(seconds, self._count, key)

    def _count(self, key: Key) -> None:
        context, turn, poll = key
        self._drop(key)
        try:
            self._node.submit(Elect(context, turn, poll))
        except Busy:
            self._wait(key, _AGAIN_S)
        else:
            self._counted.add(key)

    def _drop(self, key: Key) -> None:
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()

    def _forget(self, context: str) -> None:
        for key in [key for key in self._timers if key[0] == context]:
            self._drop(key)
        self._counted = {key for key in self._counted if key[0] != context}
