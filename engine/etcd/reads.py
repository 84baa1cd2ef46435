"""Linearizable reads: how far all nodes have put their operations, read at etcd's majority; then wait until that is
applied here. What waits meanwhile shares the next request."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from engine.etcd.client import EtcdClient
from engine.etcd.keys import Keys
from engine.etcd.wire import RangeAnswer, encode, end_of

MOST: Final = 10_000
WORK = "read"


class Reads:
    """`put_at` learns up to which revision operations were put."""

    def __init__(self, client: EtcdClient, keys: Keys, put_at: Callable[[int], None]) -> None:
        self._client = client
        self._put_at = put_at
        self._request = encode({
            "key": keys.all_sent, "range_end": end_of(keys.all_sent), "keys_only": True,
        })
        self._wanted = asyncio.Event()
        self._asking: list[asyncio.Future[None]] = []
        self._parked: deque[tuple[int, list[asyncio.Future[None]]]] = deque()
        """With the revision that each waits for; ascending."""

    @property
    def full(self) -> bool:
        if len(self._asking) >= MOST:
            self._asking = [each for each in self._asking if not each.done()]  # nobody waits for the others
        return len(self._asking) >= MOST

    def ask(self) -> asyncio.Future[None]:
        reading: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._asking.append(reading)
        self._wanted.set()
        return reading

    async def run(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            reading, self._asking = [each for each in self._asking if not each.done()], []
            if reading:
                found = await self._client.insist(WORK, "/v3/kv/range", self._request, RangeAnswer)
                revision = max((kv.mod_revision for kv in found.kvs), default=0)
                self._parked.append((revision, reading))
                self._put_at(revision)

    def applied(self, revision: int) -> None:
        """Everything up to this one is."""
        while self._parked and self._parked[0][0] <= revision:
            for reading in self._parked.popleft()[1]:
                if not reading.done():
                    reading.set_result(None)

    def close(self) -> None:
        for reading in (*self._asking, *(each for _, parked in self._parked for each in parked)):
            reading.cancel()
