"""A title is what users call a conversation: decided, in snapshots, and no part of its identity."""

from __future__ import annotations

import pytest

from kvstore import rows
from kvstore.operations import Create, Query, SetTitle, not_understood
from kvstore.rules import MAX_TITLE_BYTES, check
from tests.unit.kvstore.test_store import Cluster


def test_a_title_is_replaced_taken_away_and_in_snapshots() -> None:
    cluster, loaded = Cluster(), Cluster()
    cluster(Create("a", at=5), Query("a", "why?", at=7))
    plain = rows.value((1,), cluster.store.conversations["a"])
    assert cluster.refused(SetTitle("b", "x")).startswith("no conversation 'b'")
    assert cluster(SetTitle("a", "What is it?", at=9)).ok
    conversation = cluster.store.conversations["a"]
    assert (conversation.title, conversation.at, conversation.changed) == ("What is it?", 5, 7)
    loaded.store.load(cluster.store.snapshot())
    assert loaded.store.conversations["a"].title == "What is it?" and loaded.store.digest() == cluster.store.digest()
    assert cluster(SetTitle("a", "")).ok and cluster.store.conversations["a"].title == ""
    assert rows.value((1,), cluster.store.conversations["a"]) == plain, "as release 0.1.0 writes it"
    assert cluster.store.digest() != loaded.store.digest()


@pytest.mark.parametrize("title", [" ", "two\nlines", "x" * (MAX_TITLE_BYTES + 1), "\ud800"])
def test_what_is_no_title_is_refused(title: str) -> None:
    assert check(SetTitle("a", title)) is not None


def test_nobody_proposes_one_while_a_member_does_not_know_them() -> None:
    assert not_understood(SetTitle("a", "x"), lambda: {1: 2, 2: 1}) == (
        "`title` needs all nodes to run release 0.2.0; node 2 runs 0.1.0"
    )
