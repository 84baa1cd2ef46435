"""A conversation can be called otherwise, and begin with the turns of another; both are decided, and in snapshots."""

from __future__ import annotations

import pytest

from kvstore import forks
from kvstore.conversation import PART_BYTES, State
from kvstore.operations import (
    AskOnce,
    Cancel,
    Candidate,
    Choose,
    Create,
    Fork,
    Query,
    Rename,
    SetQuotas,
    SetTitle,
    StoreOperation,
    not_understood,
)
from kvstore.rules import check
from llm.requests import View, pending_in
from tests.unit.kvstore.test_ask_once import Log


def talk(log: Log, context: str = "c", turns: int = 2) -> None:
    """A conversation of closed turns: the last is cancelled."""
    log(Create(context, at=1))
    for number in range(1, turns + 1):
        log(Query(context, f"q{number}", at=10 * number))
        log(Candidate(context, number, 3, f"a{number}", None, at=10 * number + 1))
        log(Cancel(context, at=10 * number + 2) if number == turns else Choose(context, 3, at=10 * number + 2))


def test_another_name_changes_nothing_else() -> None:
    log = Log()
    talk(log)
    log(Create("d"))
    log(SetTitle("c", "Why?"))
    conversation = log.store.conversations["c"]
    assert log(Rename("c", "e")).ok and log.store.conversations["e"] is conversation
    assert list(log.store.conversations) == ["e", "d"], "in order of creation"
    assert (conversation.context, conversation.title, conversation.created, conversation.at) == ("e", "Why?", 1, 1)
    assert "no conversation 'c'" in log.refused(Query("c", "and?"))
    assert log(Create("c")).ok and log(Query("e", "and?")).turn == 3


def test_a_name_that_is_taken_or_an_open_question_is_in_the_way() -> None:
    log = Log()
    talk(log)
    log(Create("d"))
    assert log.refused(Rename("c", "d")) == log.refused(Fork("d", "c")) == "conversation 'd' already exists"
    assert "already exists" in log.refused(Rename("c", "c")) and "no conversation 'x'" in log.refused(Rename("x", "y"))
    log(Query("c", "open?"))
    assert log.refused(Rename("c", "e")) == (
        "'c' has an open question: choose one of its answers (choose c N), ask it again (retry c) or cancel it "
        "(cancel c)"
    )


def test_a_fork_has_the_closed_turns_and_goes_its_own_way() -> None:
    log = Log()
    talk(log)
    log(Query("c", "open?"))
    source = log.store.conversations["c"]
    assert log(Fork("d", "c", at=99)).turn == 2 and log(Fork("e", "c", 1)).turn == 1
    fork = log.store.conversations["d"]
    assert fork.turns == source.turns[:2] and [turn.at for turn in fork.turns] == [12, 22]
    assert (fork.at, fork.changed, fork.created) == (99, 99, log.position - 1)
    assert [turn.state for turn in source.turns] == [State.CHOSEN, State.CANCELLED, State.OPEN]
    log(Cancel("c"))
    log(Query("d", "mine?"))
    log(Candidate("d", 3, 4, "yours", None))
    assert [len(found.turns) for found in log.store.conversations.values()] == [3, 3, 1]
    request = pending_in(fork, 3, View(None))
    assert request is not None
    assert [message.text for message in request.messages] == ["q1", "a1", "mine?"], "what the LLM sees is the history"


def test_a_fork_of_what_is_not_there_or_open_is_refused() -> None:
    log = Log()
    talk(log)
    log(Query("c", "open?"))
    assert log.refused(Fork("d", "c", 4)) == "'c' has no turn 4"
    assert log.refused(Fork("d", "c", 3)) == "turn 3 of 'c' is open: only what is closed can be in a fork"
    assert "no conversation 'x'" in log.refused(Fork("d", "x"))
    log(Create("empty"))
    assert log(Fork("d", "empty")).turn is None


def test_keys_stay_with_the_conversation_that_they_were_given_to() -> None:
    log = Log()
    log(AskOnce("c", "why?", "k", history=b""))
    log(Cancel("c"))
    log(Fork("d", "c"))
    assert log(AskOnce("d", "why?", "k")).turn == 2 and log(AskOnce("c", "why?", "k")).repeated


def test_a_fork_counts_against_the_quotas() -> None:
    log = Log()
    talk(log)
    size = log.store.size
    log(SetQuotas(conversations=2, turns=9, bytes=99 * PART_BYTES, total=2 * size - 1))
    assert "all conversations together" in log.refused(Fork("d", "c"))
    assert log(Fork("d", "c", 1)).ok and log.store.size == size + size // 2
    log(SetQuotas(total=9 * size))
    assert "its quota is 2" in log.refused(Fork("e", "c", 1))
    log(SetQuotas(conversations=3))
    assert log(Fork("e", "c")).ok


def test_a_fork_has_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log()
    talk(log)
    for bound, most in (("MAX_PARTS", 3), ("MAX_BYTES", log.store.size - 1)):
        with monkeypatch.context() as smaller:
            smaller.setattr(forks, bound, most)
            assert "too long to be forked as a whole" in log.refused(Fork("d", "c"))
    assert log(Fork("d", "c")).ok


@pytest.mark.parametrize("wrong", [Rename("c", "a b"), Fork("d", ""), Fork("d", "c", 0), Fork("", "c")])
def test_what_makes_no_sense_is_refused_in_any_state(wrong: StoreOperation) -> None:
    assert check(wrong)


@pytest.mark.parametrize("operation", [Rename("c", "d"), Fork("d", "c")])
def test_nobody_proposes_them_while_a_member_does_not_know_them(operation: StoreOperation) -> None:
    assert "needs all nodes to run release 0.2.0; node 3 runs 0.1.0" in (
        not_understood(operation, lambda: {1: 2, 3: 1}) or ""
    )
