"""Quotas are decided, refuse in words that name the bound and the way out, and never touch what is there."""

from __future__ import annotations

import pytest

from kvstore import rows
from kvstore.conversation import PART_BYTES
from kvstore.operations import (
    Answer,
    Ask,
    AskOnce,
    Candidate,
    CandidateInFull,
    Choose,
    Create,
    Delete,
    Import,
    Query,
    Retry,
    SetQuotas,
    not_understood,
)
from kvstore.packed_turns import Restored, RestoredTurn, pack
from kvstore.quotas import FIRST, Quotas, Size, refuse_size, warn_of_conversations, warn_of_size, warn_of_total
from kvstore.rules import check
from kvstore.store import Store
from tests.unit.kvstore.test_store import Cluster

TWO_OF_ALL = SetQuotas(conversations=2, turns=2, bytes=20 + 3 * PART_BYTES, total=100 * PART_BYTES, first=True)


def test_without_quotas_all_is_as_in_release_0_1_0() -> None:
    cluster = Cluster()
    assert cluster.store.quotas is None and rows.key(rows.QUOTAS) not in dict(cluster.store.snapshot())
    cluster(*(Create(f"c{number}") for number in range(100)))
    assert cluster(Import("c", pack([RestoredTurn("query", "why?", [], None)] * 5000))).ok


def test_a_full_cluster_refuses_conversations_and_says_the_way_out() -> None:
    cluster = Cluster()
    cluster(TWO_OF_ALL, Create("a"), Create("b"))
    words = "the cluster has 2 conversations, and its quota is 2: go on in one of them, or raise the quota"
    assert cluster.refused(Create("c")) == f"{words} (quotas conversations N)"
    assert cluster.refused(Import("c", pack([]))).startswith(words)
    assert cluster.refused(Create("a")) == "conversation 'a' already exists"
    assert cluster(SetQuotas(conversations=3), Create("c")).ok
    assert cluster.store.quotas == Quotas(3, 2, 20 + 3 * PART_BYTES, 100 * PART_BYTES)


@pytest.mark.parametrize("asking", [Query, Ask])
def test_a_full_conversation_takes_no_further_turn_and_finishes_the_last(asking: type[Query | Ask]) -> None:
    cluster = Cluster()
    respond = Candidate if asking is Query else Answer
    cluster(TWO_OF_ALL, Create("a"), asking("a", "why?"), respond("a", 1, 1, "so", None), Choose("a", 1))
    assert cluster.store.conversations["a"].bytes == 6 + 2 * PART_BYTES
    assert cluster.refused(asking("a", "x" * 15)) == (
        f"'a' would have {21 + 3 * PART_BYTES} bytes, and the quota of a conversation is {20 + 3 * PART_BYTES}: create "
        "another conversation, or raise the quota (quotas bytes N)"
    )
    assert cluster(asking("a", "x" * 14)).ok
    assert cluster(respond("a", 2, 1, "a long answer is finished all the same", None)).ok, "the turn had begun"
    cluster(Choose("a", 1), SetQuotas(bytes=100 * PART_BYTES))
    assert cluster.refused(asking("a", "x")).startswith(
        "'a' would have 3 turns, and the quota of a conversation is 2: create another conversation, or raise the quota"
    )
    assert cluster(SetQuotas(turns=3), asking("a", "x")).turn == 3


def test_an_import_is_measured_as_a_whole() -> None:
    cluster = Cluster()
    cluster(TWO_OF_ALL)
    turn = RestoredTurn("query", "why?", [Restored(1, "because", None), Restored(2, None, "no")], 1)
    assert "would have 3 turns, and the quota of a conversation is 2" in cluster.refused(Import("a", pack([turn] * 3)))
    assert f"would have {26 + 6 * PART_BYTES} bytes" in cluster.refused(Import("a", pack([turn] * 2)))
    assert cluster(Import("a", pack([turn]))).ok
    assert cluster.store.conversations["a"].bytes == 13 + 3 * PART_BYTES == cluster.store.conversations["a"].measured


def test_all_conversations_together_have_a_quota_and_what_is_deleted_gives_its_bytes_back() -> None:
    cluster, loaded = Cluster(), Cluster()
    used, most = 101 + 3 * PART_BYTES, 100 + 3 * PART_BYTES
    cluster(SetQuotas(conversations=9, turns=9, bytes=most, total=most, first=True), Create("a"), Create("b"))
    cluster(Query("a", "x" * 60), Candidate("a", 1, 1, "y" * 30, None))
    words = f"all conversations together would have {used} bytes, and the quota of the cluster is {most}"
    assert cluster.refused(Query("b", "z" * 11)).startswith(words)
    assert cluster.refused(Import("c", pack([RestoredTurn("query", "z" * 11, [], None)]))).startswith(words)
    history = pack([RestoredTurn("query", "z", [], None)])
    longer = words.replace(str(used), str(used + PART_BYTES))
    assert cluster.refused(AskOnce("c", "z" * 10, "key", history=history)).startswith(longer)
    loaded.store.load(cluster.store.snapshot())
    for one in (cluster, loaded):
        assert one.store.size == 90 + 2 * PART_BYTES and one(Query("b", "z" * 10)).ok
        assert one(Retry("a", node=1)).ok and one.store.size == 70 + 2 * PART_BYTES
        assert one(Delete("a")).ok and one.store.size == 10 + PART_BYTES and "a" not in one.store.conversations
        assert one(Import("d", pack([RestoredTurn("query", "z" * 90, [], None)]))).ok
        assert one.store.size == 100 + 2 * PART_BYTES
    enough = -(-most * 4 // 5)
    assert warn_of_total(cluster.store.quotas, enough - 1) is None and warn_of_total(None, 10**12) is None
    assert f"have {enough} of {most} bytes: more need a higher quota (quotas total N)" in (
        warn_of_total(cluster.store.quotas, enough) or "")


def test_many_tiny_turns_use_up_quotas_as_they_use_up_memory() -> None:
    cluster = Cluster()
    cluster(SetQuotas(conversations=99, turns=5000, bytes=2**30, total=10_000 * PART_BYTES, first=True))
    turns = pack([RestoredTurn("query", "?", [Restored(1, "!", None)], 1)] * 2400)
    assert cluster(AskOnce("a", "?", "key", history=turns)).ok and cluster(AskOnce("b", "?", "key", history=turns)).ok
    assert "all conversations together would have" in cluster.refused(AskOnce("c", "?", "key", history=turns))


def test_what_is_larger_than_a_new_quota_stays_and_answers_can_be_asked_again() -> None:
    cluster = Cluster()
    cluster(Create("a"), Create("b"), Query("a", "é" * 50))
    cluster(CandidateInFull("a", 1, 1, "so", None, thoughts="hm"), TWO_OF_ALL)
    assert cluster.store.conversations["a"].bytes == 104 + 2 * PART_BYTES
    assert cluster(Retry("a", node=1)).ok and cluster.store.conversations["a"].bytes == 100 + PART_BYTES
    assert cluster(Candidate("a", 1, 2, "so", None), Choose("a", 2)).ok
    assert f"would have {103 + 3 * PART_BYTES} bytes" in cluster.refused(Query("a", "b"))


def test_quotas_are_in_snapshots_and_refuse_the_same_afterwards() -> None:
    cluster, loaded = Cluster(), Cluster()
    cluster(TWO_OF_ALL, Create("a"), Create("b"))
    assert cluster.store.snapshot() == [(key, row) for key, row in cluster.store.changed() if row is not None]
    loaded.store.load(cluster.store.snapshot())
    assert loaded.store.digest() == cluster.store.digest() != Store().digest()
    assert loaded.refused(Create("c")) == cluster.refused(Create("c"))


def test_the_first_quotas_never_replace_decided_ones() -> None:
    cluster = Cluster()
    assert "no quotas yet" in cluster.refused(SetQuotas(turns=5))
    assert cluster(TWO_OF_ALL).ok
    assert cluster.refused(SetQuotas(9, 9, 9, 9, first=True)) == "the cluster has quotas already"
    for wrong in (SetQuotas(), SetQuotas(turns=0), SetQuotas(bytes=2**41), SetQuotas(turns=1, first=True)):
        assert check(wrong) is not None
    assert not_understood(TWO_OF_ALL, lambda: {1: 2, 2: 1}) == (
        "`quotas` needs all nodes to run release 0.2.0; node 2 runs 0.1.0"
    )


def test_users_are_warned_from_four_fifths_on() -> None:
    quotas = Quotas(10, 10, 100, 1000)
    assert warn_of_conversations(quotas, 7) is None and warn_of_conversations(None, 10**6) is None
    assert warn_of_conversations(quotas, 8) == (
        "8 of 10 conversations are in use: more need a higher quota (quotas conversations N)"
    )
    assert warn_of_size(quotas, "c", Size(7, 79)) is None and warn_of_size(None, "c", Size(10**6, 1)) is None
    assert warn_of_size(quotas, "c", Size(8, 0)) == "'c' has 8 of 10 turns: more need a higher quota (quotas turns N)"
    assert "80 of 100 bytes" in (warn_of_size(quotas, "c", Size(1, 80)) or "")
    assert refuse_size(FIRST, "c", Size(FIRST.turns, FIRST.bytes)) is None
