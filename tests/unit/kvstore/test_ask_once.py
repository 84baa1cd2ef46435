"""A question with a key is asked once, whoever repeats it, and at whatever node; and conversations can be deleted."""

from __future__ import annotations

import pytest

from kvstore.conversation import PART_BYTES, State
from kvstore.operations import (
    AskOnce,
    Cancel,
    Candidate,
    Choose,
    Create,
    Delete,
    Query,
    SetQuotas,
    StoreOperation,
    name,
    not_understood,
)
from kvstore.packed_turns import MAX_PARTS, Restored, RestoredTurn, pack
from kvstore.payloads import encode
from kvstore.rules import MAX_PACKED_BYTES, check
from kvstore.store import Outcome, Store

PAST = pack([RestoredTurn("query", "before?", [Restored(3, "then", None)], 3)])


class Log:
    """A store, the positions of its log, and another store that is loaded from its rows after each operation."""

    def __init__(self) -> None:
        self.store = Store()
        self.position = 0
        self._rows: dict[bytes, bytes] = {}

    def __call__(self, operation: StoreOperation) -> Outcome:
        self.position += 1
        outcome = self.store.apply(self.position, encode(operation))
        for key, row in self.store.changed():
            if row is None:
                self._rows.pop(key, None)
            else:
                self._rows[key] = row
        assert sorted(self._rows.items()) == self.store.snapshot()
        loaded = Store()
        loaded.load(self._rows.items())
        assert loaded.digest() == self.store.digest() and loaded.conversations == self.store.conversations
        return outcome

    def refused(self, operation: StoreOperation) -> str:
        before = self.store.digest()
        outcome = self(operation)
        assert not outcome.ok and self.store.digest() == before
        return outcome.error or ""


def test_a_repeated_question_gets_the_turn_that_there_is() -> None:
    log = Log()
    asked = AskOnce("c", "why?", "k", history=b"")
    first, before = log(asked), log.store.digest()
    assert (first.ok, first.turn, first.repeated) == (True, 1, False)
    assert log(asked) == Outcome(asked, True, None, "c", 1, True) and log.store.digest() == before
    log(Candidate("c", 1, 2, "because", None))
    log(Choose("c", 2))
    log(Query("c", "and then?"))
    assert log(asked).turn == 1, "after the answer, and while another question is open"
    assert [turn.text for turn in log.store.conversations["c"].turns] == ["why?", "and then?"]
    log(Cancel("c"))
    assert log(AskOnce("c", "why?", "k2")).turn == 3, "another key is another question"


def test_a_key_means_one_question() -> None:
    log = Log()
    log(AskOnce("c", "why?", "k", history=b""))
    for other in (AskOnce("c", "how?", "k"), AskOnce("c", "why?", "k", "ask")):
        assert log.refused(other) == "turn 1 of 'c' has this key, and asks something else"
    assert "open question" in log.refused(AskOnce("c", "how?", "l"))
    assert log(AskOnce("d", "how?", "k", history=b"")).turn == 1, "keys belong to conversations"


def test_the_history_makes_a_new_conversation_and_nothing_else() -> None:
    log = Log()
    assert "no conversation 'c'" in log.refused(AskOnce("c", "why?", "k"))
    assert log(AskOnce("c", "why?", "k", history=PAST, temporary=True, at=7)).turn == 2
    conversation = log.store.conversations["c"]
    assert [turn.state for turn in conversation.turns] == [State.CHOSEN, State.OPEN]
    assert conversation.temporary and conversation.at == 7 and conversation.turns[1].at == 7
    log(Cancel("c"))
    assert log(AskOnce("c", "how?", "l", history=PAST)).turn == 3, "it was there: what the asker believes is ignored"


def test_a_question_that_a_quota_forbids_begins_no_conversation() -> None:
    log = Log()
    most = 14 + 3 * PART_BYTES
    log(SetQuotas(conversations=1, turns=2, bytes=most, total=100 * PART_BYTES))
    assert f"the quota of a conversation is {most}" in log.refused(AskOnce("c", "why?", "k", history=PAST))
    assert log(AskOnce("c", "how?", "k", history=b"")).ok
    assert "its quota is 1" in log.refused(AskOnce("d", "why?", "k", history=b""))
    assert log(AskOnce("c", "how?", "k", history=b"")).repeated
    log(Delete("c"))
    assert log(AskOnce("d", "why?", "k", history=b"")).ok, "what is deleted does not count"


@pytest.mark.parametrize(
    "wrong",
    [
        AskOnce("c", "why?", ""), AskOnce("c", "why?", "k" * 65), AskOnce("c", "why?", "k\n"), AskOnce("c", " ", "k"),
        AskOnce("c", "why?", "k", history=pack([RestoredTurn("query", "a", [], None)] * (MAX_PARTS + 1))),
        AskOnce("c", "why?", "k", history=b"x"), AskOnce("c", "why?", "k", history=b"x" * (MAX_PACKED_BYTES + 1)),
        Delete("c", 0),
    ],
)
def test_what_makes_no_sense_is_refused_in_any_state(wrong: StoreOperation) -> None:
    assert check(wrong)


def test_a_deleted_conversation_is_gone_and_its_name_free() -> None:
    log = Log()
    log(Create("a"))
    log(Create("b"))
    log(Query("b", "why?"))
    assert "another conversation now" in log.refused(Delete("b", 1))
    assert log(Delete("b", 2)).ok and "no conversation 'b'" in log.refused(Query("b", "how?"))
    log(Create("b"))
    assert log.store.conversations["b"].turns == []
    log(Delete("a"))
    log(Create("c"))
    assert [found.index for found in log.store.conversations.values()] == [3, 4], "no place is taken twice"


def test_nothing_is_left_of_what_was_temporary() -> None:
    log = Log()
    empty = log.store.digest()
    log(AskOnce("c", "why?", "k", history=PAST, temporary=True))
    log(Delete("c"))
    assert log.store.digest() == empty and log.store.snapshot() == [] and not log.store.can_undelete("c")
    log(AskOnce("c", "why?", "k", history=b"", temporary=True))
    assert log.store.conversations["c"].index == 1, "its place is taken by the new one"


def test_nobody_proposes_them_while_a_member_does_not_know_them() -> None:
    for operation in (AskOnce("c", "why?", "k", "ask"), Delete("c")):
        assert "needs all nodes to run release 0.2.0; node 3 runs 0.1.0" in (
            not_understood(operation, lambda: {1: 2, 3: 1}) or ""
        )
        assert not_understood(operation, lambda: {1: 2, 3: 2}) is None
    assert (name(AskOnce("c", "why?", "k")), name(AskOnce("c", "why?", "k", "ask")), name(Delete("c"))) == (
        "query", "ask", "delete")
