"""Another answer to an `ask`: the former one stands until it is in, and stays if it never comes."""

from __future__ import annotations

import pytest

from kvstore.conversation import PART_BYTES, Turn
from kvstore.operations import (
    Answer,
    Ask,
    Candidate,
    Choose,
    Create,
    Delete,
    Fork,
    Query,
    Regenerate,
    Rename,
    StoreOperation,
    Undelete,
    name,
    not_understood,
    plainer,
)
from kvstore.store import Store
from tests.unit.kvstore.test_ask_once import Log


def answer(node: int, round: int, text: str | None = "newer") -> Answer:
    return Answer("c", 1, node, text, None if text else "no key", round=round)


def answered() -> Log:
    log = Log()
    for operation in (Create("c"), Ask("c", "who?"), answer(2, 0, None), answer(3, 0, "older")):
        assert log(operation).ok
    return log


def turn_of(log: Log, context: str = "c") -> Turn:
    return log.store.conversations[context].turns[0]


def test_the_former_answer_stands_until_another_one_is_in() -> None:
    log = answered()
    before = log.store.size
    assert log(Regenerate("c", at=7)).turn == 1
    turn = turn_of(log)
    assert (turn.regenerating, turn.at, turn.answer and turn.answer.text) == (True, 7, "older")
    assert log.store.conversations["c"].pending_turn == 1 and log.store.conversations["c"].open_turn is None
    assert "asked again since" in log.refused(answer(4, 0)), "it was begun before"
    assert log(answer(4, 1)).ok
    assert (list(turn.candidates), turn.chosen, turn.answer and turn.answer.text) == ([4], 4, "newer")
    assert not turn.regenerating and log.store.size == before - len("no key") - PART_BYTES
    assert "already chosen" in log.refused(answer(5, 1)), "the first one counts"


def test_it_stays_if_the_llm_fails() -> None:
    log = answered()
    log(Regenerate("c"))
    assert log(Regenerate("c")).ok, "once more"
    assert "asked again since" in log.refused(answer(3, 1))
    assert log(answer(3, 2, None)).ok
    turn = turn_of(log)
    assert (turn.regenerating, list(turn.candidates), turn.answer and turn.answer.text) == (False, [2, 3], "older")
    assert "already chosen" in log.refused(answer(4, 2))
    log(Regenerate("c"))
    assert log(answer(3, 3)).ok and turn.answer is not None and turn.answer.text == "newer"


@pytest.mark.parametrize("first", [Query("c", "and?"), Ask("c", "and?"), Rename("c", "d")])
def test_it_stays_if_something_else_comes_first(first: StoreOperation) -> None:
    log = answered()
    log(Regenerate("c"))
    log(Fork("f", "c"))
    assert not turn_of(log, "f").regenerating
    log(Delete("c"))
    assert log(Undelete("c")).ok and log.store.conversations["c"].pending_turn == 1
    assert log(first).ok
    context = "d" if isinstance(first, Rename) else "c"
    assert not turn_of(log, context).regenerating
    assert not log(answer(3, 1)).ok
    assert (turn_of(log, context).chosen, log.store.conversations[context].pending_turn) == (
        3, None if isinstance(first, Rename) else 2
    )


def test_only_the_last_answer_of_a_leader_is_asked_for_again() -> None:
    log = Log()
    log(Create("c"))
    assert "no conversation 'x'" in log.refused(Regenerate("x"))
    assert "has no answer yet" in log.refused(Regenerate("c"))
    log(Ask("c", "who?"))
    assert "has an open question" in log.refused(Regenerate("c"))
    log(answer(3, 0))
    log(Query("c", "and?"))
    assert "is not the last" in log.refused(Regenerate("c", 1))
    assert "is a query" in log.refused(Regenerate("c"))
    assert "has no turn 9" in log.refused(Regenerate("c", 9))
    log(Candidate("c", 2, 1, "so", None))
    log(Choose("c", 1))
    assert "is a query" in log.refused(Regenerate("c", 2))


def test_rows_that_no_operations_lead_to_are_none() -> None:
    log = answered()
    log(Regenerate("c"))
    rows = dict(log.store.snapshot())
    log(Query("c", "and?"))
    later = dict(log.store.snapshot())
    turn = next(key for key in rows if len(key) == 12)
    assert Store().readable(rows.items()) and Store().readable(later.items())
    assert not Store().readable({**later, turn: rows[turn]}.items()), "it is not the last one"


def test_nobody_proposes_it_while_a_member_does_not_know_it() -> None:
    assert name(Regenerate("c")) == "regenerate" and plainer(Regenerate("c")) is None
    assert "`regenerate` needs all nodes" in (not_understood(Regenerate("c"), lambda: {1: 1}) or "")
