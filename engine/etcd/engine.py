"""The engine over etcd: its parts, and what they tell each other."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final

import msgspec

from engine.etcd.client import EtcdClient
from engine.etcd.digests import Digests
from engine.etcd.duty import SnapshotDuty
from engine.etcd.follower import Follower
from engine.etcd.keys import Keys, Unusable
from engine.etcd.machine import Applied, Diverged, Machine
from engine.etcd.members import Members
from engine.etcd.presence import Presence
from engine.etcd.reads import Reads
from engine.etcd.sender import Sender, Superseded
from engine.etcd.snapshots import Manifest, Snapshots
from engine.etcd.wire import KeyValue
from engine.interface import (
    AppliedOperation,
    Busy,
    EngineListener,
    EngineStatus,
    MemberChange,
    Membership,
    understood,
)
from kvstore.operations import StoreOperation
from kvstore.payloads import UnknownOperation, encode
from kvstore.store import Store
from paxos.limits import Limits

READ_TIMEOUT_S: Final = 4.0
"""So that a read survives the loss of a member, or of etcd's leader."""
STANDING = "voter"
"""Of every node: what is decided, etcd's members decide."""
_REASONS = (Unusable, UnknownOperation, Diverged, Superseded)

_log = logging.getLogger(__name__)


class EtcdEngine:
    """Implements `engine.interface.Engine` for node `number` of cluster `cluster`. `known` as in `Members`; `met` gets
    the id of the cluster that there is. `make_client` gets what is to be called when its `trouble` has changed.
    `compact_history`: whether the leader has etcd forget old revisions. `release` is called when all is over."""

    def __init__(
        self, number: int, founders: Sequence[int], cluster: str, known: str | None, met: Callable[[str], None],
        make_client: Callable[[Callable[[], None]], EtcdClient], prefix: str, limits: Limits, *,
        compact_history: bool = True, release: Callable[[], None] = lambda: None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._number = number
        self._limits = limits
        self._met = met
        self._release = release
        self._listener: EngineListener
        self._client = make_client(self._on_trouble)
        keys = Keys(prefix)
        snapshots = Snapshots(self._client, keys)
        self._keys = keys
        self._machine = Machine()
        self._presence = Presence(self._client, keys, number, self._tell_status)
        self._members = Members(self._client, keys, number, cluster, known, founders)
        self._follower = Follower(self._client, keys, snapshots, self, self._loop.time)
        self._sender = Sender(self._client, keys, number, self._follower.expect)
        self._reads = Reads(self._client, keys, self._on_read)
        self._digests = Digests(
            self._client, keys, number, self._machine, limits.digest_every, self._versions, self._on_diverged,
        )
        self._duty = SnapshotDuty(self._client, keys, snapshots, self._machine, self._presence, limits, compact_history)
        self._tickets: dict[int, tuple[float, int]] = {}
        """Of operations that were submitted here and are not applied: when they were, and how large they are."""
        self._waiting_bytes = 0
        self._change: asyncio.Task[None] | None = None
        self._running: asyncio.Task[None] | None = None
        self._level = asyncio.Event()
        self._was_member = False
        self._told: EngineStatus | None = None
        self._told_troubles: set[str] = set()
        """Since all went well: several of them may take turns."""
        self._failed = False

    # ---- The engine's interface

    @property
    def store(self) -> Store:
        return self._machine.store

    def start(self, listener: EngineListener) -> None:
        self._listener = listener
        self._running = self._loop.create_task(self._run())

    def submit(self, operation: StoreOperation) -> int:
        if self._members.record is not None:
            operation = understood(operation, self._versions)
        payload = encode(msgspec.structs.replace(operation, at=time.time_ns() // 1_000_000))
        if len(self._tickets) >= self._limits.queue:
            raise Busy(f"{len(self._tickets)} operations are already waiting")
        if self._waiting_bytes + len(payload) > self._limits.queue_bytes:
            raise Busy(f"operations of {self._waiting_bytes} bytes are already waiting")
        ticket = self._sender.outbox.add(payload)
        self._waiting_bytes += len(payload)
        self._tickets[ticket] = self._loop.time(), len(payload)
        return ticket

    def read(self) -> asyncio.Future[None]:
        if self._reads.full:
            raise Busy("too many reads are waiting")
        return self._reads.ask()

    def status(self) -> EngineStatus:
        led, position = self._presence.leadership, self._machine.position
        record = self._members.record
        ballot = (0, 0, position + 1) if led is None else (led.number, led.pid, position + 1)
        return EngineStatus(
            self._number, "leader" if self._presence.leads else "follower", None if led is None else led.pid, ballot,
            position, position, len(self._tickets), STANDING, tuple(sorted(self._presence.live - {self._number})),
            differs=tuple(sorted(self._digests.differing)), voters=0 if record is None else len(record.members),
            notice=self._client.trouble or "",
        )

    def membership(self) -> Membership | None:
        record = self._members.record
        return None if record is None else record.membership

    def change_members(self, change: MemberChange, node: int) -> asyncio.Future[None]:
        if self._change is not None and not self._change.done():
            raise Busy("another change of the members is being asked for here")
        self._change = self._loop.create_task(self._members.change(change, node))
        return self._change

    def majority_reachable(self) -> bool:
        return self._client.trouble is None

    def read_timeout_s(self) -> float:
        return READ_TIMEOUT_S

    def send_hint(self, node: int, payload: bytes) -> None:
        """Lost: here nothing passes between nodes but through etcd's log."""

    async def close(self) -> None:
        for task in (self._running, self._change):
            if task is not None:
                task.cancel()
                await asyncio.wait([task])
        await self._presence.close()
        self._give_up(list(self._tickets))
        self._reads.close()
        await self._client.close()
        self._release()

    # ---- What is running

    async def _run(self) -> None:
        try:
            await self._work()
        except* _REASONS as group:
            self._fail(str(_first(group)))
        except* Exception as group:  # noqa: BLE001 - whatever it is, continuing would be worse
            _log.error("the engine failed", exc_info=group)
            self._fail(f"internal error ({_first(group)!r}); the node stops to stay safe")

    async def _work(self) -> None:
        self._met((await self._members.begin()).id)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follower.run())
            await self._level.wait()
            await self._sender.begin()
            for part in self._parts():
                group.create_task(part)

    def _parts(self) -> list[Coroutine[Any, Any, None]]:
        return [
            self._sender.run(), self._reads.run(), self._presence.run(self._sender.incarnation), self._duty.run(),
            self._members.run(), self._digests.run(),
        ]

    def _fail(self, reason: str) -> None:
        if not self._failed:
            self._failed = True
            self._listener.on_failed(reason)

    # ---- What the follower tells

    @property
    def revision(self) -> int:
        return self._machine.revision

    def on_install(self, manifest: Manifest, rows: list[tuple[bytes, bytes]]) -> None:
        self._machine.install(manifest, rows)
        self._digests.installed()
        self._listener.on_installed()
        incarnation, number = self._machine.last(self._number)
        if incarnation == self._sender.incarnation:
            self._give_up([ticket for ticket in self._tickets if ticket <= number])

    def on_batch(self, kv: KeyValue) -> None:
        batch = self._keys.batch(kv.key, kv.value)
        if batch is None:
            _log.warning("%s in etcd is no batch of operations: left out", kv.key)
            self._machine.revision = kv.mod_revision  # what comes next is asked for from here on
            return
        if batch.pid == self._number and 0 < self._sender.incarnation < batch.incarnation:
            raise Superseded(self._number)
        for applied in self._machine.apply(kv.key, kv.mod_revision, batch, self._digests.before):
            self._on_applied(applied)
        self._reads.applied(kv.mod_revision)
        self._duty.look()

    def _on_applied(self, applied: Applied) -> None:
        ticket, since = 0, self._loop.time()
        if (applied.id.node, applied.id.incarnation) == (self._number, self._sender.incarnation):
            ticket = applied.id.number
            since, size = self._tickets.pop(ticket)
            self._waiting_bytes -= size
        self._listener.on_applied(AppliedOperation(
            applied.position, applied.id, None, applied.outcome, ticket, self._level.is_set(),
            self._loop.time() - since,
        ))

    def on_state(self, kvs: list[KeyValue]) -> None:
        self._presence.on_state(kvs)
        for kv in kvs:
            self._members.on_key(kv, self._on_members)
            self._digests.on_key(kv)

    def on_key(self, kv: KeyValue, deleted: bool) -> None:
        self._presence.on_key(kv, deleted)
        if not deleted:
            self._members.on_key(kv, self._on_members)
            self._digests.on_key(kv)

    def on_level(self) -> None:
        self._reads.applied(self._machine.revision)
        if not self._level.is_set():
            self._level.set()
            self._on_members()
            self._listener.on_connected()

    # ---- Within

    def _versions(self) -> dict[int, int]:
        """Which operations each member understands."""
        record = self._members.record
        return {} if record is None else record.versions()

    def _on_diverged(self, reason: str) -> None:
        self._listener.on_diverged(reason)
        self._tell_status()

    def _on_read(self, revision: int) -> None:
        self._follower.expect(revision)
        self._reads.applied(self._machine.revision)

    def _on_members(self) -> None:
        record = self._members.record
        assert record is not None
        is_member = self._number in record.members
        self._presence.eligible = is_member
        if self._was_member and not is_member:
            self._listener.on_removed()
        self._was_member = is_member
        self._tell_status(anew=True)

    def _on_trouble(self) -> None:
        trouble = self._client.trouble
        if trouble is None:
            self._told_troubles.clear()
            if self._level.is_set():
                self._listener.on_connected()
        elif trouble not in self._told_troubles:
            self._told_troubles.add(trouble)
            self._listener.on_disconnected(trouble)
        self._tell_status()

    def _tell_status(self, anew: bool = False) -> None:
        status = self.status()
        told = msgspec.structs.replace(status, ballot=(*status.ballot[:2], 0), decided=0, applied=0, queued=0)
        if told != self._told or anew:
            self._told = told
            self._listener.on_status(status)

    def _give_up(self, tickets: list[int]) -> None:
        for ticket in tickets:
            self._waiting_bytes -= self._tickets.pop(ticket)[1]
            self._listener.on_outcome_unknown(ticket)


def _first(group: BaseExceptionGroup[Exception]) -> BaseException:
    found: BaseException = group
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found
