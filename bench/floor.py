"""The least that a cluster behind a relay can cost.

A leader (this driver) sends each batch through a bare relay to four nodes and counts it when two of them have
acknowledged it: with itself a majority of five.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import deque
from pathlib import Path

from bench.bare_relay import HOST, Framed
from bench.drive import Channel
from bench.processes import Processes
from net.frames import CONTROL, NODE, ORCHESTRATOR, encode_frame

LEADER = 1
FOLLOWERS = (2, 3, 4, 5)
SIZE = 200
QUORUM = 2


class LeaderSide(Framed, Channel):
    """`batch` operations are sent in one frame."""

    def __init__(self) -> None:
        Framed.__init__(self)
        Channel.__init__(self)
        self.batch = 1
        self._flying: deque[tuple[float, int]] = deque()
        self._decided = 0
        self._acknowledged = dict.fromkeys(FOLLOWERS, 0)
        self._unsent = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.transport.write(encode_frame(CONTROL, LEADER, ORCHESTRATOR, b""))

    def issue(self, count: int) -> None:
        now = time.perf_counter()
        self._unsent += count
        parts: list[bytes] = []
        while self._unsent >= self.batch:
            self._unsent -= self.batch
            payload = bytes(SIZE * self.batch)
            parts.extend(encode_frame(NODE, LEADER, node, payload) for node in FOLLOWERS)
            self._flying.append((now, self.batch))
        self.transport.write(b"".join(parts))

    async def drain(self) -> None:
        self.in_flight -= self._unsent
        self._unsent = 0
        await super().drain()

    def buffer_updated(self, count: int) -> None:
        for _, src, _, _ in self.frames(count):
            self._acknowledged[src] += 1
        decided = sorted(self._acknowledged.values())[-QUORUM]
        sent: list[float] = []
        for _ in range(decided - self._decided):
            at, many = self._flying.popleft()
            sent += [at] * many
        self._decided = decided
        if sent:
            self.answered(sent)


class Floor:
    name = "bare relay"

    def __init__(self, folder: Path) -> None:
        self.processes = Processes(folder)
        self._side = LeaderSide()

    async def start(self) -> None:
        port = await self._start_process("relay", "relay")
        await asyncio.gather(*(self._start_process(f"node-{node}", "node", str(node), port) for node in FOLLOWERS))
        await asyncio.get_running_loop().create_connection(lambda: self._side, HOST, int(port))

    async def _start_process(self, name: str, *arguments: str) -> str:
        """The line that it prints when it is ready."""
        process = self.processes.start(name, [sys.executable, "-m", "bench.bare_relay", *arguments], pipes=True)
        assert process.stdout is not None
        return (await asyncio.to_thread(process.stdout.readline)).decode().strip()

    async def stop(self) -> None:
        self._side.transport.abort()
        self.processes.close()

    async def channels(self, where: str, in_flight: int) -> list[LeaderSide]:
        """`where` is how many operations share a frame."""
        self._side.batch = int(where)
        return [self._side]
