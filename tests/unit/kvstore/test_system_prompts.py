"""A system prompt belongs to its conversation: decided, bounded, counted, in snapshots, and asked with."""

from __future__ import annotations

import asyncio

import pytest

from kvstore.operations import (
    Create,
    Fork,
    ImportInFull,
    Query,
    SetQuotas,
    SetSystem,
    StoreOperation,
    name,
    not_understood,
)
from kvstore.rules import MAX_SYSTEM_BYTES, check
from tests.unit.kvstore.test_ask_once import PAST, Log
from tests.unit.llm.llm_tools import until
from tests.unit.server.test_responder import FakeNode, run


def test_it_is_replaced_taken_away_and_forked() -> None:
    log = Log()
    log(Create("c", at=1))
    plain = log.store.digest()
    assert log(SetSystem("c", "Be brief.", at=5)).ok and log.store.size == 9
    conversation = log.store.conversations["c"]
    assert (conversation.system, conversation.at) == ("Be brief.", 1)
    log(Fork("d", "c"))
    assert log(SetSystem("c", "")).ok and log.store.conversations["d"].system == "Be brief."
    assert log.store.size == 9 and conversation.system == ""
    log(SetSystem("d", "No."))
    assert log.store.size == 3 and plain != log.store.digest()
    assert "no conversation 'x'" in log.refused(SetSystem("x", "y"))


def test_its_text_counts_against_the_quotas() -> None:
    log = Log()
    log(Create("c"))
    log(SetQuotas(conversations=9, turns=9, bytes=5, total=9))
    assert "the quota of a conversation is 5" in log.refused(SetSystem("c", "123456"))
    assert "the quota of a conversation is 5" in log.refused(ImportInFull("d", PAST, system="1"))
    log(SetSystem("c", "12345"))
    log(SetQuotas(bytes=1))
    assert log(SetSystem("c", "1234")).ok, "what is larger than a new quota may become smaller"


def test_an_import_brings_it_and_the_title() -> None:
    log = Log()
    assert log(ImportInFull("c", PAST, title="Why?", system="Be brief.")).turn == 1
    conversation = log.store.conversations["c"]
    assert (conversation.title, conversation.system) == ("Why?", "Be brief.")


def test_llms_are_told_in_place_of_what_nodes_tell() -> None:
    async def scenario(node: FakeNode) -> None:
        node.apply(Create("c"), SetSystem("c", "Be brief."), Query("c", "why?"), Create("d"), Query("d", "how?"))
        await until(lambda: len(node.llm.asked) == 2)
        assert [prompt.system for prompt in node.llm.asked] == ["Be brief.", None]
        await asyncio.sleep(0)

    run(scenario)


@pytest.mark.parametrize("text", [" ", "x" * (MAX_SYSTEM_BYTES + 1), "\ud800"])
def test_what_is_none_is_refused(text: str) -> None:
    assert check(SetSystem("c", text)) and check(ImportInFull("c", PAST, system=text))


@pytest.mark.parametrize(
    ("operation", "called"), [(SetSystem("c", "x"), "system"), (ImportInFull("c", PAST, system="x"), "import")]
)
def test_nobody_proposes_one_while_a_member_does_not_know_them(operation: StoreOperation, called: str) -> None:
    assert name(operation) == called and check(operation) is None
    assert f"`{called}` needs all nodes to run release 0.2.0" in (not_understood(operation, lambda: {1: 1}) or "")
