"""Quotas as a node's users meet them: warnings, use, the first ones, and how much a node takes a minute."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from msgspec import structs

from kvstore.operations import (
    Ask,
    AskOnce,
    Cancel,
    Create,
    Import,
    ImportInFull,
    Query,
    SetQuotas,
    SetSystem,
    SetTitle,
    StoreOperation,
)
from kvstore.packed_turns import RestoredTurn, pack
from kvstore.quotas import FIRST, MAX_QUOTA
from server import first_quotas
from server.byte_rate import ByteRate
from server.first_quotas import FirstQuotas
from tests.unit.llm.llm_tools import until
from tests.unit.server.session_tools import FakeEngine, Prompt, at_a_prompt

FIVE = SetQuotas(conversations=5, turns=5, bytes=10_000, total=100_000, first=True)


def test_users_are_warned_before_they_are_refused_and_change_quotas_in_words() -> None:
    async def scenario(user: Prompt) -> None:
        assert "conversations 0 of 10000" in " ".join((await user.do("quotas")).shown.split())
        assert user.engine.position == 0
        assert (await user.do("quotas turns 7"))["quotas"]["turns"] == {"used": 0, "most": 7}
        assert user.engine.store.quotas == structs.replace(FIRST, turns=7)
        user.engine.apply(structs.replace(FIVE, first=False), 1)
        assert "warning" not in await user.do("create c1")
        for number in range(2, 6):
            last = await user.do(f"create c{number}")
        assert last.shown == (
            "c5: created (5 of 5 conversations are in use: more need a\nhigher quota (quotas conversations N))"
        )
        refused = await user.do("create c6")
        assert not refused["ok"] and "quota is 5: go on in one of them, or raise the quota" in refused["error"]
        assert (await user.do("quotas conversations 6"))["quotas"]["conversations"] == {"used": 5, "most": 6}
        assert (await user.do("create c6"))["ok"]
        asked = await user.do(f"query c1 {'x' * 8000}")
        assert asked["warning"] == "'c1' has 8256 of 10000 bytes: more need a higher quota (quotas bytes N)"
        status = await user.do("status")
        assert status["quotas"] == {
            "conversations": {"used": 6, "most": 6}, "turns": {"used": 1, "most": 5},
            "bytes": {"used": 8256, "most": 10000}, "total": {"used": 8256, "most": 100000},
            "bytes_per_minute": {"used": 0, "most": None},
        }
        assert "conversations: 6 of 6, turns: 1 of 5, bytes: 8256 of 10000" in " ".join(status.shown.split())
        shown = (await user.do("log 20")).shown
        assert "quotas" in shown

    at_a_prompt(scenario)


def test_the_largest_quota_can_be_typed_and_a_larger_one_is_refused() -> None:
    async def scenario(user: Prompt) -> None:
        assert (await user.do(f"quotas total {MAX_QUOTA}"))["quotas"]["total"]["most"] == MAX_QUOTA
        assert not (await user.do(f"quotas total {MAX_QUOTA + 1}"))["ok"]
        assert not (await user.do(f"quotas total {10 * MAX_QUOTA}"))["ok"]

    at_a_prompt(scenario)


@pytest.mark.parametrize(
    "line", ["quotas turns", "quotas turns 0", "quotas turns x", "quotas turns -1", "quotas heads 5"]
)
def test_what_is_no_quota_is_a_mistake(line: str) -> None:
    async def scenario(user: Prompt) -> None:
        wrong = await user.do(line)
        assert wrong["kind"] == "usage" and "quotas [conversations|turns|bytes|total N]" in wrong["error"]
        assert user.engine.position == 0

    at_a_prompt(scenario)


def test_quotas_wait_for_the_upgrade_of_all_members() -> None:
    async def scenario(user: Prompt) -> None:
        user.engine.not_understood = SetQuotas
        assert (await user.do("quotas turns 9"))["error"] == "node 3 runs an older release"

    at_a_prompt(scenario)


def test_a_node_takes_so_many_bytes_a_minute_from_all_its_users() -> None:
    now = 100.0
    rate = ByteRate(1_000_000, lambda: now)

    async def scenario(user: Prompt) -> None:
        nonlocal now
        user.open(rate=rate)
        other = Prompt()
        other.open(rate=rate)
        await user.do("create c1")
        await other.do("create c1")
        for number in range(9):
            asked = await (user if number % 2 else other).do(f"query c1 {'x' * 100_000}")
            assert asked["ok"], asked
            await (user if number % 2 else other).do("cancel c1")
        assert "bytes are used that this node takes a minute" in asked["warning"]
        refused = await user.do(f"query c1 {'x' * 100_000}")
        assert refused["error"] == (
            "this node takes 1000000 bytes a minute from its users, and they are used up: try again in 1 s, at another "
            "node, or raise limits.bytes_per_minute in the configuration"
        )
        assert (await user.do("view c1"))["ok"], "reading costs nothing"
        now += 1.0
        assert (await user.do(f"query c1 {'x' * 100_000}"))["ok"]
        now += 60.0
        assert (await user.do("status"))["quotas"]["bytes_per_minute"] == {"used": 0, "most": 1_000_000}

    at_a_prompt(scenario)


def test_an_import_counts_as_what_is_sent() -> None:
    rate = ByteRate(1000, lambda: 0.0)
    assert rate.take(Import("c", pack([RestoredTurn("query", "x" * 10_000, [], None)]))) is None
    assert rate.take(Create("d")) is None and rate.used < 300
    assert "try again in 60 s" in (rate.take(Query("c", "é" * 872)) or "")


@pytest.mark.parametrize("operation", [
    Query("c", "é" * 500), Ask("c", "é" * 500), AskOnce("c", "é" * 500, "k"), SetSystem("c", "é" * 500),
    AskOnce("c", "why?", "k", history=bytes(1000)), ImportInFull("c", b"", title="é" * 250, system="é" * 250),
    SetTitle("c", "é" * 500), ImportInFull("c", bytes(1000)),
])
def test_whatever_users_write_counts(operation: StoreOperation) -> None:
    rate = ByteRate(10_000, lambda: 0.0)
    assert rate.take(operation) is None and 1000 <= rate.used < 1100


def half_full(node: FakeEngine) -> None:
    turns = [RestoredTurn("query", "why?", [], None)] * (FIRST.turns // 2)
    node.apply(Import("half", pack(turns)), 1)


@pytest.mark.parametrize("what", ["conversations", "bytes", "total"])
def test_half_of_any_quota_is_enough(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_quotas, "FIRST", structs.replace(FIRST, **{what: 100 if what == "total" else 20}))

    async def scenario(node: FakeEngine) -> None:
        quotas = FirstQuotas(node, 2)
        quotas.see(2)
        for number in range(10):
            assert not node.reads
            quotas.on_applied(node.apply(Create(f"c{number}"), 1))
            if what != "conversations":
                quotas.on_applied(node.apply(Query(f"c{number}", "x" * (number + 1)), 1))
        await until(lambda: bool(node.waiting))

    _run(scenario)


def test_the_leader_proposes_the_first_quotas_once_it_knows_that_there_are_none() -> None:
    async def scenario(node: FakeEngine) -> None:
        quotas = FirstQuotas(node, 2)
        node.apply(Create("c"), 1)
        for leader in (None, 4, 1, 2):
            quotas.see(leader)
            quotas.on_applied(node.apply(Query("c", "x" * 100), 1))
            node.apply(Cancel("c"), 1)
            await asyncio.sleep(0)
        assert not node.reads and not node.waiting, "they would refuse nothing"
        half_full(node)
        quotas.see(4)
        await asyncio.sleep(0)
        assert not node.reads and not node.waiting, "others lead"
        node.majority = False
        quotas.see(2)
        quotas.see(2)
        await asyncio.sleep(0)
        (reading,) = node.reads
        assert not node.waiting, "others may have decided some"
        reading.set_result(None)
        await asyncio.sleep(0.001)
        ((operation, _),) = node.waiting
        assert operation == SetQuotas(**structs.asdict(FIRST), first=True)
        quotas.on_applied(node.apply(Create("d"), 1))
        assert len(node.waiting) == 1, "once is enough"
        node.decide()
        quotas.see(4)
        quotas.see(2)
        await asyncio.sleep(0.001)
        assert len(node.reads) == 1, "there are quotas"

    _run(scenario)


def test_the_first_quotas_wait_for_members_of_an_older_release(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_quotas, "AGAIN_S", 0.001)

    async def scenario(node: FakeEngine) -> None:
        node.not_understood = SetQuotas
        half_full(node)
        quotas = FirstQuotas(node, 2)
        quotas.see(2)
        await until(lambda: len(node.reads) == 3)
        node.not_understood = None
        await until(lambda: bool(node.waiting))
        quotas.stop()

    _run(scenario)


def test_a_leader_that_lost_office_proposes_nothing() -> None:
    async def scenario(node: FakeEngine) -> None:
        node.majority = False
        half_full(node)
        quotas = FirstQuotas(node, 2)
        quotas.see(2)
        await asyncio.sleep(0)
        quotas.see(4)
        await asyncio.sleep(0)
        assert node.reads[0].cancelled()

    _run(scenario)


class _Ignores:
    def on_applied(self, applied: object) -> None:
        """Nobody is told."""


def _run(scenario: Callable[[FakeEngine], Awaitable[None]]) -> None:
    async def main() -> None:
        node = FakeEngine()
        node.listener = _Ignores()
        async with asyncio.timeout(10):
            await scenario(node)

    asyncio.run(main())
