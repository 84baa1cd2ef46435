"""What a node has to ask its LLM, read off the conversations: nothing is remembered, so nothing is lost in a crash."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from functools import partial
from typing import Literal, TypeAlias

import msgspec

from kvstore.conversation import Conversation, Kind, Synthesis, Turn
from llm.provider import Message, RankingBallot
from llm.ranking import answer_of, ranking_ballot, ranking_prompt
from llm.synthesis import Sources, question, sources_of

RequestKind: TypeAlias = Literal["candidate", "answer", "ranking", "synthesis"]
RequestKey: TypeAlias = tuple[str, int, RequestKind]
PromptBuilder: TypeAlias = Callable[[], list[Message]]


class View(msgspec.Struct, frozen=True):
    """The cluster as a node sees it. `live` are the nodes that it exchanges messages with."""

    leader: int | None
    live: frozenset[int] = frozenset()


class Request(msgspec.Struct, frozen=True):
    """Ask the LLM for `messages`, and submit the reply to turn `turn`: as a `Candidate`, an `Answer`, what is
    `Synthesized` out of `sources`, or a `Ranking` of the nodes `ranked` (in the order in which `ballot` has their
    answers)."""

    context: str
    turn: int
    """Counts from 1."""
    kind: RequestKind
    build: PromptBuilder
    """Makes the messages when the LLM is free to take them: thousands of requests may be waiting."""
    round: int = 0
    """How often it has been asked again; for a ranking, the number of the poll, and for a synthesis, its own. Only
    increases."""
    ranked: list[int] = []
    ballot: RankingBallot | None = None
    created: int = 0
    """The position that created the conversation."""
    system: str = ""
    """The conversation's system prompt; empty: what the node tells its LLM by itself."""
    sources: Sources | None = None

    @property
    def version(self) -> tuple[int, int]:
        """Of what is asked. Only increases, also when another conversation takes the name of a deleted one."""
        return self.created, self.round

    @property
    def messages(self) -> list[Message]:
        return self.build()

    @property
    def key(self) -> RequestKey:
        return self.context, self.turn, self.kind


def pending(conversations: Mapping[str, Conversation], node: int, view: View) -> list[Request]:
    """All requests that `node` has to make, in order of the conversations."""
    return [request for conversation in conversations.values() for request in pending_here(conversation, node, view)]


def pending_here(conversation: Conversation, node: int, view: View) -> list[Request]:
    """All requests that `node` has to make for this conversation."""
    requests = pending_in(conversation, node, view), synthesis_in(conversation, node, view)
    return [request for request in requests if request is not None]


def pending_in(conversation: Conversation, node: int, view: View) -> Request | None:
    """What `node` has to ask for this conversation: a candidate for an open query, then a ranking if the nodes are to
    choose; or the answer to an open ask, or another one to a closed one, if it is the responder.

    A response that says why there is no answer completes the request too: it is not retried automatically.
    """
    number = conversation.pending_turn
    if number is None:
        return None
    turn = conversation.turns[number - 1]
    poll = turn.open_poll
    if poll is not None and node not in poll.votes:
        nodes, ballot = ranking_ballot(conversation, number, poll, node)
        build = partial(ranking_prompt, ballot)
        return Request(conversation.context, number, "ranking", build, poll.number, nodes, ballot, conversation.created)
    is_answered = node in turn.candidates and not turn.regenerating
    if is_answered or (turn.kind is Kind.ASK and responder(turn, node, view) != node):
        return None
    kind: RequestKind = "candidate" if turn.kind is Kind.QUERY else "answer"
    build = partial(chat, conversation, number)
    return Request(
        conversation.context, number, kind, build, turn.round(node), created=conversation.created,
        system=conversation.system,
    )


def synthesis_in(conversation: Conversation, node: int, view: View) -> Request | None:
    """The synthesis that `node` has to ask its LLM for, which does not wait for its own answer to the question."""
    number = conversation.open_turn
    synthesis = None if number is None else conversation.turns[number - 1].open_synthesis
    if number is None or synthesis is None or writer(synthesis, view) != node:
        return None
    sources = sources_of(conversation, number, synthesis)

    def messages() -> list[Message]:
        return [*chat(conversation, number)[:-1], question(sources)]

    return Request(
        conversation.context, number, "synthesis", messages, synthesis.number, created=conversation.created,
        system=conversation.system, sources=sources,
    )


def writer(synthesis: Synthesis, view: View) -> int | None:
    """Whose LLM is to write it. If nodes disagree on the leader, two may; what is decided first counts."""
    return view.leader if synthesis.node is None else synthesis.node


class Fate(Enum):
    """What becomes of a request that was started, as things are now."""

    KEEP = "keep"
    FINISH = "finish"
    """Another node is to answer: nothing is put to the LLM any more, but what is there already may come first."""
    DROP = "drop"
    """Whatever it says would be refused."""


def fate(request: Request, conversation: Conversation | None, node: int, view: View) -> Fate:
    if conversation is None or (conversation.created, conversation.pending_turn) != (request.created, request.turn):
        return Fate.DROP
    turn = conversation.turns[request.turn - 1]
    if request.kind == "ranking":
        poll = turn.open_poll
        return Fate.KEEP if poll is not None and poll.number == request.round and node not in poll.votes else Fate.DROP
    if request.kind == "synthesis":
        synthesis = turn.open_synthesis
        if synthesis is None or synthesis.number != request.round:
            return Fate.DROP
        return Fate.KEEP if writer(synthesis, view) == node else Fate.FINISH
    if request.round != turn.round(node):
        return Fate.DROP
    if request.kind == "candidate":
        return Fate.DROP if node in turn.candidates else Fate.KEEP
    return Fate.KEEP if responder(turn, node, view) == node else Fate.FINISH


def responder(turn: Turn, node: int, view: View) -> int | None:
    """Who is to answer an open ask, as `node` sees it: the leader; once its LLM has failed, the first of the other live
    nodes whose LLM has not. None if there is no leader, or no such node. Another answer is the leader's to give.

    If nodes disagree on this, two may ask; the answer that is decided first counts.
    """
    if view.leader is None or turn.regenerating:
        return view.leader
    order = [view.leader, *sorted((view.live | {node}) - {view.leader})]
    return next((one for one in order if one not in turn.candidates), None)


def chat(conversation: Conversation, number: int) -> list[Message]:
    """The question of turn `number`, preceded by every earlier turn with an answer; those without one are left out."""
    messages: list[Message] = []
    for turn in conversation.turns[: number - 1]:
        answer = turn.answer
        if answer is not None and answer.text is not None:
            messages += Message("user", turn.text), Message("assistant", answer_of(answer))
    messages.append(Message("user", conversation.turns[number - 1].text))
    return messages
