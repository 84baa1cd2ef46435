"""Who is there, and who leads: a lease of each node, with a key for its presence, and one for the leader.

The leader of the embedded engine orders operations; here etcd does, and the leader only does what one node is to do for
all: it answers an `ask` first, closes polls, and stores snapshots. That two nodes take themselves for it for a moment
is harmless; snapshots are stored on condition that the key of the leader is still the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, NamedTuple

from engine.etcd.client import EtcdClient, EtcdError
from engine.etcd.keys import Keys, Sent, sent_of
from engine.etcd.wire import DoneAnswer, KeepAliveAnswer, KeyValue, LeaseAnswer, encode, put, txn, unchanged

TTL_S: Final = 3
"""A node that is gone is missed after that; etcd allows no less than 2."""
KEEP_S: Final = 0.75
REVOKE_WITHIN_S: Final = 1.0
WORK = "presence"


class Leadership(NamedTuple):
    pid: int
    incarnation: int
    number: int
    """The revision at which its key was put: grows from one to the next, also between two processes of a node."""
    lease: int
    """Its key is gone when this ends."""


class Presence:
    """Of node `number`. `changed` is called when what it shows has."""

    def __init__(self, client: EtcdClient, keys: Keys, number: int, changed: Callable[[], None]) -> None:
        self._client = client
        self._keys = keys
        self._number = number
        self._changed = changed
        self._incarnation = 0
        self._live: set[int] = set()
        self._leadership: Leadership | None = None
        self._vacant = asyncio.Event()
        self._lease = 0
        """0: this node does not know of any that it holds."""
        self.eligible = True
        """Whether this node may lead: the members may."""

    @property
    def leadership(self) -> Leadership | None:
        """None while this node cannot know."""
        return self._leadership if self._lease else None

    @property
    def live(self) -> frozenset[int]:
        """The nodes that run, this one included."""
        return frozenset(self._live) if self._lease else frozenset()

    @property
    def leads(self) -> bool:
        led = self.leadership
        return led is not None and (led.pid, led.incarnation) == (self._number, self._incarnation)

    # ---- What is followed

    def on_state(self, kvs: list[KeyValue]) -> None:
        """All keys, as they are now."""
        self._live.clear()
        self._leadership = None
        for kv in kvs:
            self.on_key(kv, deleted=False)
        if self._leadership is None:
            self._vacant.set()

    def on_key(self, kv: KeyValue, deleted: bool) -> None:
        pid = self._keys.live_pid(kv.key)
        if pid is not None:
            (self._live.discard if deleted else self._live.add)(pid)
        elif kv.key == self._keys.leader:
            self._leadership = None if deleted else self._read(kv)
            if self._leadership is None:
                self._vacant.set()
        else:
            return
        self._changed()

    def _read(self, kv: KeyValue) -> Leadership | None:
        """None for what no node has written."""
        try:
            pid, incarnation = sent_of(kv.value)
        except ValueError:
            return None
        return Leadership(pid, incarnation, kv.mod_revision, kv.lease)

    # ---- What is done

    async def run(self, incarnation: int) -> None:
        self._incarnation = incarnation
        while True:
            lease = await self._client.insist(WORK, "/v3/lease/grant", encode({"TTL": TTL_S}), LeaseAnswer)
            if await self._put(txn([], [
                put(self._keys.live_node(self._number), b"%d" % incarnation, lease.ID)
            ])):
                self._hold(lease.ID)
                await self._keep(lease.ID)
                self._hold(0)

    async def close(self) -> None:
        """Leaves without being missed first."""
        lease, self._lease = self._lease, 0
        if lease:
            try:
                async with asyncio.timeout(REVOKE_WITHIN_S):
                    await self._client.call("/v3/lease/revoke", encode({"ID": lease}), DoneAnswer)
            except (EtcdError, TimeoutError):
                return  # it expires

    def _hold(self, lease: int) -> None:
        self._lease = lease
        self._changed()

    async def _keep(self, lease: int) -> None:
        """Until it has expired, or may have."""
        while True:
            self._vacant.clear()
            if self._leadership is None or self._is_mine_of_old(self._leadership, lease):
                await self._campaign(lease)
            try:
                async with asyncio.timeout(KEEP_S):
                    await self._vacant.wait()
            except TimeoutError:
                if not await self._renewed(lease):
                    return

    async def _renewed(self, lease: int) -> bool:
        try:
            async with asyncio.timeout(TTL_S - KEEP_S):
                answer = await self._client.insist(
                    WORK, "/v3/lease/keepalive", encode({"ID": lease}), KeepAliveAnswer)
        except TimeoutError:
            return False
        return answer.result.TTL > 0

    def _is_mine_of_old(self, led: Leadership, lease: int) -> bool:
        """An earlier process of this node had it, or this one by an earlier lease: nobody has to wait until it ends."""
        return led.pid == self._number and led.lease != lease

    async def _campaign(self, lease: int) -> None:
        if self.eligible:
            before = 0 if self._leadership is None else self._leadership.number
            mine = put(self._keys.leader, Sent(self._number, self._incarnation).encoded(), lease)
            await self._put(txn([unchanged(self._keys.leader, before)], [mine]))

    async def _put(self, request: bytes) -> bool:
        """Puts something with a lease, which may end meanwhile: then it is not to be insisted on."""
        try:
            async with asyncio.timeout(TTL_S - KEEP_S):
                await self._client.txn(WORK, request)
        except TimeoutError:
            return False
        return True
