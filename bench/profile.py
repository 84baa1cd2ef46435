"""Which functions the microseconds of a running cluster go to: python -m bench.profile [WHERE IN_FLIGHT SECONDS].

WHERE is leader, follower or spread. Needs py-spy, as .venv-bench has it.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

import uvloop

from bench import account
from bench.drive import load, summary
from bench.ours import NODES, Ours
from bench.processes import ROOT, cpu_seconds


async def main(where: str = "leader", in_flight: str = "1024", seconds: str = "5") -> None:
    if account.available() is None:
        raise SystemExit("py-spy is not installed: run this with .venv-bench/bin/python")
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        system = Ours(Path(folder) / "cluster")
        try:
            await system.start()
            channels = await system.channels(where, int(in_flight))
            leader = await system.leader()
            follower = next(node for node in NODES if node != leader)
            names = {"leader": f"node-{leader}", "a follower": f"node-{follower}", "relay": "network"}
            pids = {who: system.processes.running[name].pid for who, name in names.items()}
            recording = asyncio.gather(*(
                account.record(pid, float(seconds), Path(folder) / f"{pid}.raw") for pid in pids.values()
            ))
            sample = await load(
                channels, int(in_flight), float(seconds), lambda: {who: cpu_seconds(pid) for who, pid in pids.items()},
            )
            await recording
        finally:
            await system.stop()
        found = summary(sample)
        print(f"{where}, {in_flight} in flight: {found['rate']:,.0f} operations/s; p50 {found['p50_ms']:.2f} ms, "
              f"p99 {found['p99_ms']:.2f} ms; the profiler takes its share")
        for who, pid in pids.items():
            show(who, found["us_per_operation"].get(who, 0.0), (Path(folder) / f"{pid}.raw").read_text())


def show(who: str, cost: float, raw: str) -> None:
    by_room, by_function = account.rooms(raw, ROOT)
    print(f"\n{who}: {cost:.1f} us CPU an operation")
    for room, share in account.shares(by_room).items():
        print(f"  {share:6.1%} {share * cost:8.1f} us  {room}")
    total = sum(by_room.values()) or 1
    for (place, name), count in by_function.most_common(30):
        print(f"  {count / total:6.1%} {count / total * cost:8.1f} us    {place} {name}")


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
