"""What a node owes to the conversations, read off their state: nothing is remembered, so nothing is lost in a crash."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Literal, TypeAlias

import msgspec

from kvstore.conversation import Conversation, Kind, Turn
from llm.provider import Message, RankingBallot
from llm.ranking import ballot_of, paper

RequestKind: TypeAlias = Literal["candidate", "answer", "ranking"]
RequestKey: TypeAlias = tuple[str, int, RequestKind]
PromptBuilder: TypeAlias = Callable[[], list[Message]]


class View(msgspec.Struct, frozen=True):
    """Who is there, as a node sees it. `live` are the nodes that it exchanges messages with."""

    leader: int | None
    live: frozenset[int] = frozenset()


class Request(msgspec.Struct, frozen=True):
    """Ask the LLM what `paper` says, and submit what comes of it to turn `turn`: as a `Candidate`, an `Answer`, or a
    `Ranking` of the nodes in `ballot` (in the order in which `ranked` has their answers)."""

    context: str
    turn: int
    """Counts from 1."""
    kind: RequestKind
    paper: PromptBuilder
    """Writes down the question, with what belongs to it, when the LLM has time for it."""
    round: int = 0
    """How often it has been asked again; of a ranking, the number of the poll. Goes up only."""
    ballot: list[int] = []
    ranked: RankingBallot | None = None
    """What `paper` asks to be ranked."""

    @property
    def messages(self) -> list[Message]:
        return self.paper()

    @property
    def key(self) -> RequestKey:
        return self.context, self.turn, self.kind


def owed(conversations: Mapping[str, Conversation], node: int, view: View) -> list[Request]:
    """Everything that `node` owes, in order of the conversations."""
    duties = (owed_in(conversation, node, view) for conversation in conversations.values())
    return [duty for duty in duties if duty is not None]


def owed_in(conversation: Conversation, node: int, view: View) -> Request | None:
    """What `node` owes to this conversation: a candidate to an open query, then a ranking if the nodes are to choose;
    or an answer to an open ask, if it is this node's turn.

    A response that says why there is none pays the debt too: it is not asked again and again.
    """
    number = conversation.open_turn
    if number is None:
        return None
    turn = conversation.turns[number - 1]
    poll = turn.open_poll
    if poll is not None and node not in poll.votes:
        names, ranked = ballot_of(conversation, number, poll, node)
        return Request(conversation.context, number, "ranking", lambda: paper(ranked), poll.number, names, ranked)
    if node in turn.candidates or (turn.kind is Kind.ASK and responder(turn, node, view) != node):
        return None
    kind: RequestKind = "candidate" if turn.kind is Kind.QUERY else "answer"
    return Request(conversation.context, number, kind, partial(chat, conversation, number), turn.round(node))


def responder(turn: Turn, node: int, view: View) -> int | None:
    """Who is to answer an open ask, as `node` sees it: the leader; once its LLM has failed, the first of the others
    that are there whose LLM has not. None if there is no leader, or nobody left.

    Where nodes see this differently, two may ask; the answer that is decided first stands.
    """
    if view.leader is None:
        return None
    order = [view.leader, *sorted((view.live | {node}) - {view.leader})]
    return next((one for one in order if one not in turn.candidates), None)


def chat(conversation: Conversation, number: int) -> list[Message]:
    """The question of turn `number` after every earlier turn that got an answer; those without one are left out."""
    messages: list[Message] = []
    for turn in conversation.turns[: number - 1]:
        answer = turn.answer
        if answer is not None and answer.text is not None:
            messages += Message("user", turn.text), Message("assistant", answer.text)
    messages.append(Message("user", conversation.turns[number - 1].text))
    return messages
