"""What watchers cost a node: 1,000 idle event streams and 200 linearizable reads a second at one node, against none
and against the same reads by clients of its control socket.

    python -m bench.streams [--rounds N] [--seconds S] [--streams N] [--reads N]

Measured at that node: how long a commit takes that is submitted there (16 a second), how long the event loop lets a
small request wait (heartbeats pass through the same loop), and how many leaderships the nodes saw. The loads take
turns, so that what else the machine does concerns all alike.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import re
import socket
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import cast

import aiohttp
import msgspec
import uvloop

from bench.drive import running
from bench.ours import NODES, TIMEOUT_S, Client, Ours
from bench.processes import free_ports

NODE = NODES[1]
KEY = "bench-0123456789abcdef"
HEAD = {"Authorization": f"Bearer {KEY}"}
_REQUEST = f"GET /api/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\n\r\n".encode()
COMMITS_PER_S = 16
PROBES_PER_S = 50
READERS = 32
ENOUGH = 1_000_000
"""Conversations in all: each load of a measurement makes its own, and the usual quota is 10,000."""


class Load(msgspec.Struct):
    name: str
    streams: int
    reads_per_s: int
    by_socket: bool = False
    """The reads are `view`s at control sockets rather than HTTP requests."""
    commits: list[float] = []
    probes: list[float] = []
    reads: list[float] = []


class Served(Ours):
    """With an HTTP API."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.port = _ports_in_a_row(len(NODES) + 1)
        config = json.loads(self._config.read_text())
        config["http"] = {"port": self.port, "keys": [KEY]}
        self._config.write_text(json.dumps(config))

    def url(self, path: str, node: int = NODE) -> str:
        return f"http://127.0.0.1:{self.port + node}{path}"


def _ports_in_a_row(count: int) -> int:
    """The first of them."""
    while True:
        first = free_ports(1)[0]
        with contextlib.suppress(OSError, OverflowError), contextlib.ExitStack() as open_sockets:
            for port in range(first, first + count):
                open_sockets.enter_context(socket.socket()).bind(("127.0.0.1", port))
            return first


class Sink(asyncio.Protocol):
    """One event stream, whose events nobody looks at."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.began = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is of no such class
        self.transport.write(_REQUEST)

    def data_received(self, data: bytes) -> None:
        self.began = self.began or data[:200]


async def every(per_s: float, until: float, action: Callable[[], Awaitable[None]], took: list[float]) -> None:
    """Starts `action` so often, and notes how long each took."""
    async def one() -> None:
        began = time.perf_counter()
        await action()
        took.append(time.perf_counter() - began)

    under_way: set[asyncio.Task[None]] = set()
    due = time.perf_counter()
    while due < until:
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        task = asyncio.create_task(one())
        under_way.add(task)
        task.add_done_callback(under_way.discard)
        due += 1 / per_s
    if under_way:
        await asyncio.wait(under_way)


async def measured(system: Served, session: aiohttp.ClientSession, load: Load, seconds: float) -> None:
    loop = asyncio.get_running_loop()
    sinks = [(await loop.create_connection(Sink, "127.0.0.1", system.port + NODE))[1] for _ in range(load.streams)]
    clients = [await system.client(NODE) for _ in range(COMMITS_PER_S)]
    for number, client in enumerate(clients):
        await client.ask("quiet", f"create c{number}")
    await asyncio.sleep(1.0)  # the streams have begun, and the node rests
    turns = itertools.count()

    async def commit() -> None:
        turn, number = divmod(next(turns), len(clients))
        await clients[number].ask(f"cancel c{number}" if turn % 2 else f"query c{number} Why?")

    async def call(path: str) -> None:
        async with session.get(system.url(path), headers=HEAD) as response:
            await response.read()
            assert response.status == 200, await response.text()

    until = time.perf_counter() + seconds
    loads = [every(COMMITS_PER_S, until, commit, load.commits),
             every(PROBES_PER_S, until, lambda: call("/healthz"), load.probes)]
    readers = [await system.client(NODE) for _ in range(READERS if load.by_socket else 0)]
    free = asyncio.LifoQueue[Client]()
    for client in readers:
        await client.ask("quiet")
        free.put_nowait(client)

    async def read() -> None:
        if load.by_socket:
            client = await free.get()
            await client.ask("view c0")
            free.put_nowait(client)
        else:
            await call("/api/view?context=c0")

    if load.reads_per_s:
        loads.append(every(load.reads_per_s, until, read, load.reads))
    await asyncio.gather(*loads)
    for client in clients + readers:
        client.close()
    for sink in sinks:
        assert sink.transport is not None and not sink.transport.is_closing(), f"a stream has ended: {sink.began!r}"
        sink.transport.abort()


@contextlib.asynccontextmanager
async def serving() -> AsyncIterator[tuple[Served, aiohttp.ClientSession]]:
    """A cluster that answers HTTP, and makes as many conversations as are asked for."""
    with tempfile.TemporaryDirectory() as folder:
        async with running(Served(Path(folder))) as system, aiohttp.ClientSession() as session:
            await ready(system, session)
            client = await system.client(NODE)
            await client.ask(f"quotas conversations {ENOUGH}")
            yield system, session


async def ready(system: Served, session: aiohttp.ClientSession) -> None:
    """Until every node answers HTTP."""
    for node in NODES:
        async with asyncio.timeout(TIMEOUT_S):
            while True:
                try:
                    async with session.get(system.url("/readyz", node)) as response:
                        if response.status == 200:
                            break
                except aiohttp.ClientConnectionError:
                    await asyncio.sleep(0.1)


async def leaderships(system: Served, session: aiohttp.ClientSession) -> int:
    seen = 0
    for node in NODES:
        async with session.get(system.url("/metrics", node), headers=HEAD) as response:
            found = re.search(r"^\w*elections_total (\S+)", await response.text(), re.MULTILINE)
            seen += int(float(found[1])) if found else 0
    return seen


def shown(name: str, took: list[float]) -> str:
    if not took:
        return ""
    ordered = sorted(1000 * each for each in took)
    late = ordered[int(0.99 * (len(ordered) - 1))]
    return f"  {name}: median {statistics.median(ordered):.1f} ms, 99 % {late:.1f} ms"


async def compare(rounds: int, seconds: float, streams: int, reads: int) -> None:
    loads = [Load("nobody watches", 0, 0), Load(f"{streams} idle streams", streams, 0),
             Load(f"{reads} reads/s by control socket", 0, reads, by_socket=True),
             Load(f"{reads} reads/s by HTTP", 0, reads),
             Load(f"{streams} idle streams, {reads} reads/s by HTTP", streams, reads)]
    async with serving() as (system, session):
        before = await leaderships(system, session)
        for _ in range(rounds):
            for load in loads:
                await measured(system, session, load, seconds)
        after = await leaderships(system, session)
    for load in loads:
        print(load.name)
        for line in (shown("commit", load.commits), shown("event loop", load.probes), shown("read", load.reads)):
            if line:
                print(line)
    print(f"leaderships that began meanwhile, as all nodes saw them: {after - before}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.streams", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--reads", type=int, default=200)
    given = parser.parse_args()
    uvloop.run(compare(given.rounds, given.seconds, given.streams, given.reads))


if __name__ == "__main__":
    main()
