"""The floor: what the relay alone costs. A leader (this driver) sends each batch through a bare relay to four nodes and
counts it when two of them have acknowledged it: with itself a majority of five."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import deque
from pathlib import Path

from bench.drive import Channel
from bench.floor_process import DATA, HELLO, Framed, frame
from bench.processes import Processes, free_ports

NODES = (2, 3, 4, 5)
SIZE = 200
QUORUM = 2


class LeaderSide(Framed, Channel):
    """`batch` operations travel in one frame."""

    def __init__(self) -> None:
        Framed.__init__(self)
        Channel.__init__(self)
        self.batch = 1
        self._flying: deque[tuple[float, int]] = deque()
        self._decided = 0
        self._votes = dict.fromkeys(NODES, 0)
        self._unsent = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.transport.write(frame(HELLO, 1, 0, b""))

    def issue(self, count: int) -> None:
        now = time.perf_counter()
        self._unsent += count
        parts: list[bytes] = []
        while self._unsent >= self.batch:
            self._unsent -= self.batch
            payload = bytes(SIZE * self.batch)
            parts.extend(frame(DATA, 1, node, payload) for node in NODES)
            self._flying.append((now, self.batch))
        self.transport.write(b"".join(parts))

    async def drain(self) -> None:
        self.in_flight -= self._unsent
        self._unsent = 0
        await super().drain()

    def buffer_updated(self, count: int) -> None:
        for _, src, _, _ in self.frames(count):
            self._votes[src] += 1
        decided = sorted(self._votes.values())[-QUORUM]
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
        folder.mkdir(parents=True, exist_ok=True)
        self.processes = Processes(folder)
        self._port = free_ports(1)[0]
        self._side = LeaderSide()

    async def start(self) -> None:
        command = [sys.executable, "-m", "bench.floor_process"]
        self.processes.start("relay", [*command, "relay", str(self._port)])
        await self._connect()
        for node in NODES:
            self.processes.start(f"node-{node}", [*command, "node", str(node), str(self._port)])
        for _ in range(100):
            await asyncio.sleep(0.05)
            self._side.start(self._side.meter, 1)
            try:
                async with asyncio.timeout(0.2):
                    await self._side.drain()
            except TimeoutError:
                self._forget()
                continue
            return

    def _forget(self) -> None:
        """Not all nodes were there yet."""
        side, self._side = self._side, LeaderSide()
        self._side.transport = side.transport
        side.transport.set_protocol(self._side)
        self._side.in_flight = 0

    async def _connect(self) -> None:
        until = time.monotonic() + 10
        while True:
            try:
                await asyncio.get_running_loop().create_connection(lambda: self._side, "127.0.0.1", self._port)
            except OSError:
                if time.monotonic() > until:
                    raise
                await asyncio.sleep(0.02)
                continue
            return

    async def stop(self) -> None:
        self._side.transport.abort()
        self.processes.close()

    async def channels(self, where: str, in_flight: int) -> list[Channel]:
        """`where` is how many operations ride in one frame."""
        self._side.batch = int(where)
        return [self._side]
