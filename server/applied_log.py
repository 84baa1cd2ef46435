"""What this node has applied lately: the end of the replicated log, in words that a user can read.

It is kept in memory only, and bounded: the log itself is cut behind snapshots, and the store keeps what matters.
"""

from __future__ import annotations

from collections import deque

import msgspec

from engine.interface import AppliedOperation
from kvstore.operations import MAX_AT, Answer, Ask, Candidate, Choose, Query, Ranking, Retry
from kvstore.operations import name as operation_name

KEPT = 1000
"""Operations."""
_EXCERPT = 80


class Decided(msgspec.Struct, frozen=True, gc=False):
    """One applied operation."""

    position: int
    ballot: tuple[int, int, int] | None
    """Under which it was accepted here; None if it was learned from somebody who knew it as decided."""
    operation: tuple[int, int, int]
    """Its name: the node that submitted it, that node's incarnation, and its number there."""
    at: float | None
    """When it was proposed, in seconds since 1970 by its proposer's clock; None if unknown."""
    command: str
    context: str | None
    turn: int | None
    node: int | None
    """Whose answer it brings or chooses."""
    text: str
    """The beginning of what it says."""
    error: str | None
    """Why it was refused."""


class AppliedLog:
    """The last operations, the newest last."""

    def __init__(self, kept: int = KEPT) -> None:
        self._decided: deque[Decided] = deque(maxlen=kept)

    def note(self, applied: AppliedOperation) -> None:
        """An operation was applied."""
        outcome, name = applied.outcome, applied.id
        command = outcome.operation
        node: int | None = None
        text = ""
        if isinstance(command, (Query, Ask)):
            text = command.text[:_EXCERPT]
        elif isinstance(command, (Candidate, Answer)):
            node, text = command.node, (command.text or command.error or "")[:_EXCERPT]
        elif isinstance(command, (Choose, Ranking, Retry)):
            node = command.node
        self._decided.append(Decided(
            applied.position, applied.ballot, (name.node, name.incarnation, name.number),
            None if command is None else seconds(command.at),
            "unknown" if command is None else operation_name(command), outcome.context, outcome.turn, node, text,
            outcome.error,
        ))

    def last(self, count: int) -> list[Decided]:
        """The last `count` operations, in order."""
        start = max(0, len(self._decided) - count)
        return [self._decided[index] for index in range(start, len(self._decided))]


def seconds(at: int) -> float | None:
    """A command's time in seconds since 1970; None if unknown or absurd."""
    return at / 1000 if 0 < at <= MAX_AT else None
