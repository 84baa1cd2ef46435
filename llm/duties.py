"""What a node owes to the conversations, read off their state: nothing is remembered, so nothing is lost in a crash."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

import msgspec

from kvstore.conversation import Conversation, Kind
from llm.provider import Message

DutyKind: TypeAlias = Literal["candidate", "answer"]
DutyKey: TypeAlias = tuple[str, int, DutyKind]


class Duty(msgspec.Struct, frozen=True):
    """Ask the LLM with `messages` and submit what comes of it, as a `Candidate` or an `Answer`, to turn `turn`."""

    context: str
    turn: int
    """Counts from 1."""
    kind: DutyKind
    messages: list[Message]

    @property
    def key(self) -> DutyKey:
        return self.context, self.turn, self.kind


def owed(conversations: Mapping[str, Conversation], node: int, leading: bool) -> list[Duty]:
    """Everything that `node` owes, in order of the conversations. `leading`: it is the leader now."""
    duties = (owed_in(conversation, node, leading) for conversation in conversations.values())
    return [duty for duty in duties if duty is not None]


def owed_in(conversation: Conversation, node: int, leading: bool) -> Duty | None:
    """What `node` owes to this conversation: a candidate to an open query, or, as the leader, an answer to an open ask.

    A response that says why there is none pays the debt too: it is not asked again and again.
    """
    number = conversation.open_turn
    if number is None:
        return None
    turn = conversation.turns[number - 1]
    if node in turn.candidates or (turn.kind is Kind.ASK and not leading):
        return None
    kind: DutyKind = "candidate" if turn.kind is Kind.QUERY else "answer"
    return Duty(conversation.context, number, kind, chat(conversation, number))


def chat(conversation: Conversation, number: int) -> list[Message]:
    """The question of turn `number` after every earlier turn that got an answer; those without one are left out."""
    messages: list[Message] = []
    for turn in conversation.turns[: number - 1]:
        answer = turn.answer
        if answer is not None and answer.text is not None:
            messages += Message("user", turn.text), Message("assistant", answer.text)
    messages.append(Message("user", conversation.turns[number - 1].text))
    return messages
