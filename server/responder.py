"""Asks this node's LLM what the conversations want to know of it, and submits what it says as operations.

Nothing is remembered here: what is to be asked follows from the store, so a node that restarts asks again for that.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Protocol, TypeAlias

from engine.interface import Busy, NotUnderstood
from kvstore.conversation import Conversation, Cut
from kvstore.operations import (
    AboutTurn,
    Answer,
    AnswerInFull,
    Candidate,
    CandidateInFull,
    ChooseAuto,
    IfCreatedAt,
    Ranking,
    StoreOperation,
    Synthesized,
)
from kvstore.rules import MAX_MODEL_BYTES, MAX_TOKENS
from kvstore.store import Outcome, Store
from llm.provider import ProviderError, Reply
from llm.ranking import read_ranking
from llm.request_scheduler import RequestScheduler
from llm.requests import Fate, Request, View, fate, pending, pending_here
from server.absent_writer import AbsentWriter
from server.auto_choice import AutoChoice
from server.poll_closer import PollCloser

_PAUSE_S = 1.0
"""Delay before retrying a read that was refused as busy: thousands are waiting, let them go first."""


class Engine(Protocol):
    """What the responder needs of an `engine.interface.Engine`."""

    @property
    def store(self) -> Store: ...

    def submit(self, operation: StoreOperation) -> object:
        """The store decides, and shows, whether an answer was accepted or came too late. Raises Busy."""
        ...

    def read(self) -> asyncio.Future[None]: ...


Done: TypeAlias = Callable[[Request, Reply | ProviderError], None]


class Responder:
    """At node `number`. `make_scheduler` gets the callback for each request's outcome. `poll_s`: a poll ends
    without the nodes that have not voted after this many seconds; `by_agreement`: how far the answers agree counts
    beside the votes."""

    def __init__(
        self, number: int, engine: Engine, make_scheduler: Callable[[Done], RequestScheduler], *, poll_s: float,
        by_agreement: bool = True,
    ) -> None:
        self.scheduler = make_scheduler(self._done)
        self._number = number
        self._engine = engine
        self._view = View(None)
        """The cluster as this node acts on it."""
        self._seen = View(None)
        """The cluster as this node sees it now."""
        self._caught_up = False
        self._catching_up: asyncio.Task[None] | None = None
        self._poll_closer = PollCloser(engine, number, poll_s, by_agreement)
        self._auto_choice = AutoChoice(number)
        self._absent_writer = AbsentWriter(number)
        self._unsent: deque[StoreOperation] = deque()
        self._open: dict[str, Conversation] = {}
        """The conversations with a question that LLMs are to answer, by their ids. Kept once caught up: links come and
        go often, and there may be very many conversations."""
        self._changed: dict[str, set[int | None]] = {}
        """Conversations that are to be looked at, and which of their turns have changed."""
        self._looking = False
        self._closed = False

    async def run(self) -> None:
        """Waits until this node knows everything decided before it started, so that it asks nothing that was
        answered long ago; then asks what is still to be asked."""
        await self._catch_up()
        self._caught_up = True
        self._view = self._seen
        self.review()

    async def _catch_up(self) -> None:
        while True:
            try:
                reading = self._engine.read()
            except Busy:
                await asyncio.sleep(_PAUSE_S)
                continue
            await asyncio.wait([reading])
            return

    def review(self) -> None:
        """Checks all conversations: after a start or the installation of a snapshot."""
        if self._caught_up:
            conversations = self._engine.store.conversations
            self._open = {name: found for name, found in conversations.items() if found.pending_turn is not None}
            self.scheduler.retain(self._is_open)
            self._poll_closer.forget_all()
            self._auto_choice.forget_all()
            self._absent_writer.forget_all()
            self._ask_open()

    def _is_open(self, context: str, turn: int) -> bool:
        conversation = self._open.get(context)
        return conversation is not None and conversation.pending_turn == turn

    def _fate(self, request: Request) -> Fate:
        return fate(request, self._open.get(request.context), self._number, self._view)

    def _ask_open(self) -> None:
        """What was wanted before and is not any more is called off."""
        self.scheduler.review(self._fate)
        for request in pending(self._open, self._number, self._view):
            self.scheduler.start(request)
        for conversation in self._open.values():
            self._choose(conversation)
        self._send()

    def _choose(self, conversation: Conversation) -> None:
        """Begins or ends what it is time for."""
        self._poll_closer.review(conversation, self._view)
        for due in (self._auto_choice.due(conversation, self._view), self._absent_writer.due(conversation, self._view)):
            if due is not None:
                self._unsent.append(due)

    def see(self, leader: int | None, live: Iterable[int]) -> None:
        """This node sees a different leader, or different nodes."""
        seen = View(leader, frozenset(live))
        if seen == self._seen:
            return
        new_leader = leader != self._seen.leader
        self._seen = seen
        if not self._caught_up:
            return
        if new_leader and leader == self._number:
            # An answer may be decided but not yet applied here: then the LLM must not be asked again.
            self._view = View(None)
            if self._catching_up is not None:
                self._catching_up.cancel()
            self._catching_up = asyncio.get_running_loop().create_task(self._take_over())
        elif self._view.leader is not None or leader != self._number:
            self._act_on_view()

    async def _take_over(self) -> None:
        await self._catch_up()
        self._catching_up = None
        self._act_on_view()

    def _act_on_view(self) -> None:
        self._view = self._seen
        self._ask_open()

    def on_applied(self, outcome: Outcome) -> None:
        """To be called after each operation that is applied. Conversations that changed are looked at once for all that
        is applied in one turn of the event loop."""
        context, operation = outcome.context, outcome.operation
        changed = outcome.ok
        if type(operation) is ChooseAuto:
            self._auto_choice.applied(operation)
            changed = True  # or it was refused: then what made it so may have changed again
        if self._caught_up and changed and context is not None:
            if context in self._engine.store.conversations:
                self._changed.setdefault(context, set()).add(outcome.turn)
            else:
                self._forget(context)
        if (self._changed or self._unsent) and not self._looking:
            self._looking = True
            asyncio.get_running_loop().call_soon(self._look)

    def _look(self) -> None:
        if self._closed:
            return
        self._looking = False
        changed, self._changed = self._changed, {}
        for context, turns in changed.items():
            conversation = self._engine.store.conversations.get(context)
            if conversation is not None:  # else it went with a snapshot: all are reviewed then
                self._look_at(conversation, turns)
        self._send()

    def _look_at(self, conversation: Conversation, turns: Iterable[int | None]) -> None:
        """These turns have changed."""
        context, pending_turn = conversation.context, conversation.pending_turn
        for turn in turns:
            if turn is not None and turn != pending_turn:
                self.scheduler.cancel(context, turn)
        if pending_turn is not None and pending_turn > 1:
            self.scheduler.cancel(context, pending_turn - 1)  # another answer, which this question has overtaken
        if pending_turn is None:
            self._open.pop(context, None)
        else:
            self._open[context] = conversation
            self.scheduler.review_turn(context, pending_turn, self._fate)
            for request in pending_here(conversation, self._number, self._view):
                self.scheduler.start(request)
        self._choose(conversation)

    def _forget(self, context: str) -> None:
        """There is no conversation of this name any more."""
        for turn in self._changed.pop(context, ()):
            if turn is not None:
                self.scheduler.cancel(context, turn)
        conversation = self._open.pop(context, None)
        if conversation is not None:
            self.scheduler.cancel(context, len(conversation.turns))
            self._poll_closer.forget(context)
            self._absent_writer.forget(context)

    def _done(self, request: Request, outcome: Reply | ProviderError) -> None:
        self._unsent.append(IfCreatedAt(request.created, _operation(request, self._number, outcome)))
        self._send()

    def _send(self) -> None:
        not_yet: list[StoreOperation] = []
        while self._unsent:
            try:
                self._engine.submit(self._unsent[0])
            except NotUnderstood:
                not_yet.append(self._unsent.popleft())  # what all members understand does not wait for it
                continue
            except Busy:
                break  # the next applied operation frees capacity
            self._unsent.popleft()
        self._unsent.extendleft(reversed(not_yet))

    async def close(self) -> None:
        self._closed = True
        if self._catching_up is not None:
            self._catching_up.cancel()
        self._poll_closer.forget_all()
        await self.scheduler.close()


def _operation(request: Request, node: int, outcome: Reply | ProviderError) -> AboutTurn:
    failed, model = isinstance(outcome, ProviderError), _fitting(outcome.model)
    text, error = (None, outcome.reason) if isinstance(outcome, ProviderError) else (outcome.text, None)
    if request.kind == "ranking":
        order = read_ranking(text or "", request.ranked)
        if order is None and not failed:
            error = "its ranking cannot be parsed"
        return Ranking(request.context, request.turn, node, request.round, order or [], error, model)
    seen, before = (0, 0) if isinstance(outcome, ProviderError) else (outcome.seen, outcome.before)
    said = (
        request.context, request.turn, node, text, error, model, outcome.seconds, request.round, seen, before
    )
    if request.kind == "synthesis":
        more = () if isinstance(outcome, ProviderError) else _more(outcome)
        return Synthesized(*said, *more)
    is_candidate = request.kind == "candidate"
    if isinstance(outcome, ProviderError):
        return Candidate(*said) if is_candidate else Answer(*said)
    more = _more(outcome)
    if not any(more):
        return Candidate(*said) if is_candidate else Answer(*said)
    return (CandidateInFull if is_candidate else AnswerInFull)(*said, *more)


def _more(reply: Reply) -> tuple[str, Cut | None, float, int, int]:
    """What only operations in full say of it."""
    return reply.thoughts, *_cut(reply), _bounded(reply.tokens_in), _bounded(reply.tokens_out)


def _fitting(model: str) -> str:
    """Of its name, what fits."""
    return model.encode(errors="replace")[:MAX_MODEL_BYTES].decode(errors="ignore")


def _bounded(tokens: int | None) -> int:
    """What an LLM's server counts may make no sense."""
    return tokens if tokens is not None and 0 <= tokens <= MAX_TOKENS else 0


def _cut(reply: Reply) -> tuple[Cut | None, float]:
    """Which limit the answer reached before it was whole."""
    if reply.complete:
        return None, 0.0
    return (Cut.TIME, reply.cut_s) if reply.cut_s else (Cut.TOKENS, float(reply.cut_tokens or 0))
