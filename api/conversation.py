"""Conversations as results and events show them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from msgspec import UNSET, UnsetType

from api.base import Record


class Response(Record, frozen=True, kw_only=True):
    """What one node's LLM said: `text`, or an `error` that says why there is none."""

    text: str | UnsetType = UNSET
    error: str | UnsetType = UNSET
    model: str
    seconds: float
    """How long the LLM took."""
    seen: int | UnsetType = UNSET
    """How many of the `before` earlier turns the LLM saw; both keys are omitted if it saw all."""
    before: int | UnsetType = UNSET
    cut: Literal["time", "tokens"] | UnsetType = UNSET
    """Which limit the answer reached before it was whole; omitted if it is."""
    cut_at: float | UnsetType = UNSET
    """That limit, in seconds or tokens, if it is known."""
    tokens_in: int | UnsetType = UNSET
    """What the LLM read and wrote, as it counts; omitted where it does not."""
    tokens_out: int | UnsetType = UNSET
    thoughts: str | UnsetType = UNSET
    """What the LLM thought before it answered; only where asked for."""
    by: int | UnsetType = UNSET
    """Of a synthesis: the node whose LLM wrote it."""
    out_of: list[int] | UnsetType = UNSET
    """Of a synthesis: the nodes whose answers it is made out of."""


def cut_words(cut: str, cut_at: float | UnsetType) -> str:
    """Why an answer is not whole, as everybody is told."""
    if cut_at is UNSET or not cut_at:
        return "cut"
    return f"cut at {cut_at:g} {'s' if cut == 'time' else 'tokens'}"


class Usage(Record, frozen=True, kw_only=True):
    """What a node's LLM took for a conversation. Tokens as it counts; 0 if it does not."""

    responses: int
    seconds: float
    tokens_in: int
    tokens_out: int
    cost: float | UnsetType = UNSET
    """By the configured prices of the models that have one; omitted if none of them has."""


class Vote(Record, frozen=True, kw_only=True):
    """How one node's LLM ranks the answers: `order` has their nodes, best first; or an `error` why it abstains."""

    order: list[int] | UnsetType = UNSET
    error: str | UnsetType = UNSET
    model: str


class Poll(Record, frozen=True, kw_only=True):
    """The nodes' LLMs choose."""

    number: int
    """Counts the polls of a turn from 1."""
    open: bool
    points: dict[int, int]
    """By the node whose answer gets them."""
    votes: dict[int, Vote]
    """By the node that ranks."""
    agreement: list[int] | UnsetType = UNSET
    """The nodes whose answers agree most with the others first; counts as much as all votes together. Omitted if it did
    not count. No answer is counted as agreeing with the synthesis, number 0."""


class Synthesis(Record, frozen=True, kw_only=True):
    """An LLM is asked for one answer out of the others, which becomes a further candidate."""

    by: int | None
    """The node whose LLM is asked; null: the leader."""
    out_of: list[int]
    """The nodes whose answers it is made out of."""


SYNTHESIS = 0
"""The number of the candidate that is the synthesis: no node has it."""


def candidate_words(number: int) -> str:
    """Whose answer it is, as everybody is told."""
    return "the synthesis" if number == SYNTHESIS else f"node {number}'s answer"


def made_words(by: int | UnsetType, out_of: Sequence[int] | UnsetType) -> str:
    """How a synthesis came about, to follow its name."""
    if by is UNSET or out_of is UNSET:
        return ""
    return f", by node {by}, out of {', '.join(f'[{node}]' for node in out_of)}"


class Turn(Record, frozen=True, kw_only=True):
    """A question and its answers."""

    query: str
    kind: Literal["query", "ask"]
    """Who answers: every node, or the leader alone."""
    candidates: dict[int, Response]
    """By the node that answers; the synthesis by 0."""
    chosen: int | None
    """The node whose answer stands; 0: the synthesis does."""
    cancelled: bool
    poll: Poll | UnsetType = UNSET
    """The last one, if there was any."""
    regenerating: Literal[True] | UnsetType = UNSET
    """The leader is asked for another answer, which takes the place of this one when it is in."""
    synthesis: Synthesis | UnsetType = UNSET
    """The one that is awaited."""

    @property
    def open(self) -> bool:
        return self.chosen is None and not self.cancelled


class Conversation(Record, frozen=True, kw_only=True):
    context: str
    turns: list[Turn]
    title: str | UnsetType = UNSET
    """What users call it, if they gave it a title."""
    system: str | UnsetType = UNSET
    """What LLMs are told before its questions, if that was decided."""
    auto: Literal[True] | UnsetType = UNSET
    """The nodes choose by themselves as soon as all answers to a query are in."""
