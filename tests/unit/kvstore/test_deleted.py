"""A deletion can be undone for a while, which is the same at every node; meanwhile nothing is in the way of others."""

from __future__ import annotations

import pytest

from kvstore import deleted
from kvstore.conversation import PART_BYTES
from kvstore.deleted import KEPT_POSITIONS
from kvstore.operations import AskOnce, Create, Delete, Query, Rename, SetQuotas, SetSystem, Undelete, not_understood
from kvstore.store import Store
from tests.unit.kvstore.test_ask_once import Log
from tests.unit.kvstore.test_forks import talk


def test_what_was_deleted_comes_back_as_it_was() -> None:
    log = Log()
    talk(log)
    log(Create("d"))
    log(SetSystem("c", "Be brief."))
    log(Query("c", "open?"))
    digest, size = log.store.digest(), log.store.size
    assert "no deleted conversation 'c' is kept" in log.refused(Undelete("c"))
    log(Delete("c"))
    assert log.store.can_undelete("c") and not log.store.can_undelete("d")
    assert "no conversation 'c'" in log.refused(Query("c", "how?")) and log.store.size == 0
    assert log(Undelete("c")).ok and log.store.digest() == digest and log.store.size == size
    assert list(log.store.conversations) == ["c", "d"] and log.store.conversations["c"].open_turn == 3
    assert "no deleted conversation 'c' is kept" in log.refused(Undelete("c"))


def test_another_one_of_its_name_is_not_touched() -> None:
    log = Log()
    talk(log)
    log(Delete("c"))
    log(Create("c"))
    assert log.refused(Undelete("c")) == "there is another 'c' now: rename c NEW first, then undelete c"
    log(Delete("c"))
    log(Undelete("c"))
    assert log.store.conversations["c"].turns == [], "the last one comes first"
    log(Rename("c", "d"))
    log(Undelete("c"))
    assert len(log.store.conversations["c"].turns) == 2


def test_it_counts_against_no_quota_until_it_is_back() -> None:
    log = Log()
    talk(log)
    log(Query("c", "open?"))
    size = log.store.size
    log(SetQuotas(conversations=1, turns=9, bytes=99 * PART_BYTES, total=size))
    log(Delete("c"))
    log(Create("d"))
    assert "its quota is 1" in log.refused(Undelete("c"))
    log(SetQuotas(conversations=2))
    log(Query("d", "x"))
    assert "all conversations together would have" in log.refused(Undelete("c"))
    log(SetQuotas(total=size + 1 + PART_BYTES))
    assert log(Undelete("c")).ok


def test_it_is_kept_for_so_many_operations() -> None:
    log = Log()
    talk(log)
    log(Delete("c"))
    log.position += KEPT_POSITIONS
    assert "is kept" in log.refused(Undelete("c")), "one too late"
    rows = len(log.store.snapshot())
    log(Create("d"))
    assert (rows, len(log.store.snapshot())) == (5, 1), "and nothing is left of it with the next conversation"
    log(Delete("d"))
    log.position += KEPT_POSITIONS - 1
    assert log(Undelete("d")).ok, "just in time"


def test_what_is_not_kept_any_more_leaves_no_place_that_another_conversation_has() -> None:
    log = Log()
    talk(log)
    log(Create("d"))
    log(Delete("c"))
    log.position += KEPT_POSITIONS
    log(Create("e"))
    loaded = Store()
    loaded.load(log.store.snapshot())
    assert list(loaded.conversations) == ["d", "e"] and loaded.digest() == log.store.digest()


@pytest.mark.parametrize(("bound", "most"), [("KEPT_CONVERSATIONS", 1), ("KEPT_BYTES", 8 + 4 * PART_BYTES)])
def test_only_the_last_ones_are_kept(bound: str, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deleted, bound, most)
    log = Log()
    talk(log, "c")
    talk(log, "d")
    log(Delete("c"))
    log(Delete("d"))
    assert not log.store.can_undelete("c") and log.store.can_undelete("d")
    assert len(log.store.snapshot()) == 5


def test_an_earlier_one_of_the_same_name_is_not_the_one_that_was_deleted() -> None:
    log = Log()
    talk(log)
    log(Delete("c"))
    log(AskOnce("c", "why?", "k", history=b"", temporary=True))
    log(Delete("c"))
    assert not log.store.can_undelete("c"), "what is temporary is not kept; `undelete` brings back the earlier one"
    assert log(Undelete("c")).ok and len(log.store.conversations["c"].turns) == 2


def test_nobody_proposes_it_while_a_member_does_not_know_it() -> None:
    assert "`undelete` needs all nodes to run release 0.2.0" in (not_understood(Undelete("c"), lambda: {1: 1}) or "")
