"""What a cluster costs while nobody uses it: the share of a core, wakeups and frames of each process.

    python -m bench.idle [--seconds S] [--rounds N] [--against PATH]

A node's share is that of its own process; what is measured is its CPU time and its voluntary context switches, from
/proc. The clock of the system counts in hundredths of a second, so that rounds of less than some 10 s say little. With
another checkout, both clusters run at the same time, so that what else the machine does concerns both alike.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import statistics
import tempfile
from pathlib import Path

import uvloop

from bench.drive import running
from bench.ours import Ours
from bench.processes import ROOT, cpu_seconds, wakeups

SETTLE_S = 3.0
"""After the last operation: what is compared or stored once things have come to rest is done by then."""


async def measured(system: Ours, seconds: float) -> dict[str, tuple[float, float]]:
    """Of each process: its share of a core in percent, and how often a second it was woken."""
    pids = {name: process.pid for name, process in system.processes.running.items()}
    before = {name: (cpu_seconds(pid), wakeups(pid)) for name, pid in pids.items()}
    await asyncio.sleep(seconds)
    return {
        name: ((cpu_seconds(pid) - before[name][0]) / seconds * 100, (wakeups(pid) - before[name][1]) / seconds)
        for name, pid in pids.items()
    }


async def measure(rounds: int, seconds: float, roots: list[Path]) -> None:
    taken: dict[str, list[tuple[float, float]]] = {}
    async with contextlib.AsyncExitStack() as clusters:
        systems: dict[str, Ours] = {}
        for number, root in enumerate(roots):
            folder = Path(clusters.enter_context(tempfile.TemporaryDirectory()))
            name = "" if len(roots) == 1 else ("this ", "other ")[number]
            systems[name] = await clusters.enter_async_context(running(Ours(folder, root)))
        await asyncio.sleep(SETTLE_S)
        for _ in range(rounds):
            every = await asyncio.gather(*(measured(system, seconds) for system in systems.values()))
            for which, processes in zip(systems, every, strict=True):
                for name, used in processes.items():
                    taken.setdefault(which + name, []).append(used)
    for name, each in sorted(taken.items()):
        share, woken = (statistics.median(column) for column in zip(*each, strict=True))
        print(f"{name:<14} {share:5.2f} % of a core, woken {woken:4.0f} times a second")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.idle", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--against", type=Path, help="another checkout, whose cluster runs at the same time")
    given = parser.parse_args()
    roots = [ROOT] if given.against is None else [ROOT, given.against.resolve()]
    uvloop.run(measure(given.rounds, given.seconds, roots))


if __name__ == "__main__":
    main()
