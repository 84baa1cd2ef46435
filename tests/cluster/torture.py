"""Injects faults into a cluster of real processes: python -m tests.cluster.torture [TIME] [--seed N]

Fifteen users work on several conversations at once, at all nodes, while nodes, links, disks and the network itself
fail as drawn from a seed. In the end everything must have converged, nothing acknowledged may be missing, and the
history of users' results must be linearizable. If not, the exit code is 1, and the history and the logs are kept.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import SystemRandom

import msgspec

from tests.cluster.etcd_torture import EtcdFleet, EtcdNemesis
from tests.cluster.etcd_torture import kinds as etcd_kinds
from tests.cluster.fault_plan import KINDS, Fault, draw_plan
from tests.cluster.fleet import START_S, Fleet
from tests.cluster.full_disk import SmallDisk
from tests.cluster.judgement import SETTLE_S, linearizable, settled, waits
from tests.cluster.nemesis import Nemesis
from tests.cluster.workers import Crowd
from tests.simulation.history import Call, dump

CALM_AT_THE_END_S = 2.0
"""How long users continue without any fault."""
SMALL_DISK_NODE = 3
PAXOS, ETCD = "paxos", "etcd"
"""Engines."""

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600}


class Outcome(msgspec.Struct):
    """The report of a run. `problems` is empty if everything held."""

    seed: int
    injected: Counter[str]
    left_out: Counter[str]
    counts: Counter[str]
    history: list[Call]
    faults: list[tuple[float, float, Fault]]
    problems: list[str]
    folder: Path
    verdict: str = "not judged"

    def __str__(self) -> str:
        waited = waits(self.history)
        stale = self.counts["stale"]
        done = {name: n for name, n in sorted(self.counts.items()) if name not in ("stale", "busy", "unanswered")}
        windows, whole = waited.windows, waited.ended - waited.began
        away = sum(end - begin for begin, end in windows)
        lines = [
            f"faults: {sum(self.injected.values())} ({_listed(self.injected)})",
            f"skipped because their victims were down: {_listed(self.left_out) or 'none'}",
            f"operations answered: {sum(done.values())} ({_listed(done)})",
            f"of these, views marked as possibly stale: {stale}; also: {self.counts['unanswered']} never answered "
            f"(their node died), {self.counts['busy']} refused as busy",
            f"longest wait: {waited.longest:.2f} s"
            + (f" ({waited.longest_call.op} at {waited.longest_call.process})" if waited.longest_call else ""),
            f"no answer anywhere for over a second: {len(windows)} times, {away:.1f} of {whole:.1f} s"
            + "".join(f"\n  {b - a:6.2f} s from {a - waited.began:.1f} s on: {self._during(a, b)}" for a, b in windows),
            f"linearizable: {self.verdict}",
            *(f"PROBLEM: {problem}" for problem in self.problems),
            f"verdict: {'FAILED' if self.problems else 'ok'}, seed {self.seed}",
        ]
        return "\n".join(lines)

    def _during(self, begin: float, end: float) -> str:
        """The faults injected during the run."""
        return ", ".join(fault.kind for a, b, fault in self.faults if a < end and begin < b) or "no fault"


async def attack(seed: int, seconds: float, folder: Path, engine: str = PAXOS, members: int = 3) -> Outcome:
    """One run, with nodes on this engine; etcd has so many members. Leaves its files in the folder."""
    fleet: Fleet
    small: SmallDisk | None = None
    kinds = KINDS
    if engine == ETCD:
        fleet = on_etcd = EtcdFleet(folder, members)
        kinds = etcd_kinds(on_etcd.etcd.numbers)
        nemesis: Nemesis = EtcdNemesis(on_etcd)
    else:
        fleet = Fleet(folder)
        small = SmallDisk.mount(fleet.members[SMALL_DISK_NODE].data)
        nemesis = Nemesis(fleet, small, SMALL_DISK_NODE)
    crowd = Crowd(fleet, seed)
    plan = draw_plan(seed, seconds, kinds)
    (folder / "plan.txt").write_text("".join(f"{fault}\n" for fault in plan))
    try:
        await fleet.start()
        problems = await _run(fleet, nemesis, crowd, plan, seconds)
        problems += fleet.problems + _tracebacks(folder)
    finally:
        await fleet.close()
        (folder / "faults.txt").write_text("".join(f"{a:.3f} to {b:.3f}: {fault}\n" for a, b, fault in nemesis.faults))
        dump(crowd.history(), folder / "history.jsonl")
        if small is not None:
            small.unmount()
    outcome = Outcome(
        seed, nemesis.injected, nemesis.left_out, crowd.counts, crowd.history(), nemesis.faults, problems, folder
    )
    verdict = await asyncio.to_thread(linearizable, outcome.history)
    outcome.verdict = str(verdict)
    if not verdict.ok:
        problems.append(f"the history is not proven to be linearizable ({verdict.answer})")
    return outcome


async def _run(fleet: Fleet, nemesis: Nemesis, crowd: Crowd, plan: Sequence[Fault], seconds: float) -> list[str]:
    """Problems that showed while it ran, and when the faults had stopped."""
    began = time.monotonic()
    working = asyncio.ensure_future(crowd.run())
    attacking = asyncio.ensure_future(nemesis.run(plan))
    try:
        await asyncio.wait([working, attacking], return_when=asyncio.FIRST_COMPLETED)
        await attacking
        await asyncio.sleep(began + seconds - time.monotonic())
        await nemesis.stop()
        await asyncio.sleep(CALM_AT_THE_END_S)
        crowd.stopping.set()
        finished, _ = await asyncio.wait([working], timeout=SETTLE_S)
        if not finished:
            open_calls = [str(call) for call in crowd.history() if call.is_open and call.invoked_at > began][-20:]
            return [f"not all users were answered within {SETTLE_S:g} s after the last fault; open: {open_calls}"]
        working.result()
        return await settled(fleet, crowd)
    finally:
        for task in (working, attacking):
            task.cancel()
        await asyncio.wait([working, attacking], timeout=START_S)


def _tracebacks(folder: Path) -> list[str]:
    return [
        f"{path.name} holds a traceback: {text[text.index('Traceback'):][-600:]}"
        for path in sorted(folder.glob("*.err")) if "Traceback" in (text := path.read_text(errors="replace"))
    ]  # fmt: skip


def _listed(counts: dict[str, int] | Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))


def duration(word: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", word)
    if match is None:
        raise argparse.ArgumentTypeError(f"'{word}' is not a duration like 30s, 10m or 1h")
    return float(match.group(1)) * _UNITS[match.group(2)]


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="./run.sh torture", description="Inject faults into a running cluster of real processes.",
        epilog="example: ./run.sh torture 10m --seed 7    exit codes: 0 everything held, 1 something did not",
    )
    parser.add_argument("time", nargs="?", type=duration, default=60.0, help="30s, 10m, 1h; default 60s")
    parser.add_argument("--seed", type=int, help="of an earlier run, to repeat its faults (their effects will differ)")
    parser.add_argument("--engine", choices=(PAXOS, ETCD), default=PAXOS, help="what the nodes run on")
    parser.add_argument("--members", type=int, choices=(3, 5), default=3, help="of etcd; default 3")
    parser.add_argument("--keep", action="store_true", help="keep the history and the logs even of a successful run")
    args = parser.parse_args()
    seed = SystemRandom().randrange(10**6) if args.seed is None else args.seed
    folder = Path(tempfile.mkdtemp(prefix="torture-"))
    print(f"seed {seed}, {args.time:g} s, files in {folder}", flush=True)
    try:
        outcome = asyncio.run(attack(seed, args.time, folder, args.engine, args.members))
    except KeyboardInterrupt:
        return 130
    print(outcome)
    if outcome.problems or args.keep:
        print(f"history and logs: {folder}")
    else:
        shutil.rmtree(folder)
    return 1 if outcome.problems else 0


if __name__ == "__main__":
    sys.exit(main())
