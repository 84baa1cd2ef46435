"""The leader stores a snapshot from time to time, so that neither the operations in etcd nor a node's start grow."""

from __future__ import annotations

import asyncio

from engine.etcd.client import EtcdClient, EtcdError
from engine.etcd.keys import Keys
from engine.etcd.machine import Machine
from engine.etcd.presence import Presence
from engine.etcd.snapshots import WORK, Manifest, Refused, Snapshots, continued, manifest_of
from engine.etcd.wire import DoneAnswer, encode, get, txn
from paxos.limits import Limits


class SnapshotDuty:
    def __init__(
        self, client: EtcdClient, keys: Keys, snapshots: Snapshots, machine: Machine, presence: Presence,
        limits: Limits, compact_history: bool,
    ) -> None:
        self._client = client
        self._keys = keys
        self._snapshots = snapshots
        self._machine = machine
        self._presence = presence
        self._limits = limits
        self._compacts = compact_history
        self._wanted = asyncio.Event()
        self._stored: tuple[int, Manifest, int] | None = None
        """What this node has stored last: under which leadership, what, and at which revision. What has changed in the
        store since then is known only to it; any other leader, and itself after a failure, begins with everything."""

    def look(self) -> None:
        """To be called when operations were applied."""
        if self._due and self._presence.leads:
            self._wanted.set()

    @property
    def _due(self) -> bool:
        machine, limits = self._machine, self._limits
        operations = machine.position - machine.snapshot_position
        return operations >= limits.snapshot_every or machine.applied_bytes >= limits.snapshot_bytes

    async def run(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            try:
                await self._store()
            except Refused:
                self._stored = None  # the next leader does it

    async def _store(self) -> None:
        led = self._presence.leadership
        if led is None or not self._presence.leads or not self._due:
            return
        stored, self._stored = self._stored, None
        if stored is None or stored[0] != led.number:
            found = (await self._client.txn(WORK, txn([], [get(self._keys.manifest)]))).value()
            base, manifest, segments = found.mod_revision, manifest_of(found.value), None
            if manifest is not None:
                self._machine.known(manifest)
            if not self._due:
                return
        else:
            _, manifest, base = stored
            segments = manifest.segments if continued(manifest) else None
        manifest, revision = await self._snapshots.store(self._machine.take(segments), led.number, base)
        self._stored = led.number, manifest, revision
        await self._compact_history(base)

    async def _compact_history(self, revision: int) -> None:
        """Of etcd, up to the snapshot before the last: what was deleted takes space until then. Nothing depends on
        it, so it is not insisted on."""
        if revision and self._compacts:
            try:
                await self._client.call("/v3/kv/compaction", encode({"revision": revision}), DoneAnswer)
            except EtcdError:
                return  # somebody else has compacted more, or will
