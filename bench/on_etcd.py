"""python -m bench.on_etcd: ConsensusLLM on three members of etcd beside bare Puts to the same three, and beside the
embedded engine with three nodes, in turn."""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from pathlib import Path

import uvloop

from bench.drive import System, load, running
from bench.etcd import Etcd
from bench.ours import Ours
from bench.results import LoadSample

MEMBERS = (1, 2, 3)
CASES = (1, 256, 1024)
"""In flight."""
BARE, ON_ETCD, EMBEDDED = "etcd, bare puts", "ConsensusLLM on etcd", "ConsensusLLM, embedded"

Found = dict[tuple[str, int], list[LoadSample]]


async def measured(system: System, below: System | None, in_flight: int, seconds: float) -> LoadSample:
    """`below`: what it runs on, whose processor time is its own, too."""
    def used() -> dict[str, float]:
        lower = {} if below is None else {"below": sum(below.processes.cpu().values())}
        return system.processes.cpu() | lower

    return await load(await system.channels("leader", in_flight), in_flight, seconds, used)


async def compare(folder: Path, rounds: int, seconds: float) -> Found:
    found: Found = {}
    async with running(Etcd(folder / "etcd", MEMBERS)) as etcd, running(
        Ours(folder / "on-etcd", nodes=MEMBERS, etcd=etcd.endpoints)
    ) as on_etcd, running(Ours(folder / "embedded", nodes=MEMBERS)) as embedded:
        systems: list[tuple[str, System, System | None]] = [
            (BARE, etcd, None), (ON_ETCD, on_etcd, etcd), (EMBEDDED, embedded, None)]
        for _ in range(rounds):
            for in_flight in CASES:
                for name, system, below in systems:
                    found.setdefault((name, in_flight), []).append(await measured(system, below, in_flight, seconds))
                    await asyncio.sleep(0.2)  # what was begun ends: nothing tells
    return found


def table(found: Found) -> str:
    lines = ["| in flight | system | operations/s | p50 ms | p99 ms | us CPU/operation | rate, p50 to bare etcd |",
             "|---|---|---|---|---|---|---|"]
    for in_flight in CASES:
        bare = _medians(found[BARE, in_flight])
        for name in (BARE, ON_ETCD, EMBEDDED):
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
    parser.add_argument("--disk", default=None, metavar="DIR", help="where the systems write (default: as tempfile)")
    arguments = parser.parse_args()
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="bench-", dir=arguments.disk) as folder:
        print(table(await compare(Path(folder), arguments.rounds, arguments.seconds)))
    print(f"\n{arguments.rounds} rounds of {arguments.seconds:g} s, medians; {time.monotonic() - begun:.0f} s in all")


if __name__ == "__main__":
    uvloop.run(main())
