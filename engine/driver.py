"""Runs one Replica: takes its Outputs and works through them in the order that paxos/output.py demands.

This is the only such loop: node processes, the simulator, the exhaustive search and the benchmarks all run it, so that
what is proved is what runs. It knows no event loop, thread, socket, clock or disk of its own: all that is injected.
Every method is to be called in one thread, and so are all callbacks of what was injected.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from functools import partial, wraps
from random import Random
from typing import Any, Concatenate, ParamSpec, Protocol

from engine.state_digests import StateDigests
from kvstore.operations import OPERATIONS_VERSION
from kvstore.payloads import UnknownOperation
from kvstore.store import Outcome
from paxos.limits import Limits, Timing
from paxos.messages import AnyMessage, Change, Heartbeat, Snapshot, Stamp
from paxos.output import Applied, Divergence, Durable, Output
from paxos.replica import Replica, Status
from storage.errors import StorageDamaged, StorageError
from storage.records import Compaction, Record

_log = logging.getLogger(__name__)

LOAD_AGAIN_S = 1.0
"""Until the stored snapshot is read again after that failed."""


class Transport(Protocol):
    """To the other nodes. What is sent gets there with the `cluster` that the driver has at that time."""

    def send(self, to: int, message: AnyMessage) -> None:
        """Never blocks, may lose."""

    def flush(self) -> None:
        """What was sent leaves now: the disk is about to be busy."""


class Disk(Protocol):
    """Does one thing after the other, in the order of the calls; nothing more once something could not be written."""

    @property
    def full(self) -> bool:
        """True while so much waits to be written that nothing should be taken in that leads to more."""

    def write(self, record: Record | None, done: Callable[[], None]) -> None:
        """Calls `done` when this and all earlier records are durable. None: only all earlier ones."""

    def load_snapshot(self, done: Callable[[Snapshot | StorageError], None]) -> None:
        """Calls `done` with the stored snapshot as it is after all earlier writes, or with why it cannot be read."""


class StateMachine(Protocol):
    """What decided operations are applied to."""

    @property
    def row_count(self) -> int:
        """About how many rows it has."""

    def apply(self, position: int, payload: bytes) -> Outcome:
        """Raises UnknownOperation, and changes nothing, for an operation of a later release."""

    def understands(self, payload: bytes) -> bool:
        """False for an operation of a later release: `apply` would raise."""

    def readable(self, rows: Sequence[tuple[bytes, bytes]]) -> bool:
        """True if `load` can take these, and `apply` can go on from them."""

    def load(self, rows: Iterable[tuple[bytes, bytes]]) -> None:
        """Replaces all of it. Raises ValueError for rows that are not readable."""

    def digest(self) -> str:
        """See StateDigests."""

    def changed(self) -> list[tuple[bytes, bytes | None]]:
        """The rows that changed since the last call, or `load`; None for one that is gone."""


class DriverListener(Protocol):
    """What a driver tells, in the midst of its work. Whatever it raises stops the node, as any error in a step does."""

    def on_applied(self, applied: Applied, outcome: Outcome, live: bool) -> None:
        """`live` is false for what is applied again after a restart."""

    def on_outcome_unknown(self, ticket: int) -> None:
        """The operation was applied inside a snapshot, or cannot be told from one that was."""

    def on_read_ready(self, ticket: int) -> None:
        """The state machine holds all that was acknowledged anywhere before this read was asked for."""

    def on_installed(self, snapshot: Snapshot) -> None:
        """The state machine's content was replaced by this."""

    def on_status(self, status: Status) -> None:
        """The role, the leader, a link, the voter status or the configuration has changed."""

    def on_stranger(self, node: int, cluster: int) -> None:
        """What came as from `node` belongs to another cluster, of this id, and changes nothing here."""

    def on_odd(self, node: int, why: str) -> None:
        """`node` said what no honest node says; it was not taken in."""

    def on_diverged(self, divergence: Divergence) -> None:
        """Other nodes have another state at the same position, and this node is not known to be wrong."""

    def on_failed(self, error: Exception) -> None:
        """The node has stopped: it acknowledges nothing any more, and must leave."""


class Diverged(Exception):
    """This node's state is not that of the majority, although it applied the same operations."""

    def __init__(self, divergence: Divergence) -> None:
        nodes = ", ".join(map(str, divergence.nodes))
        super().__init__(
            f"after operation {divergence.position} this node's conversations are not those of nodes {nodes}, which "
            "agree and are a majority, although all have applied the same operations. It stops, and leaves its data as "
            "they are, for inspection. Once they are moved away it begins with an empty disk, and gets everything "
            "from the others"
        )
        self.divergence = divergence


class DriverObserver(Protocol):
    """Sees what a driver does, for people. Must be quick."""

    def received(self, sender: int, message: AnyMessage) -> None:
        """From another node, or this node's own vote once it is on disk."""

    def sent(self, messages: Sequence[tuple[int, AnyMessage]]) -> None:
        """To other nodes: (node, message)."""

    def applied(self, applied: Sequence[Applied]) -> None:
        """To the state machine."""

    def installed(self, position: int) -> None:
        """A snapshot at `position` replaced the state machine's content."""

    def changed(self, status: Status) -> None:
        """As `DriverListener.on_status`."""


P = ParamSpec("P")


def stop_on_error(step: Callable[Concatenate[ReplicaDriver, P], None]) -> Callable[Concatenate[ReplicaDriver, P], None]:
    """Wraps every step of the replica. A step that fails half-way leaves memory, disk and promises
    inconsistent: then the node must stop, as after a disk failure. A stopped node takes no further step."""

    @wraps(step)
    def guarded(self: ReplicaDriver, /, *args: P.args, **kwargs: P.kwargs) -> None:
        if self.stopped:
            return
        try:
            step(self, *args, **kwargs)
        except (UnknownOperation, Diverged) as reason:  # by going on, this node would do harm
            self.fail(reason)
        except Exception as error:  # noqa: BLE001 - whatever it is, continuing would be worse
            _log.error("a processing step of the node failed", exc_info=error)
            self.fail(error)

    return guarded


class ReplicaDriver:
    """`start` before anything else. What happens is put to work once the step that is under way is over: `defer` gets
    what is to be called then."""

    def __init__(
        self, pid: int, members: Iterable[int], durable: Durable, *, timing: Timing, limits: Limits, random: Random,
        clock: Callable[[], float], transport: Transport, disk: Disk, machine: StateMachine, listener: DriverListener,
        defer: Callable[[Callable[[], None]], object],
    ) -> None:
        self.replica = Replica(
            pid, members, durable, timing, limits, random, clock(), operations_version=OPERATIONS_VERSION,
            understands=machine.understands, readable=machine.readable,
        )
        self.observer: DriverObserver | None = None
        self.stopped = False
        self._clock = clock
        self._transport = transport
        self._disk = disk
        self._machine = machine
        self._listener = listener
        self._defer = defer
        self._limits = limits
        self.snapshot_position = durable.snapshot_position
        """Of the last snapshot that was stored, or handed to the disk."""
        self._applied_bytes = 0
        """Payload applied since then."""
        self._digests = StateDigests(machine, self._hand_in_digest, limits.digest_every, durable.snapshot_position)
        self._live = False
        self._deferred = False
        self._measuring = False
        """A write is under way of which it is known when it began."""
        self._load_due: float | None = None
        """When the snapshot is to be read again, after that failed."""
        self._told: tuple[Any, ...] = ()

    @property
    def cluster(self) -> int:
        """The id of this node's cluster; goes with everything that it sends. 0 while it has none."""
        return self.replica.cluster

    # ---- Input

    @stop_on_error
    def start(self) -> None:
        """Applies what the disk holds as decided beyond its snapshot, which the state machine holds already."""
        self._work()
        self._live = True

    def stop(self) -> None:
        """Nothing moves any more, and nothing is told."""
        self.stopped = True

    def fail(self, error: Exception) -> None:
        """Stops for good: something cannot be written, or an error in this program broke a step off."""
        if not self.stopped:
            self.stopped = True
            self._listener.on_failed(error)

    def submit(self, payload: bytes) -> int:
        """Has an operation decided, exactly once, after the earlier ones. Returns its ticket. Raises QueueFull."""
        ticket = self.replica.submit(payload)
        self._wake()
        return ticket

    def read(self) -> int:
        """Asks for a linearizable read; the ticket comes back in `on_read_ready`. Raises QueueFull."""
        ticket = self.replica.read()
        self._wake()
        return ticket

    def change_members(self, change: Change, node: int) -> None:
        """Asks for this until it is decided; see `Replica.changing`."""
        self.replica.change_members(change, node)
        self._wake()

    def abandon_read(self, ticket: int) -> None:
        """Nobody waits for this read any more."""
        self.replica.abandon_read(ticket)

    @stop_on_error
    def receive(self, sender: int, message: AnyMessage, cluster: int = 0) -> None:
        """From another node, with the id of its cluster. Dropped while the disk is far behind, except heartbeats:
        losing a message is legal, but a busy node must not take others for dead. What claims to come from this node
        itself is dropped, too: its own votes count only when they come back from its own disk."""
        if sender != self.replica.pid and (isinstance(message, Heartbeat) or not self._disk.full):
            self._take_in(sender, message, cluster)
            self._wake()

    @stop_on_error
    def suspect(self, node: int) -> None:
        """A hint that the connection of `node` has closed."""
        self.replica.suspect(node, self._clock())
        self._wake()

    @stop_on_error
    def linked(self) -> None:
        """This node is connected, for the first time or again."""
        self.replica.linked(self._clock())
        self._wake()

    @stop_on_error
    def meet(self, node: int) -> None:
        """A hint that `node` has connected."""
        self.replica.meet(node, self._clock())
        self._wake()

    @stop_on_error
    def tick(self) -> None:
        """To be called again after `rest_s` (see engine/ticks.py)."""
        now = self._clock()
        self.replica.tick(now)
        if self._load_due is not None and now >= self._load_due:
            self._load_due = None
            self._disk.load_snapshot(self._snapshot_loaded)
        self._work()
        if not self.stopped:
            self._digests.look(self.replica.applied, now)

    def rest_s(self) -> float:
        """Seconds until the next tick is needed."""
        return self.replica.rest_s(self._clock())

    def _take_in(self, sender: int, message: AnyMessage, cluster: int) -> None:
        if self.observer is not None:
            self.observer.received(sender, message)
        self.replica.receive(sender, message, self._clock(), cluster)

    def _wake(self) -> None:
        """What comes together goes together: one Output for all of it, one commit, one system call."""
        if not self._deferred:
            self._deferred = True
            self._defer(self._pump)

    # ---- Output, in the order that paxos/output.py demands

    @stop_on_error
    def _pump(self) -> None:
        self._deferred = False
        self._work()

    def _work(self) -> None:
        while not self.stopped and (out := self.replica.take_output(self._clock())):
            if out.send_now:
                self._send(out.send_now)
                if out.persist is not None:
                    self._transport.flush()
            if out.persist is not None or out.send_after_persist:
                begun = self._begin_measuring() if out.persist is not None else None
                self._disk.write(out.persist, partial(self._persisted, begun, out.stamp, out.send_after_persist))
            self._consume(out)
        self._tell_status()

    def _send(self, messages: list[tuple[int, AnyMessage]]) -> None:
        if self.observer is not None:
            self.observer.sent(messages)
        for to, message in messages:
            self._transport.send(to, message)

    def _begin_measuring(self) -> float | None:
        """When this write began, if it is one to be measured: one at a time is, so that one hang counts once."""
        if self._measuring:
            return None
        self._measuring = True
        return self._clock()

    @stop_on_error
    def _persisted(self, begun: float | None, stamp: Stamp | None, messages: Sequence[tuple[int, AnyMessage]]) -> None:
        """What these messages vouch for is on disk. Those to this node itself, its own votes, count from now on."""
        if begun is not None:
            self._measuring = False
            self.replica.stored(self._clock() - begun)
        messages = self._vouched(messages, stamp)
        self._send([(to, message) for to, message in messages if to != self.replica.pid])
        for to, message in messages:
            if to == self.replica.pid:
                self._loop_back(message)
        self._wake()

    def _vouched(
        self, messages: Sequence[tuple[int, AnyMessage]], stamp: Stamp | None
    ) -> Sequence[tuple[int, AnyMessage]]:
        return self.replica.vouched(messages, stamp)

    def _loop_back(self, message: AnyMessage) -> None:
        self._take_in(self.replica.pid, message, self.replica.cluster)

    def _consume(self, out: Output) -> None:
        """Snapshot, operations, reads: each of these may rely on those before it."""
        if out.install is not None:
            self._install(out.install)
        if out.apply:
            self._apply(out.apply)
        for ticket in out.outcome_unknown:
            self._listener.on_outcome_unknown(ticket)
        for ticket in out.reads:
            self._listener.on_read_ready(ticket)
        for node, cluster in out.strangers:
            self._listener.on_stranger(node, cluster)
        for node, why in out.odd:
            self._listener.on_odd(node, why)
        for divergence in out.diverged:
            self._diverged(divergence)
        if out.load_snapshot:
            self._disk.load_snapshot(self._snapshot_loaded)
        if self._snapshot_due():
            self._compact()

    def _install(self, snapshot: Snapshot) -> None:
        self._machine.load(snapshot.rows)
        self.snapshot_position = snapshot.position
        self._applied_bytes = 0
        self._digests.loaded(snapshot.position)
        if self.observer is not None:
            self.observer.installed(snapshot.position)
        self._listener.on_installed(snapshot)

    def _apply(self, operations: list[Applied]) -> None:
        if self.observer is not None:
            self.observer.applied(operations)
        for applied in operations:
            if applied.position >= self._digests.due:
                self._digests.before(applied.position)
            self._applied_bytes += len(applied.operation.payload)
            outcome = self._machine.apply(applied.position, applied.operation.payload)
            self._listener.on_applied(applied, outcome, self._live)

    def _hand_in_digest(self, position: int, digest: int) -> None:
        self.replica.digest_taken(position, digest, self._clock())

    def _diverged(self, divergence: Divergence) -> None:
        if divergence.minority:
            self._transport.flush()
            raise Diverged(divergence)
        self._listener.on_diverged(divergence)

    def _tell_status(self) -> None:
        situation = self.replica.situation()
        if situation != self._told:
            self._told = situation
            status = self.replica.status()
            if self.observer is not None:
                self.observer.changed(status)
            self._listener.on_status(status)

    # ---- Snapshots

    def _snapshot_due(self) -> bool:
        operations, limits = self.replica.applied - self.snapshot_position, self._limits
        if operations < limits.snapshot_every and self._applied_bytes < limits.snapshot_bytes:
            return False  # as after nearly every step
        due = limits.snapshot_interval(self._machine.row_count, self.replica.pid)
        return operations >= due or self._applied_bytes >= limits.snapshot_bytes

    def _compact(self) -> None:
        """The state machine as of now becomes the stored snapshot: only what changed since the last one is written."""
        self.snapshot_position = position = self.replica.applied
        self._applied_bytes = 0
        replica = self.replica
        record = Compaction(position, replica.sessions.table(), self._machine.changed(), replica.configuration)
        self._disk.write(record, partial(self._compaction_stored, position))

    @stop_on_error
    def _compaction_stored(self, position: int) -> None:
        self.replica.snapshot_stored(position)
        self._wake()

    @stop_on_error
    def _snapshot_loaded(self, loaded: Snapshot | StorageError) -> None:
        """For peers that are far behind. If it cannot be read now, it is tried again: they wait for it. Damage does not
        pass, and what else it has struck is not known: the node stops, and its disk is examined when it starts."""
        now = self._clock()
        if isinstance(loaded, StorageDamaged):
            self.fail(loaded)
        elif isinstance(loaded, StorageError):
            _log.warning("the stored snapshot cannot be read for a peer: %s; trying again", loaded)
            self._load_due = now + LOAD_AGAIN_S
        else:
            self.replica.snapshot_loaded(loaded, now)
            self._wake()
