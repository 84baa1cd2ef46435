"""Who belongs to the cluster: one key, which founds it, and which is changed on condition that it is as it was read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from random import SystemRandom
from typing import Final

import msgspec

from engine.etcd.client import EtcdClient
from engine.etcd.keys import Keys, Unusable
from engine.etcd.wire import Json, KeyValue, get, put, txn, unchanged
from engine.interface import MemberChange, Membership
from kvstore.operations import OPERATIONS_VERSION
from paxos.configuration import new_cluster

FORMAT: Final = 1
"""Of all that is below the prefix."""
FIRST_VERSION: Final = 2
"""What the first release with this engine understands of operations: more is not assumed of a node that never ran."""
WORK = "members"


class Record(msgspec.Struct, frozen=True):
    """What the key holds, as JSON: people may want to read it."""

    format: int
    cluster: str
    """Its name."""
    id: str
    number: int
    """Counts the changes of the members."""
    members: dict[int, int]
    """By node, which operations it understands; 0: it never ran."""

    @property
    def membership(self) -> Membership:
        return Membership(self.id, self.number, {pid: version > 0 for pid, version in self.members.items()})

    def versions(self) -> dict[int, int]:
        return {pid: version or FIRST_VERSION for pid, version in self.members.items()}

    def changed(self, change: MemberChange, pid: int) -> Record:
        members = {member: version for member, version in self.members.items() if member != pid}
        if change != "remove":
            members[pid] = 0
        return msgspec.structs.replace(self, number=self.number + 1, members=dict(sorted(members.items())))


def founded(cluster: str, pids: Sequence[int]) -> Record:
    """A new one."""
    return Record(FORMAT, cluster, f"{new_cluster(SystemRandom()):016x}", 1, dict.fromkeys(sorted(pids), 0))


def put_record(keys: Keys, record: Record) -> Json:
    return put(keys.members, msgspec.json.encode(record))


def read_record(kv: KeyValue) -> Record:
    """Raises Unusable."""
    try:
        record = msgspec.json.decode(kv.value, type=Record, strict=False)
    except (msgspec.MsgspecError, ValueError) as error:
        raise Unusable(f"what is below the prefix in etcd is not a cluster's: {error}") from error
    if record.format != FORMAT:
        raise Unusable(f"what is below the prefix in etcd is of format {record.format}, this release knows {FORMAT}")
    return record


class Members:
    """For node `number` of the cluster named `cluster`. `known` is the id that this node has met it by; None if it
    has never met it."""

    def __init__(
        self, client: EtcdClient, keys: Keys, number: int, cluster: str, known: str | None, founders: Sequence[int],
    ) -> None:
        self.record: Record | None = None
        self._new = asyncio.Event()
        """This node has become a member while it ran."""
        self._client = client
        self._keys = keys
        self._number = number
        self._cluster = cluster
        self._known = known
        self._founders = founders

    @property
    def _below(self) -> str:
        return f"below {self._keys.prefix.decode()}"

    async def begin(self) -> Record:
        """Founds the cluster if there is none, and tells what this node understands. Raises Unusable."""
        while True:
            kv = (await self._client.txn(WORK, txn([], [get(self._keys.members)]))).value()
            if not kv.mod_revision:
                if self._known is not None:
                    raise Unusable(
                        f"etcd holds nothing {self._below}, where this node knows cluster {self._cluster} "
                        f"{self._known}: are endpoints and prefix right? To begin anew, ./run.sh reset, then perhaps "
                        "restore a backup"
                    )
                wanted = founded(self._cluster, self._founders)
            else:
                wanted = self._checked(read_record(kv))
            mine = {self._number: OPERATIONS_VERSION} if self._number in wanted.members else {}
            if await self._written(kv, msgspec.structs.replace(wanted, members=wanted.members | mine)):
                assert self.record is not None
                return self.record

    async def change(self, change: MemberChange, pid: int) -> None:
        while True:
            kv = (await self._client.txn(WORK, txn([], [get(self._keys.members)]))).value()
            record = self._checked(read_record(kv))
            if change == "remove" and record.members.keys() == {pid}:
                return  # it was not the only one when this was asked for
            if change == "replace" or (pid in record.members) != (change == "add"):
                if await self._written(kv, record.changed(change, pid)):
                    return
            else:
                return  # an earlier attempt took effect, or somebody else's

    def on_key(self, kv: KeyValue, told: Callable[[], None]) -> None:
        """The key has changed; `told` if that is news. Raises Unusable."""
        if kv.key == self._keys.members and kv.value:
            record = self._checked(read_record(kv))
            if record != self.record:
                self.record = record
                if record.members.get(self._number) == 0:
                    self._new.set()
                told()

    async def run(self) -> None:
        while True:
            await self._new.wait()
            self._new.clear()
            await self.begin()

    async def _written(self, kv: KeyValue, wanted: Record) -> bool:
        """Whether it is there now."""
        if kv.value != msgspec.json.encode(wanted):
            answer = await self._client.txn(
                WORK, txn([unchanged(self._keys.members, kv.mod_revision)], [put_record(self._keys, wanted)])
            )
            if not answer.succeeded:
                return False
        self.record = wanted
        return True

    def _checked(self, record: Record) -> Record:
        if record.cluster != self._cluster:
            raise Unusable(
                f"{self._below} etcd holds cluster {record.cluster}, not {self._cluster}: set another \"prefix\" in "
                '"engine"'
            )
        if self._known is not None and record.id != self._known:
            raise Unusable(
                f"{self._below} etcd holds another cluster {self._cluster} ({record.id}) than the one that this node "
                f"knows ({self._known}): set another \"prefix\", or ./run.sh reset to join that one"
            )
        return record
