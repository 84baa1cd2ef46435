"""Operations about a conversation that was deleted do nothing to a later one of the same name."""

from __future__ import annotations

from typing import get_args

import msgspec
import pytest

from kvstore.operations import (
    AboutTurn,
    Answer,
    AnswerInFull,
    Ask,
    Cancel,
    Candidate,
    CandidateInFull,
    Choose,
    ChooseAuto,
    Create,
    Delete,
    Elect,
    ElectWeighed,
    IfCreatedAt,
    Query,
    Ranking,
    Regenerate,
    Retry,
    SetAuto,
    StartPoll,
    StoreOperation,
    Synthesize,
    Synthesized,
    name,
)
from kvstore.payloads import encode
from kvstore.store import Outcome, Store

ASKED = (Create("c"), Query("c", "why?"), Candidate("c", 1, 1, "so", None), Candidate("c", 1, 2, "thus", None))
POLLED = (*ASKED, StartPoll("c"))
LED = (Create("c"), Ask("c", "who?"))

CASES: list[tuple[tuple[StoreOperation, ...], AboutTurn]] = [
    (ASKED, Candidate("c", 1, 3, "late", None)),
    (ASKED, CandidateInFull("c", 1, 3, "late", None, thoughts="hm")),
    (LED, Answer("c", 1, 3, "late", None)),
    (LED, AnswerInFull("c", 1, 3, "late", None)),
    (ASKED, Choose("c", 1, 1)),
    (ASKED, Cancel("c", 1)),
    (ASKED, Retry("c", 1)),
    (ASKED, StartPoll("c", 1)),
    ((*LED, Answer("c", 1, 3, "we", None)), Regenerate("c", 1)),
    (POLLED, Ranking("c", 1, 1, 1, [1, 2], None)),
    (POLLED, Elect("c", 1, 1)),
    (POLLED, ElectWeighed("c", 1, 1)),
    ((*ASKED, SetAuto("c", True)), ChooseAuto("c", 1, 1)),
    (ASKED, Synthesize("c", 1)),
    ((*ASKED, Synthesize("c")), Synthesized("c", 1, 2, "both", None, round=1)),
]


def store_after(*operations: StoreOperation) -> tuple[Store, int]:
    """And the next position."""
    store = Store()
    for position, operation in enumerate(operations, 1):
        assert store.apply(position, encode(operation)).ok
    return store, len(operations) + 1


@pytest.mark.parametrize(("before", "operation"), CASES, ids=lambda case: type(case).__name__)
def test_what_is_late_is_refused(before: tuple[StoreOperation, ...], operation: AboutTurn) -> None:
    store, position = store_after(*before, Delete("c"), *before)
    digest, created = store.digest(), store.conversations["c"].created
    late = store.apply(position, encode(IfCreatedAt(1, operation, at=5)))
    error = "'c' is another conversation now: the one that was meant was deleted"
    assert late == Outcome(late.operation, False, error, "c") and store.digest() == digest
    meant = store.apply(position + 1, encode(IfCreatedAt(created, operation, at=5)))
    assert meant.ok and meant.turn == 1 and store.digest() != digest
    assert meant.operation == msgspec.structs.replace(operation, at=5), "users are told of it as always"


@pytest.mark.parametrize(("before", "operation"), CASES, ids=lambda case: type(case).__name__)
def test_a_condition_that_holds_changes_nothing(before: tuple[StoreOperation, ...], operation: AboutTurn) -> None:
    plain, position = store_after(*before)
    conditional, _ = store_after(*before)
    dated = msgspec.structs.replace(operation, at=5)
    assert plain.apply(position, encode(dated)) == conditional.apply(
        position, encode(IfCreatedAt(1, operation, at=5))
    )
    assert plain.digest() == conditional.digest() and name(IfCreatedAt(1, operation)) == name(operation)


def test_every_kind_about_a_turn_is_tried() -> None:
    assert {type(operation) for _, operation in CASES} == set(get_args(AboutTurn))


def test_one_that_is_gone_is_missing() -> None:
    store, position = store_after(*ASKED, Delete("c"))
    error = "no conversation 'c': use create c"
    assert store.apply(position, encode(IfCreatedAt(1, Cancel("c", 1)))).error == error
