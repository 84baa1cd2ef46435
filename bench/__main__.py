"""All measurements in one run: see --help.

The systems are measured in turn, several times, so that background load affects all of them equally.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import msgspec
import uvloop

from bench import compare, etcd, faults, machine, plot, pysyncobj, recovery, relay, report, results, startup
from bench.drive import measure, running
from bench.etcd import Etcd
from bench.floor import Floor
from bench.ours import Ours
from bench.processes import ROOT
from bench.pysyncobj import BEST, PySyncObj
from bench.results import LoadSample, Samples
from tests import bytecode

CASES = [("leader", 1), ("follower", 1), ("leader", 256), ("leader", 1024), ("leader", 4096), ("spread", 1025)]
FEW = [("leader", 1), ("leader", 1024)]
FLOOR = [("1", 1), ("1", 1024), ("64", 4096)]
"""(operations per frame, operations in flight)."""
COMPARED_S = 1.0
"""The least for a load that is compared: long beside the latency of 4,096 operations in flight."""
PARTS = ("load", "outages", "recovery", "startup", "relay", "growth")
DETAILS = ROOT / "bench" / "results"
PUBLISHED = ROOT / "docs" / "performance"


class Plan(msgspec.Struct):
    rounds: int = 3
    seconds: float = 0.7
    kills: int = 9
    isolations: int = 3
    peer_kills: int = 3
    missed: int = 100_000
    starts: int = 5
    simulated: int = 200
    marks: list[int] = []
    """Operation counts at which the growing store is measured; only in a full run."""
    compared: int = 8
    """Rounds of a comparison of two checkouts."""


PLANS = {
    "quick": Plan(rounds=1, seconds=0.3, kills=1, isolations=1, peer_kills=1, missed=3000, starts=1, simulated=30,
                  compared=3),
    "standard": Plan(),
    "full": Plan(
        rounds=5, seconds=3.0, kills=15, isolations=9, peer_kills=9, starts=9, simulated=2000,
        marks=[1_000, 10_000, 100_000, 1_000_000], compared=20,
    ),
}


class Bench:
    def __init__(self, kind: str, folder: Path) -> None:
        self._plan = plan = PLANS[kind]
        self._noise = machine.Noise()
        self._folder = folder
        self._count = 0
        self.samples = Samples(
            kind=kind, rounds=plan.rounds, seconds=plan.seconds, machine=machine.describe(folder, etcd.version()),
        )

    def new_folder(self) -> Path:
        self._count += 1
        return self._folder / str(self._count)

    def say(self, what: str) -> None:
        print(f"[{time.strftime('%H:%M:%S')}] {what}", flush=True)
        self._noise.look()

    async def run(self, parts: list[str]) -> Samples:
        begun = time.monotonic()
        for part in parts:
            await getattr(self, part)()
        self._noise.look()
        self.samples.noise = self._noise.summary()
        self.samples.took_s = time.monotonic() - begun
        return self.samples

    async def load(self) -> None:
        for number in range(self._plan.rounds):
            self.say(f"load, round {number + 1} of {self._plan.rounds}")
            for system, cases in ((Floor, FLOOR), (Ours, CASES)):
                self._note(system.name, await measure(system(self.new_folder()), cases, self._plan.seconds))
            if pysyncobj.available():
                for name, settings, cases in (("PySyncObj, default", {}, FEW), ("PySyncObj, best", BEST, CASES)):
                    peer = PySyncObj(self.new_folder(), name, settings)
                    self._note(name, await peer.measure(cases, max(self._plan.seconds, 0.5)))
            if etcd.available():
                self._note(Etcd.name, await measure(Etcd(self.new_folder()), CASES, self._plan.seconds))

    def _note(self, system: str, found: dict[str, LoadSample]) -> None:
        self._noise.look()
        for case, sample in found.items():
            self.samples.load.setdefault(system, {}).setdefault(case, []).append(sample)

    async def outages(self) -> None:
        self.say("outages")
        plan, found = self._plan, self.samples.outages
        async with running(Ours(self.new_folder())) as ours:
            found["ConsensusLLM, kill -9"] = [
                await faults.outage(ours, ours.kill, ours.start_node, 0.7) for _ in range(plan.kills)
            ]
            found["ConsensusLLM, cut off"] = [
                await faults.outage(ours, ours.isolate, ours.heal, 1.2) for _ in range(plan.isolations)
            ]
        if pysyncobj.available():
            async with running(PySyncObj(self.new_folder(), "PySyncObj, best", BEST)) as peer:
                found["PySyncObj, kill -9"] = [
                    await faults.outage_of_pysyncobj(peer, 3.0) for _ in range(plan.peer_kills)
                ]
        if etcd.available():
            async with running(Etcd(self.new_folder())) as member:
                found["etcd, kill -9"] = [
                    await faults.outage(member, member.kill, member.start_node, 2.5) for _ in range(plan.peer_kills)
                ]

    async def recovery(self) -> None:
        self.say(f"recovery of a node that missed {self._plan.missed:,} operations")
        async with running(Ours(self.new_folder())) as ours:
            self.samples.catch_up = await recovery.catch_up(ours, self._plan.missed, 1.0)
            await ours.settled()
            restarted = self.samples.restart = await recovery.restart(ours)
            self.samples.weight = await recovery.weight(ours, restarted.node)

    async def startup(self) -> None:
        self.say("start-up and simulator")
        few = range(min(3, self._plan.starts))
        prompts = [await startup.prompt(self.new_folder()) for _ in range(self._plan.starts)]
        self.samples.startup = {
            "prompt_s": [seconds for seconds, _ in prompts],
            "empty_mb": [memory for _, memory in prompts],
            "first_command_s": [await startup.first_command(self.new_folder()) for _ in few],
            "slowest_key_ms": [1000 * await startup.slowest_key() for _ in few],
        }
        self.samples.simulator_runs_a_minute = await startup.simulator(self._plan.simulated)

    async def relay(self) -> None:
        self.say("relay")
        for _ in range(self._plan.rounds):
            for name, bare in (("ours", False), ("bare", True)):
                found = await relay.flood(bare, 200, self._plan.seconds)
                self.samples.relay.setdefault(name, []).append(found)

    async def growth(self) -> None:
        if not self._plan.marks:
            return
        for conversations, marks in ((1_000, self._plan.marks), (10, [100_000]), (100_000, [200_000])):
            self.say(f"growth, {conversations:,} conversations")
            async with running(Ours(self.new_folder())) as ours:
                self.samples.growth[str(conversations)] = await recovery.growth(ours, marks, conversations, 5.0)

    async def compare(self, other: Path) -> list[compare.Round]:
        rounds: list[compare.Round] = []
        seconds = max(self._plan.seconds, COMPARED_S)
        for number in range(self._plan.compared):
            self.say(f"comparison, round {number + 1} of {self._plan.compared}")
            old, new = [await measure(Ours(self.new_folder(), root), CASES, seconds) for root in (other, ROOT)]
            rounds.append((old, new))
        return rounds


async def main(arguments: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory(prefix="bench-", dir=arguments.disk) as folder:
        bench = Bench(arguments.kind, Path(folder))
        if arguments.against is not None:
            print(f"\n{compare.table(await bench.compare(arguments.against))}")
            return
        write(await bench.run(arguments.only), arguments.out, arguments.publish)


def write(samples: Samples, details: Path, publish: bool) -> None:
    """Every sample into `details`; medians, table and plots there, too, or among the documents."""
    details.mkdir(parents=True, exist_ok=True)
    (details / "samples.json").write_bytes(msgspec.json.encode(samples))
    out = PUBLISHED if publish else details
    results.write(results.condensed(samples), out / "results.json")
    found = results.read(out / "results.json")  # rounded, as whoever reads them finds them
    table = report.table(found)
    print(f"\n{table}")
    plots = plot.draw(found, out)
    if publish:
        report.publish(table, ROOT / "docs" / "PERFORMANCE.md")
    print(f"\nwritten to {out}: results.json {' '.join(plots)}; every sample is in {details / 'samples.json'}; "
          f"{found.took_s:.0f} s in all")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./run.sh bench", description="Benchmarks ConsensusLLM and its alternatives.")
    parser.set_defaults(kind="standard")
    parser.add_argument("--quick", action="store_const", const="quick", dest="kind",
                        help="a smoke test of the tool: one minute, imprecise")
    parser.add_argument("--full", action="store_const", const="full", dest="kind",
                        help="everything, up to a million operations; half an hour")
    parser.add_argument("--only", type=lambda parts: parts.split(","), default=list(PARTS), metavar="PART,...",
                        help=f"of {', '.join(PARTS)}")
    parser.add_argument("--against", type=lambda path: Path(path).resolve(), default=None, metavar="PATH",
                        help="measure only the load, and another checkout of ConsensusLLM beside this one")
    parser.add_argument("--out", type=Path, default=DETAILS, metavar="DIR",
                        help="where to write results and plots (default: bench/results)")
    parser.add_argument("--disk", default=None, metavar="DIR", help="where the systems write (default: as tempfile)")
    parser.add_argument("--publish", action="store_true", help="write to docs/performance and docs/PERFORMANCE.md")
    arguments = parser.parse_args()
    if unknown := set(arguments.only) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    if arguments.against is not None and not (arguments.against / "node.py").is_file():
        parser.error(f"no checkout: {arguments.against}")
    return arguments


if __name__ == "__main__":
    bytecode.keep()  # as a user's Python does
    uvloop.run(main(parse()))
