"""The operations that this node applied most recently: the end of the replicated log, readable for users.

It is bounded and kept only in memory: the log itself is compacted, and the store keeps the state.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final, TypeAlias

import msgspec

from engine.interface import AppliedOperation, OperationId
from kvstore.operations import (
    MAX_AT,
    Answer,
    AnswerInFull,
    Ask,
    AskOnce,
    Candidate,
    CandidateInFull,
    Choose,
    Query,
    Ranking,
    Responding,
    Retry,
    SetQuotas,
    SetTitle,
)
from kvstore.operations import name as operation_name

KEPT = 1000
"""Operations."""
_EXCERPT = 80


class LoggedOperation(msgspec.Struct, frozen=True, gc=False):
    """One applied operation."""

    position: int
    ballot: tuple[int, int, int] | None
    """The ballot under which it was accepted here; None if it was learned as already decided."""
    id: OperationId
    at: float | None
    """When it was proposed, in seconds since 1970 by its proposer's clock; None if unknown."""
    command: str
    context: str | None
    turn: int | None
    node: int | None
    """The node whose answer it carries or chooses."""
    text: str
    """The beginning of its text."""
    error: str | None
    """Why it was refused."""


_Details: TypeAlias = tuple[int | None, str]
"""`node` and `text` of an operation."""


def _no_details(operation: object) -> _Details:
    return None, ""


def _question(operation: Query | Ask | AskOnce) -> _Details:
    return None, operation.text


def _response(operation: Responding) -> _Details:
    return operation.node, operation.text or operation.error or ""


def _about_node(operation: Choose | Ranking | Retry) -> _Details:
    return operation.node, ""


def _title(operation: SetTitle) -> _Details:
    return None, operation.title


_DETAILS: Final[dict[type, Callable[[Any], _Details]]] = {
    Query: _question, Ask: _question, AskOnce: _question, Candidate: _response, Answer: _response,
    CandidateInFull: _response, AnswerInFull: _response, Choose: _about_node, Ranking: _about_node, Retry: _about_node,
    SetTitle: _title,
}


class AppliedLog:
    """The last operations, the newest last."""

    def __init__(self, kept: int = KEPT) -> None:
        self._operations: deque[LoggedOperation] = deque(maxlen=kept)

    def add(self, applied: AppliedOperation) -> None:
        outcome = applied.outcome
        operation = outcome.operation
        if isinstance(operation, SetQuotas) and operation.first:
            return  # like the configurations of the members, no user's operation
        node, text = _DETAILS.get(type(operation), _no_details)(operation)
        self._operations.append(LoggedOperation(
            applied.position, applied.ballot, applied.id, None if operation is None else seconds(operation.at),
            "unknown" if operation is None else operation_name(operation), outcome.context, outcome.turn, node,
            text[:_EXCERPT], outcome.error,
        ))

    def last(self, count: int) -> list[LoggedOperation]:
        """The last `count` operations, in order."""
        start = max(0, len(self._operations) - count)
        return [self._operations[index] for index in range(start, len(self._operations))]


def seconds(at: int) -> float | None:
    """An operation's time in seconds since 1970; None if unknown or absurd."""
    return at / 1000 if 0 < at <= MAX_AT else None
