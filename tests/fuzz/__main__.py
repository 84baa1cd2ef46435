"""Looks for inputs that break something: python -m tests.fuzz [TIME] [TARGET...], or --replay FILE.

Targets take turns, as many at once as there are cores. Exit codes: 0 nothing found, 1 faults found, 2 wrong command
line, 130 interrupted.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import SystemRandom
from typing import NamedTuple

import msgspec

from tests.cluster.torture import duration
from tests.fuzz.registry import load, names
from tests.fuzz.worker import Fault, Report

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".fuzz"
_LEAST_S = 5
_COVERED = re.compile(r"\bcov: (\d+)")
_PASSED_OVER_S = 300
"""A process that is not done so long after its time has hung. (Others may need the CPU, too.)"""


class Found(NamedTuple):
    name: str
    inputs: int
    covered: tuple[int, int] | None
    """At the beginning, and at the end; None without guidance."""
    faults: list[Fault]

    def __str__(self) -> str:
        covered = "" if self.covered is None else f", coverage {self.covered[0]:,} -> {self.covered[1]:,}"
        faults = f"{len(self.faults)} fault{'' if len(self.faults) == 1 else 's'}"
        lines = [f"{self.name:<14} {self.inputs:>11,} inputs{covered}, {faults}"]
        for fault in self.faults:
            lines += [f"  {fault.what} ({fault.times} times)", f"    ./run.sh fuzz --replay {fault.file}"]
        return "\n".join(lines)


class Processes:
    """Runs workers, until it is stopped."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[str]] = set()
        self.stopped = False

    def run(self, command: Sequence[str], within: float) -> tuple[str, int]:
        """What it wrote to stderr, and its exit code."""
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace", cwd=ROOT,
            start_new_session=True,  # Ctrl-C is for the process that asks, which then stops them all
        )
        self._running.add(process)
        if self.stopped:
            process.kill()
        try:
            return process.communicate(timeout=within)[1], process.returncode
        except subprocess.TimeoutExpired:
            process.kill()
            return f"{process.communicate()[1]}\nit hung", process.returncode
        finally:
            self._running.discard(process)

    def stop(self) -> None:
        self.stopped = True
        for process in [*self._running]:
            process.kill()


def fuzz(name: str, seconds: int, seed: int, folder: Path, processes: Processes) -> Found:
    """One process after another until the time is up: an input may take a process with it."""
    inputs, covered, faults = 0, list[int](), dict[str, Fault]()
    ends = time.monotonic() + seconds
    while (left := round(ends - time.monotonic())) > 0 and not processes.stopped:
        known = {path.name for path in (folder / name / "faults").glob("*")}
        (folder / name / "report.json").unlink(missing_ok=True)
        command = [sys.executable, "-m", "tests.fuzz.worker", name, str(left), str(seed), str(folder)]
        output, code = processes.run(command, left + _PASSED_OVER_S)
        report = _report(folder / name / "report.json")
        inputs += report.inputs
        covered += map(int, _COVERED.findall(output))
        for place, fault in report.faults.items():
            fault.times += faults[place].times if place in faults else 0
            faults[place] = fault
        if code == 0 or processes.stopped:
            break
        new = [path for path in (folder / name / "faults").glob("*-*") if path.name not in known]
        for path in new:
            faults[path.name] = Fault(f"{path.name.partition('-')[0]}: {_last_line(output)}", str(path))
        if not new:
            faults["the process"] = Fault(f"the process ended with {code}: {_last_line(output)}", str(folder / name))
            break
        seed += 1
    return Found(name, inputs, (covered[0], covered[-1]) if covered else None, list(faults.values()))


def _report(path: Path) -> Report:
    return msgspec.json.decode(path.read_bytes(), type=Report) if path.exists() else Report()


def _last_line(output: str) -> str:
    return next((line for line in reversed(output.splitlines()) if line.strip()), "")[:200]


def run(chosen: Sequence[str], seconds: float, seed: int, folder: Path) -> Iterator[Found]:
    """In the order of their names."""
    cores = os.cpu_count() or 1
    each = max(_LEAST_S, round(seconds * min(cores, len(chosen)) / len(chosen)))
    processes = Processes()
    with ThreadPoolExecutor(cores) as pool:
        try:
            yield from pool.map(lambda name: fuzz(name, each, seed, folder, processes), chosen)
        finally:
            processes.stop()


def replay(path: Path) -> int:
    """What is wrong with the input is raised."""
    name = next((part for part in reversed(path.resolve().parts[:-1]) if part in names()), None)
    if name is None or not path.is_file():
        print(f"fuzz: {path} is no file in a folder with the name of a target", file=sys.stderr)
        return 2
    load(name).try_out(path.read_bytes())
    print(f"{name}: nothing is wrong with this input")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="./run.sh fuzz", description="Look for inputs that break something.",
        epilog=f"targets: {', '.join(names())}. example: ./run.sh fuzz 10m config frames",
    )
    parser.add_argument("time", nargs="?", type=duration, default=60.0, help="for all together: 30s, 10m; default 60s")
    parser.add_argument("target", nargs="*", help="default: all")
    parser.add_argument("--seed", type=int, help="of an earlier run")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="try the input of a fault, and show what happens")
    args = parser.parse_args()
    if args.replay is not None:
        return replay(args.replay)
    unknown = sorted(set(args.target) - set(names()))
    if unknown:
        parser.error(f"there is no target {', '.join(unknown)}; there are {', '.join(names())}")
    seed = SystemRandom().randrange(1, 2**31) if args.seed is None else args.seed
    guided = importlib.util.find_spec("atheris") is not None
    print(f"seed {seed}, {'guided by coverage' if guided else 'at random, as atheris is not installed'}, files in "
          f"{FOLDER}", flush=True)
    found = []
    try:
        for one in run(args.target or names(), args.time, seed, FOLDER):
            found.append(one)
            print(one, flush=True)
    except KeyboardInterrupt:
        return 130
    faults = sum(len(one.faults) for one in found)
    print(f"{sum(one.inputs for one in found):,} inputs, {faults} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
