"""The engine of this project's own Multi-Paxos: the driver, a disk with its thread, and the link, in one event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from functools import partial
from random import Random

import msgspec

from engine.driver import Diverged, DriverObserver, ReplicaDriver
from engine.interface import (
    AppliedOperation,
    Busy,
    EngineListener,
    EngineStatus,
    MemberChange,
    Membership,
    OperationId,
    understood,
)
from engine.network import LinkFactory, Network
from engine.ticks import Ticks
from kvstore.operations import StoreOperation
from kvstore.payloads import UnknownOperation, encode
from kvstore.store import Outcome, Store
from net.control_messages import Report
from paxos.ballot import NOBODY
from paxos.limits import Limits, Timing
from paxos.messages import Change, Snapshot
from paxos.output import Applied, Divergence
from paxos.replica import QueueFull, Status
from storage.database import Database
from storage.errors import StorageError, damaged
from storage.writer import DiskWriter

READ_TIMEOUT_S = 2.0
READ_ROUND_TRIPS = 8.0
"""A linearizable read at a follower takes up to four round trips; the timeout is twice that."""

LEAVE_AFTER_S = 1.0
"""A node that learns that it was removed catches up with the rest before it leaves."""

REPORT_EVERY_S = 0.5
"""The operator's table shows this node as it was at most so long ago."""


class PaxosEngine:
    """Implements `engine.interface.Engine`. Made and used in the thread of its event loop; owns `database` from now on.
    Tells nobody anything before `start`."""

    def __init__(
        self, number: int, members: Iterable[int], database: Database, make_link: LinkFactory, *, timing: Timing,
        limits: Limits,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._number = number
        self._database = database
        self._store = Store()
        self._listener: EngineListener
        self._tickets: dict[int, float] = {}
        """Of operations that were submitted here and have no outcome yet: when they were submitted."""
        self._reads: dict[int, asyncio.Future[None]] = {}
        self._was_member = False
        """This node was a member when it looked last."""
        self._change: asyncio.Future[None] | None = None
        """A change of the members that is asked for here."""
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._reported: Report | None = None
        self.asking: Callable[[], int] = lambda: 0
        """How many requests the node's LLM works on: the operator is told."""
        self._network = Network(make_link)
        self._disk = DiskWriter(database, self._loop, self._disk_failed)
        durable = database.durable
        self._driver = ReplicaDriver(
            number, members, durable, timing=timing, limits=limits,
            random=Random(durable.identity ^ durable.incarnation), clock=self._loop.time, transport=self._network,
            disk=self._disk, machine=self._store, listener=self, defer=self._loop.call_soon,
        )
        self._ticks = Ticks(self._driver, self._loop.call_later)

    # ---- The engine's interface

    @property
    def store(self) -> Store:
        return self._store

    def start(self, listener: EngineListener) -> None:
        self._listener = listener
        try:
            self._store.load(self._database.rows())
        except StorageError as error:
            self._driver.fail(error)
            return
        except ValueError as error:
            self._driver.fail(damaged(self._database.path, f"its snapshot: {error}", certain=False))
            return
        self._driver.start()
        self._network.start(self._driver, listener)
        self._ticks.start()
        self._report()

    def submit(self, operation: StoreOperation) -> int:
        operation = understood(operation, self._driver.replica.operations_versions)
        payload = encode(msgspec.structs.replace(operation, at=time.time_ns() // 1_000_000))
        try:
            ticket = self._driver.submit(payload)
        except QueueFull as full:
            raise Busy(str(full)) from full
        self._tickets[ticket] = self._loop.time()
        return ticket

    def read(self) -> asyncio.Future[None]:
        try:
            ticket = self._driver.read()
        except QueueFull as full:
            raise Busy(str(full)) from full
        self._reads[ticket] = reading = self._loop.create_future()
        reading.add_done_callback(partial(self._read_ended, ticket))
        return reading

    def status(self) -> EngineStatus:
        return self._engine_status(self._driver.replica.status())

    def membership(self) -> Membership | None:
        configuration = self._driver.replica.configuration
        if configuration is None:
            return None
        known = {pid: identity > 0 for pid, identity in configuration.members.items()}
        return Membership(f"{configuration.cluster:016x}", configuration.number, known)

    def change_members(self, change: MemberChange, node: int) -> asyncio.Future[None]:
        if self._change is not None:
            raise Busy("another change of the members is being asked for here")
        self._change = asked = self._loop.create_future()
        asked.add_done_callback(self._change_ended)
        self._driver.change_members(Change[change.upper()], node)
        return asked

    def _change_ended(self, asked: asyncio.Future[None]) -> None:
        self._change = None
        self._driver.replica.abandon_change()

    def majority_reachable(self) -> bool:
        return self._driver.replica.majority_reachable()

    def read_timeout_s(self) -> float:
        return max(READ_TIMEOUT_S, READ_ROUND_TRIPS * self._driver.replica.net.round_trip())

    def send_hint(self, node: int, payload: bytes) -> None:
        self._network.send_hint(node, payload)

    async def close(self) -> None:
        self._driver.stop()
        self._ticks.stop()
        for timer in self._timers.values():
            timer.cancel()
        tickets, self._tickets = self._tickets, {}
        for ticket in sorted(tickets):
            self._listener.on_outcome_unknown(ticket)
        for reading in list(self._reads.values()):
            reading.cancel()
        if self._change is not None:
            self._change.cancel()
        await self._network.close()
        await self._disk.close()

    # ---- For `explain`

    def core_status(self) -> Status:
        """What the core says of itself."""
        return self._driver.replica.status()

    def observe(self, observer: DriverObserver | None) -> None:
        """From now on `observer` sees what the driver does; nobody, if None."""
        self._driver.observer = observer

    # ---- Events from the driver

    def on_applied(self, applied: Applied, outcome: Outcome, live: bool) -> None:
        self._ticks.hurry()
        operation, position = applied.operation, applied.position
        entry = self._driver.replica.log.get(position)
        since = self._tickets.pop(applied.ticket, None)
        self._listener.on_applied(AppliedOperation(
            position, OperationId(operation.pid, operation.incarnation, operation.number),
            (*entry.leadership, position) if entry is not None and entry.leadership != NOBODY else None,
            outcome, applied.ticket, live, 0.0 if since is None else self._loop.time() - since,
        ))

    def on_outcome_unknown(self, ticket: int) -> None:
        self._tickets.pop(ticket, None)
        self._listener.on_outcome_unknown(ticket)

    def on_read_ready(self, ticket: int) -> None:
        reading = self._reads.pop(ticket, None)
        if reading is not None and not reading.done():
            reading.set_result(None)

    def on_installed(self, snapshot: Snapshot) -> None:
        self._listener.on_installed()

    def on_status(self, status: Status) -> None:
        self._ticks.hurry()
        self._disk.may_wait = status.role == "follower"  # where a leader waits, others may take it for dead
        configuration = self._driver.replica.configuration
        if self._was_member and not self._is_member() and "leave" not in self._timers:
            self._timers["leave"] = self._loop.call_later(LEAVE_AFTER_S, self._leave)
        self._was_member = configuration is not None and self._is_member()
        if configuration is not None and self._reported is not None and (
            configuration.number > self._reported.configuration
            or (status.role, status.leader) != (self._reported.role, self._reported.leader)
        ):
            self._send_report()  # at once: the orchestrator remembers which cluster it serves, and who belongs to it
        if self._change is not None and not self._change.done() and not self._driver.replica.changing:
            self._change.set_result(None)
        self._listener.on_status(self._engine_status(status))

    def on_stranger(self, node: int, cluster: int) -> None:
        name = self._database.cluster
        own = self._driver.cluster
        self._listener.on_stranger(
            f"this is cluster {name} {own:016x}, node {node} belongs to cluster {cluster:016x}: what it says is ignored"
        )

    def on_odd(self, node: int, why: str) -> None:
        self._network.odd.add(node, why)

    def on_diverged(self, divergence: Divergence) -> None:
        self._listener.on_diverged(_diverged(divergence))

    def on_failed(self, error: Exception) -> None:
        if isinstance(error, (StorageError, UnknownOperation, Diverged)):
            self._listener.on_failed(str(error))
        else:
            self._listener.on_failed(f"internal error ({error!r}); the node stops to stay safe")

    # ---- Within

    def _is_member(self) -> bool:
        configuration = self._driver.replica.configuration
        return configuration is None or self._number in configuration.members

    def _leave(self) -> None:
        """What is decided now may be what it has caught up with: it may have been added again since."""
        del self._timers["leave"]
        if not self._is_member():
            self._listener.on_removed()

    def _disk_failed(self, error: StorageError) -> None:
        self._driver.fail(error)

    def _read_ended(self, ticket: int, reading: asyncio.Future[None]) -> None:
        if self._reads.pop(ticket, None) is not None:
            self._driver.abandon_read(ticket)

    def _engine_status(self, status: Status) -> EngineStatus:
        ballot, configuration = status.ballot, self._driver.replica.configuration
        return EngineStatus(
            status.node, status.role, status.leader, (ballot.seq_num, ballot.pid, ballot.op_num), status.decided,
            status.applied, status.queued, str(status.voter_status), status.links, status.differs, status.lost,
            0 if configuration is None else len(configuration.members),
        )

    def _report(self) -> None:
        """Keeps the operator's table up to date."""
        self._timers["report"] = self._loop.call_later(REPORT_EVERY_S, self._report)
        self._send_report()

    def _send_report(self) -> None:
        status = self.status()
        configuration = self._driver.replica.configuration
        number, members = (0, []) if configuration is None else (configuration.number, sorted(configuration.members))
        report = Report(
            status.role, status.leader, status.ballot, status.decided, status.applied, status.queued,
            self._store.digest(), self._driver.cluster, number, members, list(status.lost),
            self.asking(),
        )
        if report != self._reported:
            self._reported = report
            self._network.send_report(report)


def _diverged(divergence: Divergence) -> str:
    """For users of a node that is not known to be wrong."""
    nodes = f"node{'s' if len(divergence.nodes) > 1 else ''} {', '.join(map(str, divergence.nodes))}"
    found = (
        f"after operation {divergence.position} the conversations of {nodes} are not those of this node, although all "
        "have applied the same operations"
    )
    if divergence.majority:
        return f"{found}. This node agrees with a majority; whoever does not is wrong, and stops"
    return (
        f"{found}. No majority agrees, so that it is not known who is wrong, and nobody stops: start the nodes that "
        "are down. Until then, trust no conversation that differs"
    )
