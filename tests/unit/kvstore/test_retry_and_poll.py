"""Asking again, and the nodes' choice: rounds, polls and votes in the state machine."""

from __future__ import annotations

import msgspec
import pytest

from kvstore import rows
from kvstore.agreement import agreement
from kvstore.conversation import AGREEMENT, MAX_VOTES_BYTES, Response, State, Turn
from kvstore.operations import (
    Answer,
    Ask,
    Cancel,
    Candidate,
    Choose,
    Create,
    Elect,
    ElectWeighed,
    IfCreatedAt,
    Query,
    Ranking,
    Retry,
    StartPoll,
    StoreOperation,
    plainer,
)
from kvstore.payloads import encode
from kvstore.rules import MAX_TEXT_BYTES, check
from kvstore.store import Store
from tests.unit.kvstore.test_store import Cluster


@pytest.fixture
def cluster() -> Cluster:
    cluster = Cluster()
    cluster(Create("c"), Query("c", "why?"))
    return cluster


def said(node: int, round: int = 0, error: str | None = None) -> Candidate:
    return Candidate("c", 1, node, None if error else f"answer {round} of {node}", error, "m", 1.0, round)


def vote(node: int, *order: int, poll: int = 1, error: str | None = None) -> Ranking:
    return Ranking("c", 1, node, poll, list(order), error, "m")


def turn_of(cluster: Cluster) -> Turn:
    return cluster.store.conversations["c"].turns[0]


def test_all_nodes_are_asked_again(cluster: Cluster) -> None:
    cluster(said(1), said(2, error="no key"))
    assert cluster(Retry("c")).turn == 1
    turn = turn_of(cluster)
    assert (turn.candidates, turn.round(1), turn.round(5), turn.state) == ({}, 1, 1, State.OPEN)
    assert "asked again" in cluster.refused(said(3)), "it was asked before"
    assert cluster(said(3, 1)).ok and list(turn.candidates) == [3]


def test_one_node_is_asked_again(cluster: Cluster) -> None:
    cluster(said(1), said(2, error="no key"), Retry("c", node=2))
    turn = turn_of(cluster)
    assert (list(turn.candidates), turn.round(1), turn.round(2)) == ([1], 0, 1)
    assert "asked again" in cluster.refused(said(2))
    cluster(said(2, 1), Retry("c"))
    assert (turn.round(1), turn.round(2)) == (1, 2), "a round never comes twice"


def test_only_an_open_question_is_asked_again(cluster: Cluster) -> None:
    assert "no conversation" in cluster.refused(Retry("x"))
    cluster(said(1), Choose("c", 1))
    assert "already chosen" in cluster.refused(Retry("c"))
    cluster(Query("c", "and?"), Cancel("c"))
    assert "was cancelled" in cluster.refused(Retry("c", 2))
    cluster(Ask("c", "who?"))
    assert "has not failed" in cluster.refused(Retry("c", node=4))
    cluster(Answer("c", 3, 4, None, "no key"), Retry("c", node=4))
    assert "asked again" in cluster.refused(Answer("c", 3, 4, "late", None))
    assert cluster(Answer("c", 3, 4, "fine", None, round=1)).ok


def test_answers_after_a_choice_or_the_end_change_nothing(cluster: Cluster) -> None:
    cluster(said(1), Choose("c", 1))
    assert "already chosen" in cluster.refused(said(2))
    cluster(Query("c", "and?"), Cancel("c"))
    assert "was cancelled" in cluster.refused(Candidate("c", 2, 3, "late", None))


def test_a_response_that_is_gone_is_gone_from_digest_and_snapshot(cluster: Cluster) -> None:
    saved = dict(cluster.store.changed())
    cluster(said(1), said(2))
    saved.update(cluster.store.changed())
    cluster.store.digest()
    cluster(Retry("c", node=1))
    changed = cluster.store.changed()
    assert [value is None for _, value in changed] == [False, True]
    saved.update(changed)
    other = Store()
    other.load([(key, value) for key, value in saved.items() if value is not None])
    assert list(other.conversations["c"].turns[0].candidates) == [2]
    assert other.digest() == cluster.store.digest()


def test_the_nodes_choose_the_best_by_bordas_count(cluster: Cluster) -> None:
    cluster(said(1), said(3), said(5), said(4, error="no key"), StartPoll("c"))
    poll = turn_of(cluster).open_poll
    assert poll is not None and poll.ballot == [1, 3, 5]
    cluster(vote(5, 5, 3, 1), vote(1, 1, 3, 5), vote(2, 3, 5, 1), vote(4, error="nothing readable"))
    assert list(poll.votes) == [1, 2, 4, 5]
    assert poll.points == {1: 2, 3: 4, 5: 3}
    assert cluster(Elect("c", 1, 1)).ok
    assert (turn_of(cluster).chosen, turn_of(cluster).open_poll) == (3, None)
    assert "is over" in cluster.refused(vote(3, 1, 3, 5))
    assert "is over" in cluster.refused(Elect("c", 1, 1))


def test_answers_that_agree_count_as_much_as_all_llms(cluster: Cluster) -> None:
    texts = {1: "Rome, of course.", 2: "It is Paris.", 3: "The capital is Paris.", 5: "Paris is the capital."}
    for node, text in texts.items():
        cluster(Candidate("c", 1, node, text, None, "m"))
    cluster(StartPoll("c"), vote(1, 1, 2, 3, 5), vote(2, 2, 1, 3, 5), ElectWeighed("c", 1, 1))
    poll = turn_of(cluster).poll
    assert poll is not None and poll.votes[AGREEMENT].order == [3, 5, 2, 1]
    assert poll.points == {1: 5, 2: 5, 3: 2, 5: 0}
    assert turn_of(cluster).chosen == 3, "2 + 6 points with agreement, where 1 has 5, 2 has 5 + 2 and 5 has 4"
    copy = Store()
    copy.load([(key, value) for key, value in cluster.store.changed() if value is not None])
    assert copy.digest() == cluster.store.digest()


def test_agreement_decides_nothing_alone_nor_between_two(cluster: Cluster) -> None:
    cluster(said(2), said(4), StartPoll("c"), vote(1, 4, 2), ElectWeighed("c", 1, 1))
    assert turn_of(cluster).chosen == 4
    cluster(Query("c", "and now?"))
    for node in (1, 3, 5):
        cluster(Candidate("c", 2, node, "Paris", None, "m"))
    cluster(StartPoll("c"), ElectWeighed("c", 2, 1))
    turn = cluster.store.conversations["c"].turns[1]
    assert turn.state is State.OPEN and turn.poll is not None and turn.poll.votes == {}


def test_copies_of_one_model_are_one_witness() -> None:
    def answers(models: str) -> dict[int, Response]:
        texts = ("red and green", "red and green", "red and green", "blue", "blue")
        said = zip(texts, models, strict=True)
        return {node: Response(text, None, model, 0.0) for node, (text, model) in enumerate(said, 1)}

    alike = agreement(answers("mmmmm"))
    assert alike == {1: 500, 2: 500, 3: 500, 4: 250, 5: 250}
    apart = agreement(answers("mmmno"))
    assert apart[4] > alike[4] and apart[4] == (0 + 1000) // 2 and apart[1] == (1000 + 0 + 0) // 3


def test_a_tie_goes_to_the_lowest_node(cluster: Cluster) -> None:
    cluster(said(2), said(4), StartPoll("c"), vote(1, 4, 2), vote(3, 2, 4), Elect("c", 1, 1))
    assert turn_of(cluster).chosen == 2


def test_a_poll_without_votes_leaves_the_turn_open(cluster: Cluster) -> None:
    cluster(said(2), said(4), StartPoll("c"), vote(1, error="unreadable"), Elect("c", 1, 1))
    assert turn_of(cluster).state is State.OPEN and turn_of(cluster).open_poll is None
    assert cluster(StartPoll("c")).ok, "once more"
    poll = turn_of(cluster).open_poll
    assert poll is not None and (poll.number, poll.votes) == (2, {})
    assert "is over" in cluster.refused(vote(1, 2, 4)), "of the first poll"


def test_what_makes_no_choice_is_refused(cluster: Cluster) -> None:
    assert "two answers" in cluster.refused(StartPoll("c"))
    cluster(said(1))
    assert "two answers" in cluster.refused(StartPoll("c"))
    cluster(said(2), StartPoll("c"))
    assert "already" in cluster.refused(StartPoll("c"))
    for order in ([1], [1, 3], [1, 2, 3]):
        assert "does not name the answers" in cluster.refused(vote(1, *order))
    cluster(vote(1, 1, 2))
    assert "already voted" in cluster.refused(vote(1, 2, 1))
    cluster(Retry("c"))
    assert "is over" in cluster.refused(Elect("c", 1, 1)), "the answers it was about are gone"
    cluster(Cancel("c"), Ask("c", "who?"))
    assert "leader's answer" in cluster.refused(StartPoll("c"))


def test_a_user_may_choose_while_the_nodes_do(cluster: Cluster) -> None:
    cluster(said(1), said(2), StartPoll("c"), Choose("c", 2))
    assert "is over" in cluster.refused(vote(1, 1, 2))


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        (vote(1), "either"), (vote(1, 1, 2, error="and an error"), "either"), (vote(1, 2, 2), "once"),
        (vote(1, -1), "no node -1"), (vote(0, 1), "no node 0"), (vote(1, 1, poll=0), "poll 0"),
        (Elect("c", 1, 0), "poll"),
        (Retry("c", node=0), "no node 0"), (Retry("c", turn=0), "no turn 0"), (said(1, round=-1), "round -1"),
        (Candidate("c", 1, 1, "x", None, seen=3, before=2), "seen 3 of 2"),
    ],
)
def test_impossible_commands(command: Ranking, problem: str) -> None:
    error = check(command)
    assert error is not None and problem in error


def test_rows_of_an_earlier_version_are_understood() -> None:
    """Without retries and polls in a turn, without what an LLM saw in a response."""
    pack = msgspec.msgpack.encode
    old = [
        (rows.key((1,)), pack(["c", 1])), (rows.key((1, 1)), pack(["query", "why?", 2, False])),
        (rows.key((1, 1, 2)), pack(["because", None, "m", 0.5])),
    ]
    store = Store()
    store.load(old)
    turn = store.conversations["c"].turns[0]
    assert turn.answer is not None and (turn.answer.seen, turn.answer.before) == (0, 0)
    assert (turn.retries, turn.poll) == ({}, None)


def test_votes_have_a_bound_together_as_they_are_one_row(cluster: Cluster) -> None:
    """Of one node, votes are short; but it may vote in the name of many."""
    cluster(said(1), said(2), StartPoll("c"))
    long = "x" * MAX_TEXT_BYTES
    outcomes = [cluster(vote(node, error=long)).ok for node in range(1, 200)]
    assert outcomes.count(True) == MAX_VOTES_BYTES // (MAX_TEXT_BYTES + 32)
    assert "too large together" in cluster.refused(vote(200, error=long))
    assert cluster(vote(201, 2, 1)).ok, "one of the usual size"
    poll = turn_of(cluster).poll
    assert poll is not None
    left = MAX_VOTES_BYTES - sum(cast.bytes for cast in poll.votes.values())
    assert cluster(vote(202, error="x" * (left - 33))).ok and sum(cast.bytes for cast in poll.votes.values()) == (
        MAX_VOTES_BYTES)
    assert cluster(ElectWeighed("c", 1, 1)).ok, "with one vote more, that of how far they agree"
    assert max(len(row) for _, row in cluster.store.snapshot()) < 2 * MAX_VOTES_BYTES
    Store().load(cluster.store.snapshot())


def test_rounds_and_votes_are_in_digest_and_snapshot(cluster: Cluster) -> None:
    cluster(said(1), said(2), Retry("c", node=4))
    before = cluster.store.digest()
    steps: list[StoreOperation] = [
        StartPoll("c"), vote(1, 2, 1), vote(2, error="unreadable"), Retry("c", node=4), StartPoll("c"),
        vote(1, 1, 2, poll=2),
    ]
    for step in steps:
        assert cluster(step).ok
        assert cluster.store.digest() != before
        before = cluster.store.digest()
    loaded = Store()
    loaded.load([(key, value) for key, value in cluster.store.changed() if value is not None])
    assert loaded.digest() == before
    assert loaded.conversations == cluster.store.conversations
    for store in (loaded, cluster.store):
        assert store.apply(100, encode(Elect("c", 1, 2))).ok
    assert loaded.digest() == cluster.store.digest() != before


def test_release_0_1_0_is_told_to_count_rankings_alone() -> None:
    weighed = ElectWeighed("c", 1, 2, at=5)
    assert plainer(IfCreatedAt(3, weighed, at=5)) == weighed and plainer(weighed) == Elect("c", 1, 2, at=5)
    assert plainer(Elect("c", 1, 2)) is None
