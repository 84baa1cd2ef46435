"""python -m bench.on_etcd: ConsensusLLM on three and five members of etcd, with as many nodes, beside bare Puts to the
same members, and beside the embedded engine with as many nodes, in turn. With one operation in flight, also what the
engine's transaction takes by itself: over etcd's gateway, with a watch for each node that there would be."""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from pathlib import Path

import uvloop

from bench.drive import System, difference, load, load_sample, running
from bench.etcd import SIZE, Etcd
from bench.ours import Ours
from bench.results import LoadSample
from engine.etcd.http import Connections
from engine.etcd.wire import encode, get, has_value, put, txn

SIZES = (3, 5)
CASES = (1, 256, 1024)
"""In flight."""
BARE, ON_ETCD, EMBEDDED = "etcd, bare puts", "ConsensusLLM on etcd", "ConsensusLLM, embedded"
BY_GATEWAY = "the transaction by itself"

Found = dict[tuple[str, int], list[LoadSample]]


async def measured(system: System, below: System | None, in_flight: int, seconds: float) -> LoadSample:
    """`below`: what it runs on, whose processor time is its own, too."""
    def used() -> dict[str, float]:
        lower = {} if below is None else {"below": sum(below.processes.cpu().values())}
        return system.processes.cpu() | lower

    return await load(await system.channels("leader", in_flight), in_flight, seconds, used)


async def compare(folder: Path, size: int, rounds: int, seconds: float) -> Found:
    found: Found = {}
    members = range(1, size + 1)
    async with running(Etcd(folder / "etcd", members)) as etcd, running(
        Ours(folder / "on-etcd", nodes=members, etcd=etcd.endpoints)
    ) as on_etcd, running(Ours(folder / "embedded", nodes=members)) as embedded:
        systems: list[tuple[str, System, System | None]] = [
            (BARE, etcd, None), (ON_ETCD, on_etcd, etcd), (EMBEDDED, embedded, None)]
        for _ in range(rounds):
            for in_flight in CASES:
                for name, system, below in systems:
                    found.setdefault((name, in_flight), []).append(await measured(system, below, in_flight, seconds))
                    await asyncio.sleep(0.2)  # what was begun ends: nothing tells
            found.setdefault((BY_GATEWAY, 1), []).append(await by_gateway(etcd, seconds))
    return found


async def by_gateway(etcd: Etcd, seconds: float) -> LoadSample:
    """One transaction after the other, like those of a node that puts one operation at a time."""
    http, watching = Connections(None), asyncio.Event()
    watch = encode({"create_request": {"key": b"floor/op/", "range_end": b"floor/op0"}})

    async def follow(endpoint: str) -> None:
        async for _ in http.stream(endpoint, "/v3/watch", {}, watch):
            watching.set()

    followers = []
    for endpoint in etcd.endpoints:
        followers.append(asyncio.ensure_future(follow(endpoint)))
        await watching.wait()
        watching.clear()
    leader, latencies = etcd.endpoint(await etcd.leader()), list[float]()
    await http.post(leader, "/v3/kv/txn", {}, txn([], [put(b"floor/sent", b"0")]))
    before, begun, number = etcd.processes.cpu(), time.perf_counter(), 0
    while time.perf_counter() < begun + seconds:
        request = txn(
            [has_value(b"floor/sent", b"%d" % number)],
            [put(b"floor/op/%d" % number, b"x" * SIZE), put(b"floor/sent", b"%d" % (number + 1))],
            [get(b"floor/sent")],
        )
        asked = time.perf_counter()
        await http.post(leader, "/v3/kv/txn", {}, request)
        latencies.append(time.perf_counter() - asked)
        number += 1
    took, used = time.perf_counter() - begun, difference(before, etcd.processes.cpu())
    for follower in followers:
        follower.cancel()
    await asyncio.wait(followers)
    await http.close()
    return load_sample(number, took, latencies, 0, used)


def table(found: Found) -> str:
    lines = ["| in flight | system | operations/s | p50 ms | p99 ms | us CPU/operation | rate, p50 to bare etcd |",
             "|---|---|---|---|---|---|---|"]
    for in_flight in CASES:
        bare = _medians(found[BARE, in_flight])
        for name in (BARE, BY_GATEWAY, ON_ETCD, EMBEDDED):
            if (name, in_flight) not in found:
                continue
            rate, p50, p99, cpu = _medians(found[name, in_flight])
            lines.append(f"| {in_flight:,} | {name} | {rate:,.0f} | {p50:.2f} | {p99:.2f} | {cpu:,.0f} | "
                         f"{rate / bare[0]:.2f}, {p50 / bare[1]:.2f} |")
    return "\n".join(lines)


def _medians(samples: list[LoadSample]) -> tuple[float, float, float, float]:
    return (
        statistics.median(sample.rate for sample in samples), statistics.median(sample.p50_ms for sample in samples),
        statistics.median(sample.p99_ms for sample in samples),
        statistics.median(sum(sample.us_per_operation.values()) for sample in samples),
    )


async def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.on_etcd", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each load in each round")
    parser.add_argument("--sizes", type=int, nargs="+", choices=SIZES, default=SIZES, help="members, and nodes")
    parser.add_argument("--disk", default=None, metavar="DIR", help="where the systems write (default: as tempfile)")
    arguments = parser.parse_args()
    begun = time.monotonic()
    for size in arguments.sizes:
        with tempfile.TemporaryDirectory(prefix="bench-", dir=arguments.disk) as folder:
            print(f"{size} members, {size} nodes:\n")
            print(table(await compare(Path(folder), size, arguments.rounds, arguments.seconds)), end="\n\n", flush=True)
    print(f"{arguments.rounds} rounds of {arguments.seconds:g} s, medians; {time.monotonic() - begun:.0f} s in all")


if __name__ == "__main__":
    uvloop.run(main())
