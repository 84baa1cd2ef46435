"""Drives one Replica in a real process: frames in, disk, frames out, operations into the store.

The host adds no rules of its own. It works through each Output in the order that paxos/output.py demands; all of it
happens in one event loop, but for the disk, which has a thread of its own (storage/writer.py).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from random import Random
from typing import Any, Concatenate, ParamSpec, Protocol

import msgspec

from engine.interface import Busy
from engine.ports import Answered
from kvstore.operations import StoreOperation, encode
from kvstore.store import Outcome, Store
from net.frames import MAX_PAYLOAD
from paxos.limits import Limits, Timing
from paxos.messages import AnyMessage, Snapshot
from paxos.output import Applied, Output, Persist
from paxos.replica import QueueFull, Replica, Status
from server.applied_log import AppliedLog
from storage.database import Database
from storage.errors import StorageError
from storage.records import Compaction
from storage.writer import GroupCommit

_log = logging.getLogger(__name__)

READ_PATIENCE_S = 2.0
READ_ROUND_TRIPS = 8.0
"""A linearizable read takes up to four round trips behind a follower; twice that is waited for."""


class Transport(Protocol):
    """To the network."""

    def send(self, dst: int, payload: bytes) -> None:
        """To node `dst`. Never blocks, may lose."""

    def flush(self) -> None:
        """Whatever was sent leaves now, not with the next turn of the event loop."""


class EngineEvents(Protocol):
    """What a host tells. Called in the event loop, in the midst of its work: hooks must be quick and never raise."""

    def on_applied(self, outcome: Outcome, origin: int, live: bool) -> None:
        """An operation that node `origin` submitted was applied; `live` is false for those from before a restart."""

    def on_installed(self) -> None:
        """The store was replaced by a later one: operations were applied that nobody was told of."""

    def on_change(self) -> None:
        """The role, the leader, a link or the standing has changed."""

    def on_failure(self, error: StorageError) -> None:
        """The disk failed: the node acknowledges nothing any more and must leave."""


class Observer(Protocol):
    """Sees what a host does, for people. Called in the midst of its work: must be quick and never raise."""

    def received(self, sender: int, message: AnyMessage) -> None:
        """From another node, or this node's own vote once it is on disk."""

    def sent(self, messages: Sequence[tuple[int, AnyMessage]]) -> None:
        """To other nodes: (node, message)."""

    def applied(self, applied: Sequence[Applied]) -> None:
        """To the store."""

    def installed(self, position: int) -> None:
        """A snapshot at `position` replaced the store."""

    def changed(self, status: Status) -> None:
        """As `EngineEvents.on_change`."""


P = ParamSpec("P")


def stop_on_error(step: Callable[Concatenate[PaxosEngine, P], None]) -> Callable[Concatenate[PaxosEngine, P], None]:
    """For everything that moves the replica. A step that breaks off half-way leaves what is in memory, on disk and
    promised to others at odds: then the node must stop, as for a failed disk. Once stopped, nothing moves."""

    def guarded(self: PaxosEngine, /, *args: P.args, **kwargs: P.kwargs) -> None:
        if self._stopped:
            return
        try:
            step(self, *args, **kwargs)
        except Exception as error:  # noqa: BLE001 - whatever it is, going on would be worse
            _log.error("a step of the node failed", exc_info=error)
            self._fail(StorageError(f"an error in this program ({error!r}); the node stops rather than go on with it"))

    return guarded


class PaxosEngine:
    """One node. Made and used in the thread of its event loop; `close` before leaving."""

    def __init__(
        self, pid: int, members: Iterable[int], database: Database, door: Transport, *, timing: Timing, limits: Limits,
        random: Random, events: EngineEvents,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self.store = Store()
        self.store.load(database.rows())
        self._odd: set[int] = set()
        """Who has sent what could not be understood."""
        self.journal = AppliedLog()
        self.observer: Observer | None = None
        self._database = database
        self._door = door
        self._limits = limits
        self._timing = timing
        self._events = events
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder: msgspec.msgpack.Decoder[AnyMessage] = msgspec.msgpack.Decoder(AnyMessage)
        self._answers: dict[int, Answered] = {}
        self._reads: dict[int, asyncio.Future[None]] = {}
        self._pumping = False
        self._stopped = False
        self._live = False
        self._compacted = database.durable.snapshot_position
        self._seen: tuple[Any, ...] = ()
        self.replica = Replica(pid, members, database.durable, timing, limits, random, self._loop.time())
        self._disk = GroupCommit(database, self._loop, self._fail)
        self._pump()
        self._live = True
        self._timer = self._loop.call_later(timing.tick_s, self._tick)

    # ---- Doors for users

    def submit(self, command: StoreOperation, answered: Answered | None = None) -> None:
        """Has a command decided, exactly once, after those submitted before. Raises Busy."""
        try:
            ticket = self.replica.submit(encode(msgspec.structs.replace(command, at=time.time_ns() // 1_000_000)))
        except QueueFull as full:
            raise Busy(str(full)) from full
        if answered is not None:
            self._answers[ticket] = answered
        self._wake()

    def read(self) -> asyncio.Future[None]:
        """Done when the store holds everything that was acknowledged anywhere before this call. Raises Busy."""
        try:
            ticket = self.replica.read()
        except QueueFull as full:
            raise Busy(str(full)) from full
        self._reads[ticket] = reading = self._loop.create_future()
        reading.add_done_callback(lambda done: self._read_over(ticket, done))
        self._wake()
        return reading

    def _read_over(self, ticket: int, reading: asyncio.Future[None]) -> None:
        if reading.cancelled() and self._reads.pop(ticket, None) is not None:
            self.replica.abandon_read(ticket)

    def reachable(self) -> bool:
        return self.replica.majority_reachable()

    def patience(self) -> float:
        return max(READ_PATIENCE_S, READ_ROUND_TRIPS * self.replica.net.round_trip())

    def state(self) -> Status:
        return self.replica.status()

    def glance(self) -> dict[str, Any]:
        """The cheap part of `status`."""
        status = self.replica.status()
        return {
            "node": status.node, "role": status.role, "leader": status.leader,
            "ballot": list(msgspec.structs.astuple(status.ballot)), "decided": status.decided,
            "applied": status.applied, "queued": status.queued, "standing": str(status.voter_status),
            "links": list(status.links),
        }

    def status(self) -> dict[str, Any]:
        """For users, ready for JSON."""
        return {**self.glance(), "digest": self.store.digest()}

    # ---- Input

    @stop_on_error
    def on_message(self, sender: int, payload: bytes | memoryview) -> None:
        """A frame from another node. While the disk is far behind, it is dropped: losing a message is legal."""
        if self._disk.full:
            return
        try:
            message = self._decoder.decode(payload)
        except (msgspec.DecodeError, ValueError) as error:
            if sender not in self._odd:
                self._odd.add(sender)
                _log.warning("node %s sends messages that make no sense here: %s", sender, error)
            return
        if self.observer is not None:
            self.observer.received(sender, message)
        self.replica.receive(sender, message, self._loop.time())
        self._wake()

    @stop_on_error
    def on_peer_down(self, node: int) -> None:
        self.replica.suspect(node, self._loop.time())
        self._wake()

    @stop_on_error
    def _tick(self) -> None:
        self._timer = self._loop.call_later(self._timing.tick_s, self._tick)
        self.replica.tick(self._loop.time())
        self._pump()

    def _wake(self) -> None:
        """Works through the output once this turn of the event loop is over: what came together goes together."""
        if not self._pumping:
            self._pumping = True
            self._loop.call_soon(self._pump)

    # ---- Output, in the order that output.py demands

    @stop_on_error
    def _pump(self) -> None:
        self._pumping = False
        while out := self.replica.take_output(self._loop.time()):
            if out.send_now:
                self._send_all(out.send_now)
                if out.persist is not None:
                    self._door.flush()  # before the disk's thread wants its turn of the interpreter
            if out.persist is not None or out.send_after_persist:
                self._store(out)
            self._consume(out)
        status = self.replica.status()
        seen = (status.role, status.leader, status.links, status.voter_status)
        if seen != self._seen:
            self._seen = seen
            if self.observer is not None:
                self.observer.changed(status)
            self._events.on_change()

    def _send_all(self, messages: list[tuple[int, AnyMessage]]) -> None:
        if self.observer is not None:
            self.observer.sent(messages)
        last: AnyMessage | None = None
        payload = b""
        for node, message in messages:
            if message is not last:  # a broadcast is encoded once
                last, payload = message, self._encoder.encode(message)
            if len(payload) <= MAX_PAYLOAD:
                self._door.send(node, payload)
            else:
                _log.error("a %s of %s bytes is too large to send", type(message).__name__, len(payload))

    def _store(self, out: Output) -> None:
        after = out.send_after_persist
        self._disk.submit(out.persist if out.persist is not None else Persist(), lambda: self._stored(after))

    @stop_on_error
    def _stored(self, after: list[tuple[int, AnyMessage]]) -> None:
        own = [message for node, message in after if node == self.replica.pid]
        self._send_all([(node, message) for node, message in after if node != self.replica.pid])
        for message in own:
            if self.observer is not None:
                self.observer.received(self.replica.pid, message)
            self.replica.receive(self.replica.pid, message, self._loop.time())
        self._wake()

    def _consume(self, out: Output) -> None:
        if out.install is not None:
            self.store.load(out.install.rows)
            self._compacted = out.install.position
            if self.observer is not None:
                self.observer.installed(out.install.position)
            self._events.on_installed()
        if self.observer is not None:
            self.observer.applied(out.apply)
        for applied in out.apply:
            outcome = self.store.apply(applied.position, applied.operation.payload)
            self.journal.note(applied.position, self.replica.log.get(applied.position), applied.operation, outcome)
            answered = self._answers.pop(applied.ticket, None)
            if answered is not None:
                answered(outcome)
            self._events.on_applied(outcome, applied.operation.pid, self._live)
        for ticket in out.outcome_unknown:
            answered = self._answers.pop(ticket, None)
            if answered is not None:
                answered(None)
        for ticket in out.reads:
            reading = self._reads.pop(ticket, None)
            if reading is not None and not reading.done():
                reading.set_result(None)
        if out.load_snapshot:
            self._disk.run(self._database.load_snapshot).add_done_callback(self._snapshot_loaded)
        if self.replica.applied - self._compacted >= self._limits.snapshot_every:
            self._compact()

    def _compact(self) -> None:
        """The state as of now becomes the stored snapshot: only what changed since the last one is written."""
        self._compacted = position = self.replica.applied
        record = Compaction(position, self.replica.sessions.table(), self.store.changed())
        self._disk.submit(record, lambda: self._compaction_stored(position))

    @stop_on_error
    def _compaction_stored(self, position: int) -> None:
        self.replica.snapshot_stored(position)
        self._wake()

    @stop_on_error
    def _snapshot_loaded(self, loading: asyncio.Future[Snapshot]) -> None:
        if loading.cancelled() or loading.exception() is not None:
            return  # a failing disk reports itself through on_failure
        self.replica.snapshot_loaded(loading.result(), self._loop.time())
        self._wake()

    def _fail(self, error: StorageError) -> None:
        self._stopped = True
        self._events.on_failure(error)

    async def close(self) -> None:
        """Stores what is under way and closes the disk. What becomes of undecided commands is not known."""
        self._stopped = True
        self._timer.cancel()
        answers, self._answers = self._answers, {}
        for answered in answers.values():
            answered(None)
        for reading in list(self._reads.values()):
            reading.cancel()
        await self._disk.close()
