"""The HTTP API beside the control socket: the same operations, at the same node, in turn.

    python -m bench.http [--rounds N] [--seconds S]

An operation is a question, then its cancellation, as in bench/ours.py. Here it is `POST /api/query` or
`POST /api/cancel` over connections that are kept, by a client that makes and reads only what it must: any library would
take more time than the server. Measured are one in flight, and 64 clients with one each; and, by the same client, the
library that serves HTTP, without anything behind it (bench/bare_http.py): the least that a request costs.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import cast

import uvloop

from bench.drive import Channel, load, operations, places
from bench.ours import ClientChannel, Ours
from bench.processes import Processes
from bench.results import LoadSample, Spread
from bench.streams import KEY, Served, serving

CLIENTS = 64
CONVERSATIONS = 1000
TEXT = "x" * 370
_END = b"\r\n\r\n"
_LENGTH = b"content-length: "


def _request(command: str, fields: dict[str, str]) -> bytes:
    body = json.dumps(fields).encode()
    return (f"POST /api/{command} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n").encode() + body


class Connection(asyncio.Protocol):
    """One client: a request, its response, the next request, in conversations of its own."""

    def __init__(self, channel: HttpChannel, names: list[str]) -> None:
        self.creations = [_request("create", {"context": name}) for name in names]
        self._operations = itertools.cycle([request for name in names for request in (
            _request("query", {"context": name, "text": TEXT}), _request("cancel", {"context": name}))])
        self._channel = channel
        self._transport: asyncio.Transport | None = None
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is of no such class

    def next(self) -> None:
        assert self._transport is not None
        self._transport.write(self.creations.pop() if self.creations else next(self._operations))

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._data = data = self._data + data if self._data else data
        head, end, body = data.partition(_END)
        if end:
            lower = head.lower()
            start = lower.index(_LENGTH) + len(_LENGTH)
            if len(body) >= int(lower[start : start + 10].split(b"\r\n", 1)[0]):
                self._data = b""
                self._channel.done(self, head.startswith(b"HTTP/1.1 200 "))


class HttpChannel(Channel):
    """Operations over so many connections at most."""

    def __init__(self) -> None:
        super().__init__()
        self._free: list[Connection] = []
        self._sent: dict[Connection, float] = {}

    async def prepare(self, port: int, clients: int, prefix: str) -> None:
        loop = asyncio.get_running_loop()
        for client in range(clients):
            names = [f"{prefix}-{client}-{number}" for number in range(CONVERSATIONS // clients)]
            _, made = await loop.create_connection(partial(Connection, self, names), "127.0.0.1", port)
            self._free.append(made)
        await operations([self], clients, CONVERSATIONS)

    def close(self) -> None:
        for connection in (*self._free, *self._sent):
            connection.close()

    def issue(self, count: int) -> None:
        for _ in range(count):
            connection = self._free.pop()
            self._sent[connection] = time.perf_counter()
            connection.next()

    def done(self, connection: Connection, fine: bool) -> None:
        sent = self._sent.pop(connection)
        self._free.append(connection)
        self.answered([sent] if fine else [], 0 if fine else 1)


async def _requests(processes: Processes, port: int, clients: int, seconds: float, prefix: str) -> LoadSample:
    channel = HttpChannel()
    try:
        await channel.prepare(port, clients, prefix)
        return await load([channel], clients, seconds, processes.cpu)
    finally:
        channel.close()


async def _http(system: Served, node: int, clients: int, seconds: float, prefix: str) -> LoadSample:
    return await _requests(system.processes, system.port + node, clients, seconds, prefix)


async def _bare(clients: int, seconds: float) -> LoadSample:
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        processes = Processes(Path(folder))
        try:
            server = processes.start("bare", [sys.executable, "-m", "bench.bare_http"], pipes=True)
            assert server.stdout is not None
            port = int(await asyncio.to_thread(server.stdout.readline))
            return await _requests(processes, port, clients, seconds, "bare")
        finally:
            processes.close()


async def _socket(system: Ours, node: int, in_flight: int, seconds: float, prefix: str) -> LoadSample:
    channel = ClientChannel(await system.client(node), prefix, CONVERSATIONS)
    await channel.prepare()
    return await load([channel], in_flight, seconds, system.processes.cpu)


async def compare(rounds: int, seconds: float) -> None:
    taken: dict[tuple[str, str, int], list[LoadSample]] = {}
    async with serving() as (system, _):
        leader = await system.leader()
        where = {"leader": leader, "follower": places("follower", leader, system.processes.nodes())[0]}
        for turn in range(rounds):
            for place, node in where.items():
                for clients in (1, CLIENTS):
                    for way, measure in (("HTTP", _http), ("control socket", _socket)):
                        sample = await measure(system, node, clients, seconds, f"{place}{clients}{way[0]}{turn}")
                        taken.setdefault((way, place, clients), []).append(sample)
            for clients in (1, CLIENTS):
                taken.setdefault(("the library alone", "", clients), []).append(await _bare(clients, seconds))
    print("| way | node | in flight | operations/s | p50 ms | p99 ms | us CPU/operation |")
    print("|---|---|---|---|---|---|---|")
    for (way, place, clients), samples in taken.items():
        figures = (
            ([sample.rate for sample in samples], ",.0f"), ([sample.p50_ms for sample in samples], ".2f"),
            ([sample.p99_ms for sample in samples], ".2f"),
            ([sum(sample.us_per_operation.values()) for sample in samples], ",.0f"),
        )
        shown = (f"{spread.median:{form}} [{spread.least:{form}} .. {spread.most:{form}}]"
                 for spread, form in ((Spread.of(values), form) for values, form in figures))
        print(f"| {way} | {place} | {clients} | {' | '.join(shown)} |")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.http", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0)
    given = parser.parse_args()
    uvloop.run(compare(given.rounds, given.seconds))


if __name__ == "__main__":
    main()
