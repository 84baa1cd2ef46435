"""Where the nodes choose by themselves, they do so once for each time that a question is asked."""

from __future__ import annotations

import pytest

from kvstore.conversation import Turn
from kvstore.operations import (
    Ask,
    Candidate,
    ChooseAuto,
    Create,
    Elect,
    Fork,
    IfCreatedAt,
    Query,
    Ranking,
    Retry,
    SetAuto,
    StartPoll,
    name,
    not_understood,
    plainer,
)
from kvstore.rules import MAX_TURN, check
from tests.unit.kvstore.test_ask_once import Log

NOT_NOW = "the nodes do not choose by themselves in turn 1 of 'c' now"


def said(node: int, round: int = 0, text: str | None = "x") -> Candidate:
    return Candidate("c", 1, node, text, "no key" if text is None else None, round=round)


def asked() -> Log:
    log = Log()
    for operation in (Create("c", at=1), SetAuto("c", True, at=5), Query("c", "why?")):
        assert log(operation).ok
    return log


def turn_of(log: Log) -> Turn:
    return log.store.conversations["c"].turns[0]


def test_it_is_decided_for_a_conversation_and_its_forks() -> None:
    log = Log()
    log(Create("c", at=1))
    plain = log.store.digest()
    assert log(SetAuto("c", True, at=5)).ok and log.store.digest() != plain
    log(Fork("d", "c"))
    assert log(SetAuto("c", False)).ok
    conversations = log.store.conversations
    assert (conversations["c"].auto, conversations["c"].at, conversations["d"].auto) == (False, 1, True)
    assert "no conversation 'x'" in log.refused(SetAuto("x", True))


def test_once_for_each_time_that_a_question_is_asked() -> None:
    log = asked()
    assert NOT_NOW in log.refused(ChooseAuto("c", 1, 1)), "there is nothing to choose"
    log(said(1))
    log(said(2))
    assert log.store.conversations["c"].choosing == 1
    assert NOT_NOW in log.refused(ChooseAuto("c", 1, 2)), "it was not asked again"
    assert log(ChooseAuto("c", 1, 1)).turn == 1 and turn_of(log).poll is not None
    assert NOT_NOW in log.refused(ChooseAuto("c", 1, 1)), "they choose already"
    log(Ranking("c", 1, 1, 1, [], "silent"))
    log(Elect("c", 1, 1))
    assert turn_of(log).chosen is None and log.store.conversations["c"].choosing is None
    assert NOT_NOW in log.refused(ChooseAuto("c", 1, 1)), "nobody could rank: that is for a user now"
    log(Retry("c", node=2))
    assert NOT_NOW in log.refused(ChooseAuto("c", 1, 1)), "it is about answers that are gone"
    log(said(2, round=1))
    assert log(ChooseAuto("c", 1, 2)).ok
    log(Ranking("c", 1, 1, 2, [2, 1], None))
    log(Elect("c", 1, 2))
    assert turn_of(log).chosen == 2
    assert "already chosen" in log.refused(ChooseAuto("c", 1, 2))
    log(Fork("d", "c"))
    assert log.store.conversations["d"].turns[0].polled == 0


def test_not_after_a_poll_that_a_user_began() -> None:
    log = asked()
    for operation in (said(1), said(2), StartPoll("c"), Elect("c", 1, 1)):
        assert log(operation).ok
    assert NOT_NOW in log.refused(ChooseAuto("c", 1, 1))


def test_the_only_answer_stands() -> None:
    log = asked()
    log(said(1, text=None))
    assert NOT_NOW in log.refused(ChooseAuto("c", 1, 1))
    log(said(3))
    assert log(ChooseAuto("c", 1, 1)).ok
    assert (turn_of(log).chosen, turn_of(log).poll) == (3, None)


def test_not_once_users_choose_again_nor_what_the_leader_answers() -> None:
    log = asked()
    log(said(1))
    log(SetAuto("c", False))
    assert NOT_NOW in log.refused(ChooseAuto("c", 1, 1))
    log(Create("d"))
    log(SetAuto("d", True))
    log(Ask("d", "who?"))
    assert log.store.conversations["d"].choosing is None
    assert "do not choose by themselves" in log.refused(ChooseAuto("d", 1, 1))


@pytest.mark.parametrize("wrong", [ChooseAuto("c", 0, 1), ChooseAuto("c", 1, 0), ChooseAuto("c", 1, MAX_TURN + 1)])
def test_what_is_none_is_refused(wrong: ChooseAuto) -> None:
    assert check(wrong)


def test_nobody_proposes_what_a_member_does_not_know() -> None:
    setting, choosing = SetAuto("c", True), IfCreatedAt(1, ChooseAuto("c", 1, 2), at=5)
    assert (name(setting), name(choosing)) == ("auto", "poll") and plainer(setting) is None
    assert "`auto` needs all nodes to run release 0.2.0" in (not_understood(setting, lambda: {1: 1}) or "")
    assert not_understood(ChooseAuto("c", 1, 2), lambda: {1: 1})
    once = plainer(choosing)
    assert once is not None and plainer(once) == StartPoll("c", 1, at=5)
