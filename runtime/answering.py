"""Turns what this node owes to the conversations into questions to its LLM, and what the LLM says into operations.

Nothing is remembered here: what is owed follows from the store, so a node that restarts asks again for just that.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol

from kvstore.commands import Answer, Candidate, Command
from kvstore.store import Outcome, Store
from llm.desk import Desk
from llm.duties import Duty, owed, owed_in
from llm.provider import ProviderError, Reply
from runtime.busy import Busy


class Node(Protocol):
    """What answering needs of its node."""

    @property
    def store(self) -> Store: ...

    def submit(self, command: Command) -> asyncio.Future[Outcome]:
        """Raises Busy."""
        ...

    def read(self) -> asyncio.Future[None]: ...


Done = Callable[[Duty, Reply | ProviderError], None]


class Answering:
    def __init__(self, number: int, node: Node, make_desk: Callable[[Done], Desk]) -> None:
        """`make_desk` gets the callback for what comes of each duty."""
        self.desk = make_desk(self._done)
        self._number = number
        self._node = node
        self._leading = False
        self._level = False
        self._unsent: deque[Command] = deque()

    async def run(self) -> None:
        """Waits until this node knows all that was decided before it started, so that it asks nothing which was
        answered long ago; then sees to what is owed."""
        while not self._level:
            try:
                await self._node.read()
            except Busy:
                await asyncio.sleep(1.0)  # thousands of reads are waiting: let them go first
                continue
            self._level = True
        self.review()

    def review(self) -> None:
        """Looks at all conversations: after a start, a change of leader, or a jump ahead."""
        if self._level:
            for duty in owed(self._node.store.conversations, self._number, self._leading):
                self.desk.start(duty)

    def lead(self, leading: bool) -> None:
        """This node has begun or ceased to lead."""
        if leading != self._leading:
            self._leading = leading
            if leading:
                self.review()

    def on_applied(self, outcome: Outcome) -> None:
        """To be called after each operation that is applied."""
        self._send()
        if not self._level or not outcome.ok or outcome.context is None:
            return
        conversation = self._node.store.conversations[outcome.context]
        if outcome.turn is not None and conversation.open_turn != outcome.turn:
            self.desk.cancel(outcome.context, outcome.turn)
        duty = owed_in(conversation, self._number, self._leading)
        if duty is not None:
            self.desk.start(duty)

    def _done(self, duty: Duty, outcome: Reply | ProviderError) -> None:
        text, error = (None, outcome.reason) if isinstance(outcome, ProviderError) else (outcome.text, None)
        make = Candidate if duty.kind == "candidate" else Answer
        self._unsent.append(make(duty.context, duty.turn, self._number, text, error, outcome.model, outcome.seconds))
        self._send()

    def _send(self) -> None:
        while self._unsent:
            try:
                decided = self._node.submit(self._unsent[0])
            except Busy:
                return  # the next operation that is applied makes room
            decided.add_done_callback(_ignore)
            self._unsent.popleft()

    async def close(self) -> None:
        await self.desk.close()


def _ignore(decided: asyncio.Future[Outcome]) -> None:
    """Whether an answer was taken or came too late is decided by the store, and shown by it."""
