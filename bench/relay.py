"""How many frames the relay forwards, and how long a message takes.

    python -m bench.relay [--seconds S] [--size BYTES] [--bare]

The relay runs in its own process, as in a cluster; all nodes share a second one, so that on a machine with few
cores the figures reflect the relay rather than contention between five Python processes.
  round trip   node 1 -> node 2 -> node 1, one message at a time
  flood        every node sends to every other as fast as the relay takes it
  fan-out      one node sends each message to four others: what a leader does
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import multiprocessing
import statistics
import time
from collections.abc import AsyncIterator, Callable
from multiprocessing.connection import Connection
from random import Random

import uvloop

from bench.bare_relay import CLUSTER, HOST, HandshakeSide
from bench.bare_relay import start as start_bare
from bench.results import RelaySample
from net.link import NodeLink
from net.relay.faults import Faults
from net.relay.refusals import RefusalNotice
from net.relay.relay import Relay

NODES = 5
WINDOW = 2000
"""The maximum number of a sender's messages in flight to each receiver."""


class Unheard:
    """What happens at the relay is of no interest here."""

    def on_node_up(self, node: int) -> None: ...
    def on_node_down(self, node: int) -> None: ...
    def on_refused(self, notice: RefusalNotice) -> None: ...
    def on_cluster(self, known: object) -> None: ...
    def on_held(self, message: object) -> None: ...
    def on_report(self, node: int) -> None: ...


def relay_process(pipe: Connection, bare: bool) -> None:
    async def main() -> None:
        relay = Relay(
            cluster=CLUSTER, nodes=range(1, NODES + 1), secret=None, faults=Faults(Random(1)), listener=Unheard(),
        )
        pipe.send(await (start_bare(HandshakeSide) if bare else relay.start(HOST, 0)))
        leave = asyncio.Event()

        def answer() -> None:
            if pipe.recv() == "leave":
                leave.set()
            else:
                dropped = sum(relay.traffic(node).dropped for node in relay.nodes)
                pipe.send((time.process_time(), dropped))

        asyncio.get_running_loop().add_reader(pipe.fileno(), answer)
        await leave.wait()
        if not bare:
            await relay.close()

    uvloop.run(main())


class Node:
    def __init__(self, port: int, number: int) -> None:
        self.number = number
        self.count = 0
        self.ready = asyncio.Event()
        self.message: Callable[[int, memoryview], None] = self.counted
        self.link = NodeLink(
            host=HOST, port=port, cluster=CLUSTER, node=number, secret=None, incarnation=1, events=self,
        )
        self.link.start()

    def counted(self, src: int, payload: memoryview) -> None:
        self.count += 1

    def on_message(self, src: int, payload: memoryview) -> None:
        self.message(src, payload)

    def on_hint(self, src: int, payload: memoryview) -> None: ...

    def on_up(self) -> None:
        self.ready.set()

    def on_down(self, reason: str) -> None: ...
    def on_refused(self, reason: str) -> None: ...
    def on_peer_up(self, node: int) -> None: ...
    def on_peer_down(self, node: int) -> None: ...


async def round_trip(nodes: list[Node], size: int, seconds: float) -> str:
    one, two = nodes[:2]
    times: list[float] = []
    done = asyncio.Event()
    until = time.perf_counter() + seconds
    sent = 0.0

    def echo(src: int, payload: memoryview) -> None:
        two.link.send(src, bytes(payload))
        two.link.flush()

    def back(src: int, payload: memoryview) -> None:
        nonlocal sent
        now = time.perf_counter()
        times.append(now - sent)
        if now > until:
            done.set()
            return
        sent = now
        one.link.send(2, bytes(payload))
        one.link.flush()

    two.message, one.message = echo, back
    sent = time.perf_counter()
    one.link.send(2, bytes(size))
    await done.wait()
    two.message, one.message = two.counted, one.counted
    times.sort()
    p50, p99 = statistics.median(times) * 1e6, times[int(len(times) * 0.99)] * 1e6
    return f"round trip   {p50:9.0f} us median, {p99:.0f} us p99 ({len(times)} of them, each twice through the relay)"


async def stream(
    nodes: list[Node], senders: list[Node], size: int, seconds: float, pipe: Connection
) -> RelaySample:
    """Every sender sends to all others as fast as the relay takes it."""
    payload = bytes(size)
    sent = 0
    received_before = sum(node.count for node in nodes)

    def received() -> int:
        return sum(node.count for node in nodes) - received_before

    pipe.send("figures")
    cpu_before, dropped_before = pipe.recv()
    begin = time.perf_counter()
    while (took := time.perf_counter() - begin) < seconds:
        if sent - received() < WINDOW * len(senders):
            for sender in senders:
                others = [node.number for node in nodes if node is not sender]
                for _ in range(100):
                    for other in others:
                        sender.link.send(other, payload)
                sent += 100 * len(others)
        await asyncio.sleep(0)
    passed = received()
    pipe.send("figures")
    cpu, dropped = pipe.recv()
    while received() < sent - (dropped - dropped_before):  # noqa: ASYNC110 - an event for each would be measured, too
        await asyncio.sleep(0.01)
    return RelaySample(passed / took, passed / (cpu - cpu_before), dropped - dropped_before)


def words(name: str, size: int, sample: RelaySample) -> str:
    return (
        f"{name:12} {sample.frames:9,.0f} frames/s, {sample.frames * size / 1e6:.0f} MB/s; the relay was busy "
        f"{sample.frames / sample.own:.0%} of one core: {sample.own:,.0f} frames/s of its own time; "
        f"dropped {sample.dropped}"
    )


@contextlib.asynccontextmanager
async def cluster(bare: bool) -> AsyncIterator[tuple[list[Node], Connection]]:
    pipe, other = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=relay_process, args=(other, bare))
    process.start()
    port = await asyncio.to_thread(pipe.recv)
    nodes = [Node(port, number) for number in range(1, NODES + 1)]
    for node in nodes:
        await node.ready.wait()
    try:
        yield nodes, pipe
    finally:
        for node in nodes:
            await node.link.close()
        pipe.send("leave")
        await asyncio.to_thread(process.join)


async def flood(bare: bool, size: int, seconds: float) -> RelaySample:
    async with cluster(bare) as (nodes, pipe):
        return await stream(nodes, nodes, size, seconds, pipe)


async def main(size: int, seconds: float, bare: bool) -> None:
    async with cluster(bare) as (nodes, pipe):
        print(f"{NODES} nodes, messages of {size} bytes, {seconds:g} s each")
        print(await round_trip(nodes, size, seconds))
        print(words("flood", size, await stream(nodes, nodes, size, seconds, pipe)))
        print(words("fan-out", size, await stream(nodes, nodes[:1], size, seconds, pipe)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Measures the relay.")
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--size", type=int, default=200)
    parser.add_argument("--bare", action="store_true", help="a relay that only routes, for comparison")
    arguments = parser.parse_args()
    uvloop.run(main(arguments.size, arguments.seconds, arguments.bare))
