"""PaxosEngine on a real disk: a cluster of one decides alone, one of three gets nowhere without the others."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine import paxos as module
from engine.interface import Busy, Engine, NotUnderstood, OperationId
from engine.paxos import PaxosEngine
from kvstore import operations
from kvstore.operations import Create
from net.link import LinkEvents
from paxos.limits import Limits, Timing
from paxos.messages import Configuration
from paxos.replica import Replica
from storage.database import Database
from storage.errors import StorageError, StorageFull
from tests.unit.engine.engine_tools import FakeLink, Listener


class Rig:
    """One engine on the disk in `folder`."""

    def __init__(self, folder: Path, members: tuple[int, ...] = (1,), **limits: int) -> None:
        self.links: list[FakeLink] = []
        self.listener = Listener()
        self.database = Database.open(folder / "node-1.db", "demo", 1, 1)
        self.engine = PaxosEngine(
            1, members, self.database, self._make_link, timing=Timing(election_s=0.05), limits=Limits(**limits)
        )

    def _make_link(self, *, events: LinkEvents) -> FakeLink:
        self.links.append(FakeLink(events))
        return self.links[-1]

    @property
    def unknown(self) -> list[int]:
        return [told[1] for told in self.listener.told if told[0] == "unknown"]


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(30):
            await scenario()

    asyncio.run(bounded())


def test_it_is_an_engine(tmp_path: Path) -> None:
    async def scenario() -> None:
        rig = Rig(tmp_path)
        engine: Engine = rig.engine
        engine.start(rig.listener)
        await engine.close()

    run(scenario)


def test_nothing_is_told_before_the_start(tmp_path: Path) -> None:
    async def scenario() -> None:
        rig = Rig(tmp_path)
        await asyncio.sleep(0)
        assert rig.listener.told == [] and not rig.links[0].started
        assert rig.engine.status().role == "follower"
        rig.engine.start(rig.listener)
        assert rig.links[0].started
        await rig.engine.close()
        assert rig.links[0].closed

    run(scenario)


def test_a_leaders_event_loop_never_waits_for_the_disk(tmp_path: Path) -> None:
    async def scenario() -> None:
        leading, following = Rig(tmp_path / "one"), Rig(tmp_path / "three", members=(1, 2, 3))
        for rig in (leading, following):
            rig.engine.start(rig.listener)
        leading.engine.submit(Create("a"))
        assert following.engine._disk.may_wait
        await leading.listener.until(1)
        assert leading.engine.status().role == "leader" and not leading.engine._disk.may_wait
        for rig in (leading, following):
            await rig.engine.close()

    run(scenario)


def test_an_operation_is_decided_and_applied_again_after_a_restart(tmp_path: Path) -> None:
    async def first() -> None:
        rig = Rig(tmp_path)
        rig.engine.start(rig.listener)
        tickets = [rig.engine.submit(Create("a"))]
        await rig.listener.until(1)
        tickets.append(rig.engine.submit(Create("a")))  # takes along to the disk that the first one is decided
        await rig.listener.until(2)
        one, two = rig.listener.applied
        assert [one.ticket, two.ticket] == tickets and one.live and two.live
        assert (one.outcome.ok, two.outcome.ok) == (True, False) and one.outcome.context == "a"
        incarnation = rig.database.durable.incarnation
        assert (one.id, two.id) == (OperationId(1, incarnation, 1), OperationId(1, incarnation, 2))
        assert one.ballot is not None and one.ballot[1:] == (1, one.position)
        assert two.position == one.position + 1 and rig.unknown == []
        assert rig.engine.majority_reachable() and rig.engine.status().applied == two.position
        await rig.engine.close()

    async def second() -> None:
        rig = Rig(tmp_path)
        assert not rig.engine.store.conversations
        rig.engine.start(rig.listener)
        again = rig.listener.applied[0]
        assert (again.ticket, again.live, again.outcome.ok) == (0, False, True)
        assert list(rig.engine.store.conversations) == ["a"]
        ticket = rig.engine.submit(Create("b"))
        await rig.listener.until(3)
        assert (rig.listener.applied[-1].ticket, rig.listener.applied[-1].live) == (ticket, True)
        await rig.engine.close()

    run(first)
    run(second)


def test_what_a_member_does_not_know_is_not_proposed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations, "_NEEDED", {Create: 3})
    monkeypatch.setattr(operations, "RELEASES", {**operations.RELEASES, 3: "0.3.0"})

    async def scenario() -> None:
        rig = Rig(tmp_path, (1, 2, 3))
        rig.engine.start(rig.listener)
        with pytest.raises(NotUnderstood, match=r"`create` needs all nodes to run release 0.3.0; node 2 runs 0.1.0"):
            rig.engine.submit(Create("a"))
        assert rig.engine.status().queued == 0
        await rig.engine.close()

    run(scenario)


def test_it_stops_in_words_before_what_a_later_release_decided(tmp_path: Path) -> None:
    stopped = (
        "failed", "this node's release does not know what was decided at position 2 (operation 99 is of a later "
        "release): upgrade this node; its data is as it was before",
    )

    async def scenario(again: bool) -> None:
        rig = Rig(tmp_path)
        rig.engine.start(rig.listener)
        if not again:
            rig.engine._driver.submit(msgspec.msgpack.encode([99, "c", "what will be"]))
            rig.engine.submit(Create("c"))
        await rig.listener.until(stopped)
        assert not rig.engine.store.conversations and rig.listener.applied == []
        await rig.engine.close()

    run(lambda: scenario(again=False))
    run(lambda: scenario(again=True))


def test_a_read_is_done_when_the_store_holds_what_was_acknowledged(tmp_path: Path) -> None:
    async def scenario() -> None:
        rig = Rig(tmp_path)
        rig.engine.start(rig.listener)
        rig.engine.submit(Create("a"))
        await rig.listener.until(1)
        await rig.engine.read()
        assert "a" in rig.engine.store.conversations
        await rig.engine.close()

    run(scenario)


def test_a_read_that_nobody_waits_for_makes_room(tmp_path: Path) -> None:
    async def scenario() -> None:
        rig = Rig(tmp_path, (1, 2, 3), queue=2)
        rig.engine.start(rig.listener)
        first = rig.engine.read()
        rig.engine.read()
        with pytest.raises(Busy):
            rig.engine.read()
        first.cancel()
        await asyncio.sleep(0)
        third = rig.engine.read()
        await rig.engine.close()
        assert third.cancelled()

    run(scenario)


def test_closing_tells_of_every_undecided_operation_once_and_cancels_reads(tmp_path: Path) -> None:
    async def scenario() -> None:
        rig = Rig(tmp_path, (1, 2, 3), queue=2)
        rig.engine.start(rig.listener)
        tickets = [rig.engine.submit(Create("a")), rig.engine.submit(Create("b"))]
        with pytest.raises(Busy):
            rig.engine.submit(Create("c"))
        reading = rig.engine.read()
        await asyncio.sleep(0.05)
        assert rig.unknown == [] and not reading.done()
        await rig.engine.close()
        assert rig.unknown == tickets and reading.cancelled() and rig.listener.applied == []
        told = len(rig.listener.told)
        rig.links[0].events.on_peer_down(2)
        await asyncio.sleep(0.05)
        assert len(rig.listener.told) == told, "nothing moves any more"
        Database.open(tmp_path / "node-1.db", "demo", 1, 1).close()

    run(scenario)


def test_what_was_told_to_be_unknown_is_not_applied_after_that(tmp_path: Path) -> None:
    async def scenario() -> None:
        rig = Rig(tmp_path)
        rig.engine.start(rig.listener)
        rig.engine.submit(Create("a"))
        await rig.listener.until(1)
        ticket = rig.engine.submit(Create("b"))
        await rig.engine.close()
        assert rig.unknown == [ticket] and len(rig.listener.applied) == 1
        assert not any(told[0] == "failed" for told in rig.listener.told), "closing is no failure"

    run(scenario)


def test_a_failing_disk_is_told_and_nothing_is_acknowledged(tmp_path: Path) -> None:
    async def scenario() -> None:
        rig = Rig(tmp_path)
        rig.engine.start(rig.listener)
        rig.engine.submit(Create("a"))
        await rig.listener.until(1)

        def full(batch: Any) -> None:
            raise StorageFull("no space")

        rig.database.write = full  # type: ignore[method-assign]
        ticket = rig.engine.submit(Create("b"))
        await rig.listener.until(("failed", "no space"))
        await rig.engine.close()
        assert len(rig.listener.applied) == 1 and rig.unknown == [ticket]

    run(scenario)


def test_an_error_in_this_program_stops_the_node(tmp_path: Path) -> None:
    async def scenario() -> None:
        rig = Rig(tmp_path)
        rig.engine.start(rig.listener)

        def broken(applied: Any) -> None:
            raise ZeroDivisionError("a mistake")

        rig.listener.on_applied = broken  # type: ignore[method-assign]
        rig.engine.submit(Create("a"))
        reason = "internal error (ZeroDivisionError('a mistake')); the node stops to stay safe"
        await rig.listener.until(("failed", reason))
        await rig.engine.close()

    run(scenario)


def test_the_operator_gets_a_report_when_something_has_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REPORT_EVERY_S", 0.01)

    async def scenario() -> None:
        rig = Rig(tmp_path)
        rig.engine.start(rig.listener)
        reports = rig.links[0].reports
        assert len(reports) == 1 and reports[0].applied == 0
        rig.engine.submit(Create("a"))
        await rig.listener.until(1)
        # The first report after the founding may have been made in the midst of what is applied with it.
        while reports[-1].applied != rig.engine.status().applied or reports[-1].digest != rig.engine.store.digest():
            rig.links[0].reported.clear()
            await rig.links[0].reported.wait()
        assert reports[-1].role == "leader"
        count = len(reports)
        await asyncio.sleep(0.1)
        assert len(reports) == count
        await rig.engine.close()

    run(scenario)


def test_a_change_of_role_is_reported_at_once_but_not_before_the_founding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REPORT_EVERY_S", 1000.0)

    async def scenario() -> None:
        rig = Rig(tmp_path)
        rig.engine.start(rig.listener)
        reports = rig.links[0].reports
        rig.engine.submit(Create("a"))
        await rig.listener.until(1)
        assert all(report.configuration for report in reports[1:]), "who waits for a leader may change the members"
        count, rig.engine.asking = len(reports), lambda: 2
        status = rig.engine._driver.replica.status()
        rig.engine.on_status(status)
        assert len(reports) == count, "nothing of it has changed"
        rig.engine.on_status(msgspec.structs.replace(status, role="candidate"))
        assert len(reports) == count + 1 and reports[-1].asking == 2
        await rig.engine.close()

    run(scenario)


@pytest.mark.parametrize(("row", "says"), [
    (StorageError("read error"), "read error"),
    ((b"odd", b"odd"), "is damaged (its snapshot: these rows are not a snapshot of conversations)"),
])
def test_a_snapshot_that_cannot_be_used_at_the_start(tmp_path: Path, row: Any, says: str) -> None:
    """The node leaves with a sentence, and has sent nothing."""
    async def scenario() -> None:
        rig = Rig(tmp_path)

        def read() -> Any:
            if isinstance(row, StorageError):
                raise row
            return [row]

        rig.database.rows = read  # type: ignore[method-assign]
        rig.engine.start(rig.listener)
        ((what, reason),) = rig.listener.told
        assert what == "failed" and says in reason
        assert not rig.links[0].started
        await rig.engine.close()

    run(scenario)


def test_a_removed_node_leaves_unless_it_learns_that_it_was_added_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LEAVE_AFTER_S", 0.02)
    without = Configuration(2, 1, {2: 102})

    async def scenario() -> None:
        rig = Rig(tmp_path)
        rig.engine.start(rig.listener)
        rig.engine.submit(Create("a"))
        await rig.listener.until(1)
        removed = ("removed",)
        with monkeypatch.context() as catching_up:
            catching_up.setattr(Replica, "configuration", without)
            rig.engine.on_status(rig.engine.core_status())
        rig.engine.on_status(rig.engine.core_status())
        await asyncio.sleep(0.04)
        assert removed not in rig.listener.told
        with monkeypatch.context() as removing:
            removing.setattr(Replica, "configuration", without)
            rig.engine.on_status(rig.engine.core_status())
            assert removed not in rig.listener.told
            await asyncio.sleep(0.04)
            assert removed in rig.listener.told
        await rig.engine.close()

    run(scenario)
