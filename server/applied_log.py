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
    Answer,
    AnswerInFull,
    Ask,
    AskOnce,
    Cancel,
    Candidate,
    CandidateInFull,
    Choose,
    Create,
    Fork,
    Query,
    Ranking,
    Rename,
    Responding,
    Retry,
    SetAuto,
    SetQuotas,
    SetSystem,
    SetTitle,
    Synthesize,
    Synthesized,
)
from kvstore.operations import name as operation_name
from kvstore.rules import MAX_AT

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


def _about_node(operation: Choose | Ranking | Retry | Synthesize) -> _Details:
    return operation.node, ""


def _title(operation: SetTitle) -> _Details:
    return None, operation.title


def _system(operation: SetSystem) -> _Details:
    return None, operation.text


def _auto(operation: SetAuto) -> _Details:
    return None, "on" if operation.on else "off"


def _other_name(operation: Rename) -> _Details:
    return None, operation.name


def _source(operation: Fork) -> _Details:
    return None, operation.source


_DETAILS: Final[dict[type, Callable[[Any], _Details]]] = {
    Query: _question, Ask: _question, AskOnce: _question, Candidate: _response, Answer: _response,
    CandidateInFull: _response, AnswerInFull: _response, Choose: _about_node, Ranking: _about_node, Retry: _about_node,
    SetTitle: _title, SetSystem: _system, Rename: _other_name, Fork: _source,
    SetAuto: _auto, Synthesize: _about_node, Synthesized: _response,
}


_SMALL: Final = frozenset((Create, Cancel, Choose))
"""Operations without text."""
_SMALL_TEXT: Final = 1024


class AppliedLog:
    """The last operations, the newest last. Small ones are put into words when somebody looks."""

    def __init__(self, kept: int = KEPT) -> None:
        self._operations: deque[AppliedOperation | LoggedOperation] = deque(maxlen=kept)

    def add(self, applied: AppliedOperation) -> None:
        operation = applied.outcome.operation
        if type(operation) in _SMALL or (type(operation) is Query and len(operation.text) <= _SMALL_TEXT):
            self._operations.append(applied)
        elif not (isinstance(operation, SetQuotas) and operation.first):  # no user's, as no change of the members is
            self._operations.append(logged(applied))

    def last(self, count: int) -> list[LoggedOperation]:
        """The last `count` operations, in order."""
        start = max(0, len(self._operations) - count)
        found = [self._operations[index] for index in range(start, len(self._operations))]
        return [logged(one) if isinstance(one, AppliedOperation) else one for one in found]


def logged(applied: AppliedOperation) -> LoggedOperation:
    outcome = applied.outcome
    operation = outcome.operation
    node, text = _DETAILS.get(type(operation), _no_details)(operation)
    return LoggedOperation(
        applied.position, applied.ballot, applied.id, None if operation is None else seconds(operation.at),
        "unknown" if operation is None else operation_name(operation), outcome.context, outcome.turn, node,
        text[:_EXCERPT], outcome.error,
    )


def seconds(at: int) -> float | None:
    """An operation's time in seconds since 1970; None if unknown or absurd."""
    return at / 1000 if 0 < at <= MAX_AT else None
