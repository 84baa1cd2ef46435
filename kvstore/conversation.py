"""What the store holds: conversations, their turns, and what the LLMs said.

Everybody may read them; only the store changes them.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Kind(StrEnum):
    """Who answers a turn."""

    QUERY = "query"
    """Every node, and somebody chooses."""
    ASK = "ask"
    """The leader."""


class State(StrEnum):
    OPEN = "open"
    CHOSEN = "chosen"
    CANCELLED = "cancelled"


class Response(msgspec.Struct, frozen=True, array_like=True):
    """What one node's LLM said: exactly one of `text` and `error` is given. `seconds` is how long it took."""

    text: str | None
    error: str | None
    model: str
    seconds: float


class Turn(msgspec.Struct):
    """A question, and one response a node at most. `chosen` is the number of the node whose response stands."""

    kind: Kind
    text: str
    candidates: dict[int, Response] = {}
    """In order of node numbers."""
    chosen: int | None = None
    cancelled: bool = False

    @property
    def state(self) -> State:
        if self.chosen is not None:
            return State.CHOSEN
        return State.CANCELLED if self.cancelled else State.OPEN

    @property
    def answer(self) -> Response | None:
        """The response that stands."""
        return None if self.chosen is None else self.candidates[self.chosen]

    @property
    def choices(self) -> list[int]:
        """The nodes whose response could be chosen."""
        return [node for node, response in self.candidates.items() if response.text is not None]


class Conversation(msgspec.Struct):
    """`index` counts conversations from 1 in order of creation; `created` is the log position that created it.

    Turn number n is `turns[n - 1]`. Only the last one can be open.
    """

    context: str
    index: int
    created: int
    turns: list[Turn] = []

    @property
    def open_turn(self) -> int | None:
        """The number of the turn that waits for its answer."""
        return len(self.turns) if self.turns and self.turns[-1].state is State.OPEN else None
