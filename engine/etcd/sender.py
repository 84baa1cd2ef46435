"""Puts this node's operations: in batches, several in flight, each once and in order.

Every transaction compares how far this node has put its operations, and moves that on. So one that is repeated because
nobody knows whether it took effect, or that overtakes the one before it, changes nothing; and once a later process of
this node has begun, none of an earlier one does, even if what it would put was compacted long ago.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

from engine.etcd.client import FIRST_PAUSE_S, EtcdClient
from engine.etcd.keys import Batch, Keys, Sent, encode_batch, sent_of
from engine.etcd.wire import MOST_VALUE, get, has_value, put, txn, unchanged
from paxos.ceilings import USUAL_INCARNATION

IN_FLIGHT = 4
MOST_OPERATIONS = 1024
"""Of a batch."""
WORK = "write"


class Superseded(Exception):
    """A later process of this node has begun."""

    def __init__(self, number: int) -> None:
        super().__init__(f"another process runs as node {number} since; two of one number cannot be")


class Outbox:
    """Operations that were not put yet, by number."""

    def __init__(self) -> None:
        self.wanted = asyncio.Event()
        self._payloads: deque[bytes] = deque()
        self._number = 0

    def add(self, payload: bytes) -> int:
        """Returns its number, from 1."""
        self._payloads.append(payload)
        self._number += 1
        self.wanted.set()
        return self._number

    def take(self) -> tuple[int, list[bytes]]:
        """The next ones, and the number of the first."""
        first = self._number - len(self._payloads) + 1
        taken: list[bytes] = []
        size = 0
        while self._payloads and len(taken) < MOST_OPERATIONS:
            size += len(self._payloads[0])
            if taken and size > MOST_VALUE:
                break
            taken.append(self._payloads.popleft())
        if not self._payloads:
            self.wanted.clear()
        return first, taken


class Sender:
    """Of node `number`. `put_at` learns at which revision each batch was put."""

    def __init__(self, client: EtcdClient, keys: Keys, number: int, put_at: Callable[[int], None]) -> None:
        self.outbox = Outbox()
        self.incarnation = 0
        """Of this process; 0 before it has begun."""
        self._client = client
        self._keys = keys
        self._number = number
        self._put_at = put_at

    async def begin(self) -> None:
        """From now on nothing counts that an earlier process puts."""
        key = self._keys.sent(self._number)
        while True:
            found = (await self._client.txn(WORK, txn([], [get(key)]))).value()
            last, now = sent_of(found.value).incarnation, time.time_ns() // 1000
            incarnation = max(last + 1, now if now < USUAL_INCARNATION else 0)
            batch = Batch(self._number, incarnation, 0, [])
            answer = await self._client.txn(WORK, txn(
                [unchanged(key, found.mod_revision)],
                [put(key, Sent(incarnation, 0).encoded()), put(self._keys.operation(batch), encode_batch([]))],
            ))
            if answer.succeeded:  # else somebody was faster, perhaps an attempt of this process
                self.incarnation = incarnation
                self._put_at(answer.header.revision)
                return

    async def run(self) -> None:
        """After `begin`. Raises Superseded, in a group."""
        free = asyncio.Semaphore(IN_FLIGHT)
        before: asyncio.Future[None] | None = None
        async with asyncio.TaskGroup() as group:
            while True:
                await free.acquire()
                await self.outbox.wanted.wait()
                first, payloads = self.outbox.take()
                batch = Batch(self._number, self.incarnation, first, payloads)
                before = group.create_task(self._send(batch, before))
                before.add_done_callback(lambda _: free.release())

    async def _send(self, batch: Batch, before: asyncio.Future[None] | None) -> None:
        """Returns when it is put. `before` is done when the batch before it is."""
        key = self._keys.sent(self._number)
        request = txn(
            [has_value(key, Sent(batch.incarnation, batch.first - 1).encoded())],
            [put(self._keys.operation(batch), encode_batch(batch.payloads)),
             put(key, Sent(batch.incarnation, batch.last).encoded())],
            [get(key)],
        )
        while True:
            answer = await self._client.txn(WORK, request)
            if answer.succeeded:
                self._put_at(answer.header.revision)
                return
            found = answer.value()
            sent = sent_of(found.value)
            if sent.incarnation != batch.incarnation:
                raise Superseded(self._number)
            if sent.number >= batch.last:  # an earlier attempt took effect
                self._put_at(found.mod_revision)
                return
            if before is not None and not before.done():
                await asyncio.wait([before])  # it has overtaken that one
            else:
                await self._client.pause(FIRST_PAUSE_S)
