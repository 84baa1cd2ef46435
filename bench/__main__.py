"""All measurements in one run: python -m bench [--quick | --full] [--only PART,...] [--out DIR] [--publish].

Every system is measured in turn, several times over, so that what else the machine does falls on all alike.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from bench import etcd, faults, machine, plot, recovery, relay_bench, report, startup
from bench.drive import load, summary
from bench.etcd import Etcd
from bench.floor import Floor
from bench.ours import Ours
from bench.processes import ROOT
from bench.pysyncobj import BEST, PySyncObj

Results = dict[str, Any]

CASES = [("leader", 1), ("follower", 1), ("leader", 256), ("leader", 1024), ("leader", 4096), ("spread", 1025)]
FEW = [("leader", 1), ("leader", 1024)]
FLOOR = [("1", 1), ("1", 1024), ("64", 4096)]
"""(operations in a frame, operations in flight)."""
PARTS = ("load", "outages", "recovery", "startup", "relay", "growth")
PUBLISHED = ROOT / "docs" / "performance"


class Plan(msgspec.Struct):
    rounds: int = 3
    seconds: float = 0.7
    kills: int = 9
    silent: int = 3
    peer_kills: int = 3
    missed: int = 100_000
    starts: int = 5
    simulated: int = 200
    marks: list[int] = []
    """Operations at which the growing store is looked at; only in a full run."""


PLANS = {
    "quick": Plan(rounds=1, seconds=0.3, kills=1, silent=1, peer_kills=1, missed=3000, starts=1, simulated=30),
    "standard": Plan(),
    "full": Plan(
        rounds=5, seconds=3.0, kills=15, silent=9, peer_kills=9, starts=9, simulated=2000,
        marks=[1_000, 10_000, 100_000, 1_000_000],
    ),
}


class Bench:
    def __init__(self, plan: Plan, folder: Path) -> None:
        self.plan = plan
        self.noise = machine.Noise()
        self.results: Results = {"plan": msgspec.structs.asdict(plan), "load": {}, "outages": {}}
        self._folder = folder
        self._count = 0

    def folder(self) -> Path:
        """A new one."""
        self._count += 1
        return self._folder / str(self._count)

    def say(self, what: str) -> None:
        print(f"[{time.strftime('%H:%M:%S')}] {what}", flush=True)
        self.noise.look()

    async def load(self) -> None:
        for turn in range(self.plan.rounds):
            self.say(f"load, round {turn + 1} of {self.plan.rounds}")
            await self._driven(Floor(self.folder()), FLOOR)
            await self._driven(Ours(self.folder()), CASES)
            await self._pysyncobj(PySyncObj(self.folder(), "PySyncObj, default", {}), FEW)
            await self._pysyncobj(PySyncObj(self.folder(), "PySyncObj, best", BEST), CASES)
            if etcd.available():
                await self._driven(Etcd(self.folder()), CASES)

    async def _driven(self, system: Floor | Ours | Etcd, cases: list[tuple[str, int]]) -> None:
        try:
            await system.start()
            for where, in_flight in cases:
                channels = await system.channels(where, in_flight)
                sample = await load(channels, in_flight, self.plan.seconds, system.processes.cpu)
                self._note(system.name, where, in_flight, summary(sample))
        finally:
            await system.stop()

    async def _pysyncobj(self, system: PySyncObj, cases: list[tuple[str, int]]) -> None:
        try:
            await system.start()
            for where, in_flight in cases:
                sample = await system.load(where, in_flight, max(self.plan.seconds, 0.5))
                self._note(system.name, where, in_flight, summary(sample))
        finally:
            await system.stop()

    def _note(self, system: str, where: str, in_flight: int, found: Results) -> None:
        self.noise.look(0.02)
        self.results["load"].setdefault(system, {}).setdefault(f"{where}/{in_flight}", []).append(found)

    async def outages(self) -> None:
        self.say("outages")
        found = self.results["outages"]
        ours = Ours(self.folder())
        try:
            await ours.start()
            found["ConsensusLLM, kill -9"] = [await faults.outage(ours, "kill", 0.7) for _ in range(self.plan.kills)]
            found["ConsensusLLM, cut off"] = [await faults.outage(ours, "cut", 1.2) for _ in range(self.plan.silent)]
        finally:
            await ours.stop()
        pysyncobj = PySyncObj(self.folder(), "PySyncObj, best", BEST)
        try:
            await pysyncobj.start()
            found["PySyncObj, kill -9"] = [
                await faults.outage_of_pysyncobj(pysyncobj, 3.0) for _ in range(self.plan.peer_kills)
            ]
        finally:
            await pysyncobj.stop()
        if not etcd.available():
            return
        peer = Etcd(self.folder())
        try:
            await peer.start()
            found["etcd, kill -9"] = [await faults.outage(peer, "kill", 2.5) for _ in range(self.plan.peer_kills)]
        finally:
            await peer.stop()

    async def recovery(self) -> None:
        self.say(f"recovery of a node that missed {self.plan.missed:,} operations")
        ours = Ours(self.folder())
        try:
            await ours.start()
            self.results["catch_up"] = await recovery.catch_up(ours, self.plan.missed, 1.0)
            await ours.settled()
            self.results["restart"] = await recovery.restart(ours)
            self.results["weight"] = await recovery.weight(ours)
        finally:
            await ours.stop()

    async def startup(self) -> None:
        self.say("start-up and simulator")
        prompts = [await startup.prompt(self.folder()) for _ in range(self.plan.starts)]
        self.results["prompt_s"] = [found["seconds"] for found in prompts]
        self.results["empty_mb"] = [found["memory_mb"] for found in prompts]
        self.results["first_command_s"] = [
            await startup.first_command(self.folder()) for _ in range(min(3, self.plan.starts))
        ]
        self.results["slowest_key_ms"] = [1000 * await startup.slowest_key() for _ in range(min(3, self.plan.starts))]
        self.results["simulator_runs_a_minute"] = await startup.simulator(self.plan.simulated)

    async def relay(self) -> None:
        self.say("relay")
        found: dict[str, list[Results]] = {"net/relay/relay.py": [], "bare": []}
        for _ in range(self.plan.rounds):
            for name, bare in (("net/relay/relay.py", False), ("bare", True)):
                stream = await relay_bench.flood(bare, 200, self.plan.seconds)
                found[name].append({"frames": stream.frames, "own": stream.own, "dropped": stream.dropped})
        self.results["relay"] = found

    async def growth(self) -> None:
        if not self.plan.marks:
            return
        self.results["growth"] = {}
        for conversations, marks in ((1_000, self.plan.marks), (10, [100_000]), (100_000, [200_000])):
            self.say(f"growth, {conversations:,} conversations")
            ours = Ours(self.folder())
            try:
                await ours.start()
                self.results["growth"][str(conversations)] = await recovery.growth(ours, marks, conversations, 5.0)
            finally:
                await ours.stop()


async def main(arguments: argparse.Namespace) -> None:
    begun = time.monotonic()
    kind = "quick" if arguments.quick else "full" if arguments.full else "standard"
    out = PUBLISHED if arguments.publish else Path(arguments.out)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=arguments.disk) as folder:
        bench = Bench(PLANS[kind], Path(folder))
        bench.results["kind"] = kind
        bench.results["machine"] = machine.describe(Path(folder))
        bench.results["etcd"] = etcd.version() if etcd.available() else None
        for part in arguments.only.split(","):
            await getattr(bench, part)()
        bench.noise.look()
        bench.results["noise"] = bench.noise.summary()
    bench.results["took_s"] = time.monotonic() - begun
    (out / "results.json").write_text(json.dumps(bench.results, indent=1) + "\n")
    table = report.table(bench.results)
    print(f"\n{table}")
    written = plot.draw(bench.results, out)
    if arguments.publish:
        report.publish(table, ROOT / "docs" / "PERFORMANCE.md")
    print(f"\nwritten to {out}: results.json {' '.join(written)}; {bench.results['took_s']:.0f} s in all")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./run.sh bench", description="Measures ConsensusLLM beside its peers.")
    parser.add_argument("--quick", action="store_true", help="is the tool in order? a minute; poor figures")
    parser.add_argument("--full", action="store_true", help="everything, up to a million operations; half an hour")
    parser.add_argument("--only", default=",".join(PARTS), metavar="PART,...", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--out", default="bench/results", help="where to write results.json and the plots")
    parser.add_argument("--disk", default=None, metavar="DIR", help="where the systems write (default: as tempfile)")
    parser.add_argument("--publish", action="store_true", help="write to docs/performance and docs/PERFORMANCE.md")
    arguments = parser.parse_args()
    if unknown := set(arguments.only.split(",")) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    return arguments


if __name__ == "__main__":
    uvloop.run(main(parse()))
