"""The end of the log, as this node remembers it."""

from __future__ import annotations

import pytest

from engine.interface import AppliedOperation, OperationId
from kvstore.operations import (
    Answer,
    Ask,
    Cancel,
    Candidate,
    Choose,
    ChooseAuto,
    Create,
    Elect,
    Import,
    Query,
    Ranking,
    Regenerate,
    Retry,
    SetAuto,
    StartPoll,
    Synthesize,
    Synthesized,
    Unconditional,
)
from kvstore.store import Outcome
from server.applied_log import AppliedLog


def applied(position: int, ballot: tuple[int, int, int] | None, outcome: Outcome) -> AppliedOperation:
    return AppliedOperation(position, OperationId(3, 7, 9), ballot, outcome, ticket=0, live=True)


def test_it_keeps_the_last_ones_and_says_what_it_knows() -> None:
    log = AppliedLog(kept=2)
    log.add(applied(1, None, Outcome(Create("c1"), True, None, "c1")))
    asked = Outcome(Query("c1", "x" * 500, at=5000), True, None, "c1", 1)
    log.add(applied(2, None, asked))
    refused = Outcome(Candidate("c1", 1, 4, None, "late", at=2**60), False, "already chosen", "c1")
    log.add(applied(4, (6, 2, 4), refused))
    query, candidate = log.last(10)
    assert (query.position, query.ballot, query.id, query.at) == (2, None, OperationId(3, 7, 9), 5.0)
    assert (query.command, query.context, query.turn, len(query.text)) == ("query", "c1", 1, 80)
    assert (candidate.ballot, candidate.node) == ((6, 2, 4), 4)
    assert (candidate.text, candidate.error, candidate.at) == ("late", "already chosen", None)
    assert log.last(1) == [candidate] and log.last(0) == []


def test_what_is_no_command_is_noted_too() -> None:
    log = AppliedLog()
    log.add(applied(1, None, Outcome(None, False, "not a command")))
    assert log.last(5)[0].command == "unknown"


@pytest.mark.parametrize(("operation", "command", "node", "text"), [
    (Create("c1"), "create", None, ""),
    (Query("c1", "why?"), "query", None, "why?"),
    (Ask("c1", "why?"), "ask", None, "why?"),
    (Candidate("c1", 1, 4, "so", None), "candidate", 4, "so"),
    (Answer("c1", 1, 5, None, "silent"), "answer", 5, "silent"),
    (Choose("c1", 3), "choose", 3, ""),
    (Cancel("c1"), "cancel", None, ""),
    (Retry("c1", None, 2), "retry", 2, ""),
    (StartPoll("c1"), "poll", None, ""),
    (ChooseAuto("c1", 1, 1), "poll", None, ""),
    (Regenerate("c1"), "regenerate", None, ""),
    (Synthesize("c1", None, 4), "synth", 4, ""),
    (Synthesized("c1", 1, 4, "both", None), "synthesis", 4, "both"),
    (SetAuto("c1", False), "auto", None, "off"),
    (Ranking("c1", 1, 2, 1, [3], None), "ranking", 2, ""),
    (Elect("c1", 1, 1), "elect", None, ""),
    (Import("c1", b""), "import", None, ""),
])
def test_each_kind_is_named_with_its_node_and_its_text(
    operation: Unconditional, command: str, node: int | None, text: str
) -> None:
    log = AppliedLog()
    log.add(applied(1, None, Outcome(operation, True, None, "c1", 1)))
    logged = log.last(1)[0]
    assert (logged.command, logged.node, logged.text) == (command, node, text)
