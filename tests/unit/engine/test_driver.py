"""The driver's order of things, with a replica that puts out what the test says."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from random import Random
from typing import Any

import msgspec
import pytest

from engine.driver import LOAD_AGAIN_S, ReplicaDriver
from kvstore.payloads import UnknownOperation
from kvstore.store import Outcome
from paxos.ballot import Ballot
from paxos.limits import ROWS_AN_OPERATION, Limits, Timing
from paxos.messages import Accepted, AnyMessage, Confirm, Operation, Snapshot, Stamp
from paxos.output import Applied, Divergence, Durable, Output, Persist
from paxos.replica import Replica, Status
from storage.errors import StorageError
from storage.records import Compaction, Record

BALLOT = Ballot(1, 1, 1)
VOTE, QUESTION = Accepted(BALLOT, 1), Confirm(BALLOT, 1)
FULL_OUTPUT = Output(
    send_now=[(2, QUESTION), (3, QUESTION)], persist=Persist(decided=1), send_after_persist=[(1, VOTE), (2, VOTE)],
    install=Snapshot(3, {}, [(b"k", b"v")]), apply=[Applied(4, Operation(1, 1, 1, b"four"), 7)], outcome_unknown=[5],
    reads=[6], load_snapshot=True,
)


class ScriptedReplica:
    """Puts out what it is given, one Output after the other, and notes what it takes in."""

    pid = 1
    applied = 0
    cluster = 0
    configuration = None

    def __init__(self, log: list[Any]) -> None:
        self.outputs: deque[Output] = deque()
        self.role = "follower"
        self._log = log
        self.sessions = self

    def table(self) -> dict[int, tuple[int, int]]:
        return {1: (1, self.applied)}

    def take_output(self, now: float) -> Output:
        return self.outputs.popleft() if self.outputs else Output()

    def receive(self, sender: int, message: AnyMessage, now: float, cluster: int) -> None:
        self._log.append(("receive", sender, message))

    def vouched(
        self, messages: Sequence[tuple[int, AnyMessage]], stamp: Stamp | None
    ) -> Sequence[tuple[int, AnyMessage]]:
        """See tests/unit/paxos."""
        return messages

    def suspect(self, node: int, now: float) -> None:
        self._log.append(("suspect", node))

    def tick(self, now: float) -> None:
        self._log.append(("tick",))

    def digest_taken(self, position: int, digest: int, now: float) -> None:
        self._log.append(("digest", position))

    def situation(self) -> tuple[object, ...]:
        return (self.role,)

    def stored(self, seconds: float) -> None:
        """How long a write took matters to nodes that wait for each other."""

    def snapshot_stored(self, position: int) -> None:
        self._log.append(("stored", position))

    def snapshot_loaded(self, snapshot: Snapshot, now: float) -> None:
        self._log.append(("loaded", snapshot.position))

    def status(self) -> Status:
        real = Replica(1, (1, 2, 3), Durable(1, 1), Timing(), Limits(), Random(1), 0.0).status()
        return msgspec.structs.replace(real, role=self.role)


class Rig:
    """A driver, and everything around it; what happens is written down in `log`."""

    def __init__(self, snapshot_every: int = 1000, snapshot_bytes: int = 1000) -> None:
        self.log: list[Any] = []
        self.full = False
        self.now = 0.0
        self.due: list[Callable[[], None]] = []
        self.writing: list[Callable[[], None]] = []
        self.loading: list[Callable[[Snapshot | StorageError], None]] = []
        self.records: list[Record | None] = []
        self.raising: Exception | None = None
        self.row_count = 0
        self.driver = ReplicaDriver(
            1, (1, 2, 3), Durable(1, 1), timing=Timing(),
            limits=Limits(snapshot_every=snapshot_every, snapshot_bytes=snapshot_bytes), random=Random(1),
            clock=lambda: self.now, transport=self, disk=self, machine=self, listener=self, defer=self.due.append,
        )
        self.replica = ScriptedReplica(self.log)
        self.driver.replica = self.replica  # type: ignore[assignment]
        self.driver.start()
        self.log.clear()

    def puts_out(self, *outputs: Output) -> None:
        self.replica.outputs += outputs

    def run_due(self) -> None:
        while self.due:
            self.due.pop(0)()

    def step(self, *outputs: Output) -> list[Any]:
        """The driver works these off; returns what happened."""
        self.log.clear()
        self.puts_out(*outputs)
        self.driver.tick()
        assert self.log.pop(0) == ("tick",)
        return self.log

    def kinds(self) -> list[str]:
        return [what[0] for what in self.log]

    # Transport, disk, state machine.

    def send(self, to: int, message: AnyMessage) -> None:
        self.log.append(("send", to, message))

    def flush(self) -> None:
        self.log.append(("flush",))

    def write(self, record: Record | None, done: Callable[[], None]) -> None:
        self.log.append(("write",))
        self.records.append(record)
        self.writing.append(done)

    def load_snapshot(self, done: Callable[[Snapshot | StorageError], None]) -> None:
        self.log.append(("load",))
        self.loading.append(done)

    def apply(self, position: int, payload: bytes) -> Outcome:
        if payload == b"later":
            raise UnknownOperation("upgrade this node")
        self.log.append(("apply", position, payload))
        return Outcome(None, True)

    def load(self, rows: Iterable[tuple[bytes, bytes]]) -> None:
        self.log.append(("rows", list(rows)))

    def understands(self, payload: bytes) -> bool:
        return True

    def readable(self, rows: Sequence[tuple[bytes, bytes]]) -> bool:
        return True

    def digest(self) -> str:
        return "d" * 64

    def changed(self) -> list[tuple[bytes, bytes | None]]:
        return [(b"changed", b"row")]

    # Listener.

    def on_applied(self, applied: Applied, outcome: Outcome, live: bool) -> None:
        self.log.append(("applied", applied.ticket, live))
        if self.raising is not None:
            raise self.raising

    def on_outcome_unknown(self, ticket: int) -> None:
        self.log.append(("unknown", ticket))

    def on_read_ready(self, ticket: int) -> None:
        self.log.append(("read", ticket))

    def on_installed(self, snapshot: Snapshot) -> None:
        self.log.append(("installed", snapshot.position))

    def on_odd(self, node: int, why: str) -> None:
        self.log.append(("odd", node))

    def on_stranger(self, node: int, cluster: int) -> None:
        raise AssertionError("there is one cluster here")

    def on_diverged(self, divergence: Divergence) -> None:
        self.log.append(("diverged", divergence.nodes))

    def on_status(self, status: Status) -> None:
        self.log.append(("status", status.role))

    def on_failed(self, error: Exception) -> None:
        self.log.append(("failed", error))


def test_one_output_in_the_order_of_its_docstring() -> None:
    rig = Rig()
    assert rig.step(FULL_OUTPUT) == [
        ("send", 2, QUESTION), ("send", 3, QUESTION), ("flush",), ("write",), ("rows", [(b"k", b"v")]),
        ("installed", 3), ("apply", 4, b"four"), ("applied", 7, True), ("unknown", 5), ("read", 6), ("load",),
    ]
    assert rig.records == [Persist(decided=1)]


def test_what_vouches_leaves_only_when_its_write_is_done_and_the_own_vote_comes_last() -> None:
    rig = Rig()
    rig.step(FULL_OUTPUT)
    rig.log.clear()
    rig.run_due()
    assert rig.log == []
    rig.writing.pop()()
    assert rig.log == [("send", 2, VOTE), ("receive", 1, VOTE)]


def test_what_waits_for_no_write_of_its_own_waits_for_the_earlier_ones() -> None:
    rig = Rig()
    rig.step(Output(persist=Persist(decided=1)), Output(send_after_persist=[(2, VOTE)]))
    assert rig.log == [("write",), ("write",)] and rig.records == [Persist(decided=1), None]
    rig.writing.pop(0)()
    assert rig.kinds() == ["write", "write"]
    rig.writing.pop(0)()
    assert rig.log[2:] == [("send", 2, VOTE)]


def test_only_a_write_makes_the_network_hurry() -> None:
    assert Rig().step(Output(send_now=[(2, QUESTION)])) == [("send", 2, QUESTION)]
    assert Rig().step(Output(persist=Persist(decided=1))) == [("write",)]


def test_what_comes_together_is_worked_off_together() -> None:
    rig = Rig()
    rig.puts_out(Output(send_now=[(2, QUESTION)]))
    for sender in (2, 3):
        rig.driver.receive(sender, VOTE)
    assert rig.kinds() == ["receive", "receive"] and len(rig.due) == 1
    rig.run_due()
    assert rig.kinds() == ["receive", "receive", "send"]
    rig.driver.suspect(2)
    assert len(rig.due) == 1, "and again"


def test_old_operations_are_not_live() -> None:
    rig = Rig()
    driver = ReplicaDriver(
        1, (1, 2, 3), Durable(1, 1), timing=Timing(), limits=Limits(), random=Random(1), clock=lambda: 0.0,
        transport=rig, disk=rig, machine=rig, listener=rig, defer=rig.due.append,
    )
    driver.replica = rig.replica  # type: ignore[assignment]
    assert rig.log == [], "nothing is told while it is being made"
    rig.puts_out(Output(apply=[Applied(1, Operation(1, 1, 1, b"old"))]))
    driver.start()
    assert ("applied", 0, False) in rig.log
    rig.puts_out(Output(apply=[Applied(2, Operation(1, 1, 2, b"new"))]))
    driver.tick()
    assert rig.log[-1] == ("applied", 0, True)


def test_a_status_is_told_when_it_has_changed() -> None:
    rig = Rig()
    assert rig.step() == []
    rig.replica.role = "leader"
    assert rig.step() == [("status", "leader")]
    assert rig.step() == []


# ---- Stopping


def test_once_stopped_nothing_moves_and_nothing_is_taken_in() -> None:
    rig = Rig()
    rig.step(FULL_OUTPUT)
    rig.driver.receive(2, VOTE)
    rig.log.clear()
    rig.puts_out(FULL_OUTPUT)
    rig.driver.stop()
    rig.driver.receive(2, VOTE)
    rig.driver.suspect(2)
    rig.driver.tick()
    rig.run_due()
    rig.writing.pop()()
    rig.loading.pop()(Snapshot(1, {}, []))
    rig.driver.fail(StorageError("late"))
    assert rig.log == []


def test_stopped_in_the_midst_of_its_work_it_takes_no_further_output() -> None:
    rig = Rig()
    first = Output(apply=[Applied(1, Operation(1, 1, 1, b""))])
    rig.on_applied = lambda applied, outcome, live: rig.driver.stop()  # type: ignore[method-assign]
    rig.step(first, FULL_OUTPUT)
    assert rig.kinds() == ["apply"]


def test_an_error_in_a_step_stops_the_node() -> None:
    rig = Rig()
    rig.raising = error = KeyError("a mistake")
    rig.step(FULL_OUTPUT, FULL_OUTPUT)
    assert rig.log[-1] == ("failed", error) and rig.kinds().count("write") == 1
    rig.log.clear()
    rig.writing.pop()()
    rig.driver.receive(2, VOTE)
    rig.driver.tick()
    rig.run_due()
    assert rig.log == [], "nothing is acknowledged any more"


def test_a_failed_disk_stops_the_node_and_is_told_once() -> None:
    rig = Rig()
    rig.step(FULL_OUTPUT)
    rig.log.clear()
    first = StorageError("full")
    rig.driver.fail(first)
    rig.driver.fail(StorageError("again"))
    rig.writing.pop()()
    rig.driver.tick()
    assert rig.log == [("failed", first)]


def test_while_the_disk_is_far_behind_messages_are_dropped() -> None:
    rig = Rig()
    rig.full = True
    rig.driver.receive(2, VOTE)
    assert rig.log == [] and rig.due == []
    rig.driver.suspect(2)
    rig.driver.tick()
    assert rig.kinds() == ["suspect", "tick"], "time goes on"
    rig.full = False
    rig.driver.receive(2, VOTE)
    assert rig.kinds()[-1] == "receive"


def test_nobody_else_can_speak_for_the_node_itself() -> None:
    rig = Rig()
    rig.driver.receive(1, VOTE)
    assert rig.log == [] and rig.due == []


# ---- Snapshots


def test_a_snapshot_is_made_every_so_often_and_told_of_when_it_is_stored() -> None:
    rig = Rig(snapshot_every=10)
    rig.replica.applied = 9
    assert rig.step(Output(reads=[1])) == [("read", 1)]
    rig.replica.applied = 11
    assert rig.step(Output(reads=[2])) == [("read", 2), ("write",)]
    assert rig.records == [Compaction(11, {1: (1, 11)}, [(b"changed", b"row")])]
    rig.replica.applied = 20
    assert rig.step(Output(reads=[3])) == [("read", 3)]
    rig.writing.pop()()
    assert rig.log[-1] == ("stored", 11)


def test_snapshots_of_a_large_state_are_rarer() -> None:
    rig = Rig(snapshot_every=10)
    rig.row_count = 100 * ROWS_AN_OPERATION
    for position, made in ((94, 0), (95, 1), (189, 1), (190, 2)):  # node 1's are a twentieth more frequent
        rig.replica.applied = position
        rig.step(Output(reads=[position]))
        assert len(rig.records) == made


@pytest.mark.parametrize(("rows", "operations"), [(0, 2_000), (64_000, 2_000), (96_000, 3_000), (10**9, 8_000)])
def test_how_rare_snapshots_are(rows: int, operations: int) -> None:
    assert Limits().snapshot_interval(rows, 5) == operations
    assert Limits(snapshot_every=20_000).snapshot_interval(rows, 5) == 20_000


@pytest.mark.parametrize(("rows", "operations"), [(0, [2_000] * 5), (10**6, [6_400, 6_800, 7_200, 7_600, 8_000])])
def test_nodes_make_snapshots_of_a_large_state_at_different_positions(rows: int, operations: list[int]) -> None:
    assert sorted(Limits().snapshot_interval(rows, node) for node in range(1, 6)) == operations


def test_a_snapshot_is_made_of_few_operations_if_they_are_large() -> None:
    rig = Rig(snapshot_bytes=10)
    for position, size, made in ((1, 9, 0), (2, 1, 1), (3, 9, 1), (4, 0, 1), (5, 30, 2)):
        rig.replica.applied = position
        rig.step(Output(apply=[Applied(position, Operation(1, 1, position, bytes(size)))]))
        assert len(rig.records) == made


def test_a_received_snapshot_counts_as_the_last_one() -> None:
    rig = Rig(snapshot_every=10)
    rig.replica.applied = 15
    rig.step(Output(install=Snapshot(15, {}, [])))
    assert rig.records == [] and rig.driver.snapshot_position == 15


def test_a_snapshot_that_cannot_be_read_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig()
    rig.step(Output(load_snapshot=True))
    with caplog.at_level(logging.WARNING):
        rig.loading.pop()(StorageError("read error"))
    assert "read error" in caplog.text
    rig.now = LOAD_AGAIN_S * 0.9
    assert rig.step() == []
    rig.now = LOAD_AGAIN_S
    assert rig.step() == [("load",)]
    assert rig.step() == [], "one at a time"
    rig.loading.pop()(Snapshot(8, {}, []))
    assert rig.log == [("loaded", 8)]
    rig.now = 10 * LOAD_AGAIN_S
    assert rig.step() == []


# ---- The observer


class Witness:
    def __init__(self) -> None:
        self.seen: list[Any] = []

    def received(self, sender: int, message: AnyMessage) -> None:
        self.seen.append(("received", sender, message))

    def sent(self, messages: Any) -> None:
        self.seen.append(("sent", *messages))

    def applied(self, applied: Any) -> None:
        self.seen.append(("applied", len(applied)))

    def installed(self, position: int) -> None:
        self.seen.append(("installed", position))

    def changed(self, status: Status) -> None:
        self.seen.append(("changed", status.role))


def test_an_observer_sees_it_all() -> None:
    rig = Rig()
    rig.driver.observer = witness = Witness()
    rig.replica.role = "leader"
    rig.step(FULL_OUTPUT)
    rig.writing.pop()()
    rig.driver.receive(3, QUESTION)
    assert witness.seen == [
        ("sent", (2, QUESTION), (3, QUESTION)), ("installed", 3), ("applied", 1), ("changed", "leader"),
        ("sent", (2, VOTE)), ("received", 1, VOTE), ("received", 3, QUESTION),
    ]


def test_it_stops_before_a_decided_operation_that_it_does_not_know() -> None:
    rig = Rig(snapshot_every=1)
    applied = [Applied(4, Operation(1, 1, 1, b"four"), 7), Applied(5, Operation(2, 1, 1, b"later")),
               Applied(6, Operation(1, 1, 2, b"six"), 8)]  # fmt: skip
    rig.step(Output(apply=applied, reads=[6], load_snapshot=True))
    assert rig.kinds() == ["apply", "applied", "failed"] and "upgrade" in str(rig.log[-1][1])
    rig.driver.receive(2, VOTE)
    rig.driver.tick()
    assert rig.kinds() == ["apply", "applied", "failed"], "nothing beyond, and no snapshot that covers it"


# ---- Digests


def _operations(*positions: int) -> Output:
    return Output(apply=[Applied(position, Operation(1, 1, position, b"x")) for position in positions])


def test_a_digest_is_taken_between_what_comes_before_a_round_position_and_what_comes_behind() -> None:
    rig = Rig()
    rig.step(_operations(99, 100))
    assert "digest" not in rig.kinds(), "the next one may come at the same position: a no-op is not applied"
    assert [what for what in rig.step(_operations(101, 102)) if what[0] in ("digest", "apply")] == [
        ("digest", 100), ("apply", 101, b"x"), ("apply", 102, b"x")]
    rig.step(_operations(250, 404))
    assert [what for what in rig.log if what[0] == "digest"] == [("digest", 200), ("digest", 400)]


def test_of_positions_before_a_snapshot_there_is_no_digest() -> None:
    rig = Rig()
    rig.step(Output(install=Snapshot(150, {}, [])))
    assert "digest" not in [what[0] for what in rig.step(_operations(151))]
    assert ("digest", 200) in rig.step(_operations(201))


def test_a_digest_is_taken_where_the_log_comes_to_rest() -> None:
    rig = Rig()
    rig.replica.applied = 7
    for now, expected in ((10.0, []), (10.5, []), (11.0, [("digest", 7)]), (12.0, []), (13.0, [])):
        rig.now = now
        assert rig.step() == expected, now


@pytest.mark.parametrize("minority", [False, True])
def test_only_who_is_wrong_stops(minority: bool) -> None:
    rig = Rig()
    rig.step(Output(diverged=[Divergence(5, (2, 3), minority)]))
    if minority:
        assert rig.kinds() == ["flush", "failed"] and rig.driver.stopped
        assert "not those of nodes 2, 3" in str(rig.log[-1][1])
    else:
        assert rig.log == [("diverged", (2, 3))] and not rig.driver.stopped
