"""The data in the store: conversations, their turns, and the LLMs' responses.

Anything may read them; only the store changes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

import msgspec

MAX_BALLOT = 26
"""Answers in a poll: one letter each."""
PART_BYTES: Final = 256
"""For which a question or a response counts beside its text: a node's memory holds three times as much for it."""
MAX_VOTES_BYTES: Final = 1024 * 1024
"""Of all votes of a poll: they are stored together."""


def utf8_bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


class Kind(StrEnum):
    """The kind of a turn: who answers it."""

    QUERY = "query"
    """Every node answers, and a user chooses."""
    ASK = "ask"
    """The leader."""


class State(StrEnum):
    OPEN = "open"
    CHOSEN = "chosen"
    CANCELLED = "cancelled"


class Cut(StrEnum):
    """Why an answer is not whole."""

    TIME = "time"
    TOKENS = "tokens"


class Response(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """One node's LLM response: exactly one of `text` and `error` is set. `seconds` is how long it took. It saw the
    last `seen` of `before` answered turns; both are 0 if it saw all. `at` is as in operations.

    `thoughts` is what the LLM thought before it answered. If the answer is `cut`, `cut_at` is the limit that it
    reached, in seconds or tokens; 0 if that is not known. `tokens_in` and `tokens_out` are what the LLM counted; 0 if
    it did not."""

    text: str | None
    error: str | None
    model: str
    seconds: float
    seen: int = 0
    before: int = 0
    at: int = 0
    thoughts: str = ""
    cut: Cut | None = None
    cut_at: float = 0.0
    tokens_in: int = 0
    tokens_out: int = 0
    by: int = 0
    out_of: tuple[int, ...] = ()
    """Of a synthesis: whose LLM wrote it, and out of the answers of which nodes."""

    @property
    def bytes(self) -> int:
        """Of what the LLM said, and PART_BYTES."""
        return PART_BYTES + utf8_bytes(self.text or self.error or "") + utf8_bytes(self.thoughts)

    @property
    def is_plain(self) -> bool:
        """It has nothing that release 0.1.0 does not know."""
        return not (self.thoughts or self.tokens_in or self.tokens_out or self.by) and self.cut is None


SYNTHESIS: Final = 0
"""The number of the candidate that an LLM has made out of the others. Nodes count from 1."""


class Synthesis(msgspec.Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    """An LLM is asked for one answer made out of those of the nodes `out_of`: that of `node`, or the leader's if it is
    None. `number` counts those of a turn from 1. Once `closed` it is in, has failed or is called off."""

    number: int
    node: int | None
    out_of: tuple[int, ...]
    closed: bool = False


class Vote(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """How one node's LLM ranks the answers: their nodes, best first; empty, with an `error`, if it abstains."""

    order: list[int]
    error: str | None
    model: str

    @property
    def bytes(self) -> int:
        """At least what it takes where it is stored."""
        return 32 + 3 * len(self.order) + utf8_bytes(self.error or "") + utf8_bytes(self.model)


AGREEMENT: Final = 0
"""Who votes, beside the nodes, by how far the answers agree: see kvstore/agreement.py."""


class Poll(msgspec.Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    """A vote of the nodes' LLMs. `number` counts the polls of a turn from 1; `ballot` lists the nodes whose answers are
    ranked, with SYNTHESIS if there is one. Once `closed` it is over, whether there was a winner or not."""

    number: int
    ballot: list[int]
    votes: dict[int, Vote] = {}
    """In order of node numbers. Once it is closed, the first may be that of AGREEMENT."""
    closed: bool = False

    @property
    def points(self) -> dict[int, int]:
        """Borda count of the LLMs' rankings: of n answers, the best gets n - 1 points, the last none."""
        points = dict.fromkeys(self.ballot, 0)
        for voter, vote in self.votes.items():
            if voter != AGREEMENT:
                for rank, node in enumerate(vote.order, 1):
                    points[node] += len(self.ballot) - rank
        return points

    @property
    def winner(self) -> int | None:
        """Who has the most points; on a tie the lowest node, and SYNTHESIS after all nodes. None without votes."""
        if not any(vote.order for vote in self.votes.values()):
            return None
        points = self.points
        rankings = sum(bool(vote.order) for voter, vote in self.votes.items() if voter != AGREEMENT)
        if AGREEMENT in self.votes:  # it counts as much as all LLMs together
            for rank, node in enumerate(self.votes[AGREEMENT].order, 1):
                points[node] += rankings * (len(self.ballot) - rank)
        return min(self.ballot, key=lambda node: (-points[node], node == SYNTHESIS, node))


NO_RESPONSES: Final[Mapping[int, Response]] = {}
NO_RETRIES: Final[Mapping[int, int]] = {}
"""Most turns have none: they share one object, as a dict takes 64 bytes even if it is empty."""


class Turn(msgspec.Struct, gc=False):
    """A question, and at most one response per node, and for SYNTHESIS. `chosen` is whose response is the answer."""

    kind: Kind
    text: str
    candidates: Mapping[int, Response] = msgspec.field(default_factory=lambda: NO_RESPONSES)
    """In order of node numbers, after SYNTHESIS if there is one."""
    chosen: int | None = None
    cancelled: bool = False
    retries: Mapping[int, int] = msgspec.field(default_factory=lambda: NO_RETRIES)
    """How often a node, or all of them (0), have been asked again."""
    poll: Poll | None = None
    """The last one."""
    at: int = 0
    """When it last changed but for responses, as in operations."""
    key: str = ""
    """By which whoever asked finds it again; empty if they gave none."""
    polled: int = 0
    """The last of its `rounds` in which a poll began, or the nodes chose by themselves, where they do so; 0: none."""

    regenerating: bool = False
    """The leader is asked for an answer that takes the place of this one. Only in the last turn."""
    synthesis: Synthesis | None = None
    """The last one that was asked for."""

    @property
    def rounds(self) -> int:
        """How often it has been put to LLMs, the first time included."""
        return 1 + sum(self.retries.values())

    @property
    def state(self) -> State:
        if self.chosen is not None:
            return State.CHOSEN
        return State.CANCELLED if self.cancelled else State.OPEN

    @property
    def answer(self) -> Response | None:
        """The chosen response."""
        return None if self.chosen is None else self.candidates[self.chosen]

    @property
    def bytes(self) -> int:
        """Of the question and its responses, in UTF-8, and PART_BYTES for each."""
        return PART_BYTES + utf8_bytes(self.text) + sum(said.bytes for said in self.candidates.values())

    def round(self, node: int) -> int:
        """How often this node has been asked again. Never decreases; each response belongs to one round."""
        return self.retries.get(0, 0) + self.retries.get(node, 0)

    @property
    def open_poll(self) -> Poll | None:
        """The poll in progress."""
        if self.poll is None or self.poll.closed:
            return None
        return self.poll if self.state is State.OPEN else None

    @property
    def open_synthesis(self) -> Synthesis | None:
        """The one that is awaited."""
        if self.synthesis is None or self.synthesis.closed:
            return None
        return self.synthesis if self.state is State.OPEN else None

    @property
    def choices(self) -> list[int]:
        """The nodes whose response could be chosen, and SYNTHESIS if there is one."""
        return [node for node, response in self.candidates.items() if response.text is not None]

    @property
    def answered(self) -> list[int]:
        """The nodes whose response could be chosen."""
        return [node for node in self.choices if node != SYNTHESIS]


class Conversation(msgspec.Struct, gc=False):
    """`index` counts conversations from 1 in order of creation; `created` is the log position that created it.

    Turn number n is `turns[n - 1]`. Only the last one can be open.
    """

    context: str
    index: int
    created: int
    turns: list[Turn] = []
    at: int = 0
    """When it was created, as in operations."""
    temporary: bool = False
    """It is deleted some time after its last change."""
    title: str = ""
    """What users call it, if they gave it a title; its name is `context`."""
    system: str = ""
    """What LLMs are told before its questions, in place of what nodes tell them by themselves."""
    deleted: int = 0
    """The log position that deleted it; 0 if it is there."""
    auto: bool = False
    """The nodes choose by themselves as soon as all answers to a query are in."""
    keys: dict[str, int] = {}
    """The turns that have keys: their numbers."""
    bytes: int = 0
    """Of all that is in it, as `measured`; kept up to date by whoever changes them."""

    @property
    def measured(self) -> int:
        """Of turns and the system prompt."""
        return utf8_bytes(self.system) + sum(turn.bytes for turn in self.turns)

    @property
    def changed(self) -> int:
        """When it last changed, in milliseconds since 1970; 0 if unknown. Nodes' clocks differ slightly."""
        if not self.turns:
            return self.at
        last = self.turns[-1]
        return max(self.at, last.at, *(response.at for response in last.candidates.values()))

    @property
    def open_turn(self) -> int | None:
        """The number of the open turn."""
        turns = self.turns
        if not turns or turns[-1].chosen is not None or turns[-1].cancelled:
            return None
        return len(turns)

    @property
    def pending_turn(self) -> int | None:
        """The number of the turn that LLMs are to answer: the open one, or the last if another answer is asked for."""
        return len(self.turns) if self.turns and self.turns[-1].regenerating else self.open_turn

    @property
    def choosing(self) -> int | None:
        """The number of the open turn in which the nodes choose by themselves once all answers are in. None if there is
        none; if they have begun to, in this round; while there is nothing to choose, and while they wait for a
        synthesis."""
        number = self.open_turn if self.auto else None
        if number is None:
            return None
        turn = self.turns[number - 1]
        waits = turn.kind is Kind.QUERY and turn.open_poll is None and turn.open_synthesis is None
        return number if waits and turn.polled < turn.rounds and turn.choices else None
