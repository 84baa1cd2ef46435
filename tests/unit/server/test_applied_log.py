"""The end of the log, as this node remembers it."""

from __future__ import annotations

from kvstore.operations import Candidate, Create, Query
from kvstore.store import Outcome
from paxos.ballot import NOBODY
from paxos.messages import Entry, Operation
from server.applied_log import AppliedLog

OPERATION = Operation(3, 7, 9, b"")


def test_it_keeps_the_last_ones_and_says_what_it_knows() -> None:
    journal = AppliedLog(kept=2)
    journal.note(1, None, OPERATION, Outcome(Create("c1"), True, None, "c1"))
    asked = Outcome(Query("c1", "x" * 500, at=5000), True, None, "c1", 1)
    journal.note(2, Entry(2, NOBODY, OPERATION), OPERATION, asked)
    refused = Outcome(Candidate("c1", 1, 4, None, "late", at=2**60), False, "already chosen", "c1")
    journal.note(4, Entry(4, (6, 2), OPERATION), OPERATION, refused)
    query, candidate = journal.last(10)
    assert (query.position, query.leadership, query.operation, query.at) == (2, None, (3, 7, 9), 5.0)
    assert (query.command, query.context, query.turn, len(query.text)) == ("query", "c1", 1, 80)
    assert (candidate.leadership, candidate.node) == ((6, 2), 4)
    assert (candidate.text, candidate.error, candidate.at) == ("late", "already chosen", None)
    assert journal.last(1) == [candidate] and journal.last(0) == []


def test_what_is_no_command_is_noted_too() -> None:
    journal = AppliedLog()
    journal.note(1, None, OPERATION, Outcome(None, False, "not a command"))
    assert journal.last(5)[0].command == "unknown"
