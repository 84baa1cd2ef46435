"""Many runs, each drawn from its own seed: `python -m tests.simulation.swarm --runs 10000 [--first SEED] [--jobs 2]`.

Prints what happened in them, and every violation with its seed for replay.py. The exit code is 1 if there was one.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator
from multiprocessing import Pool

import msgspec

from tests.simulation.plan import draw
from tests.simulation.scenario import execute

CHUNK = 8
"""Runs that one process takes at a time."""


class Outcome(msgspec.Struct):
    """What is kept of a run."""

    seed: int
    checker: str | None
    complaint: str
    virtual_s: float
    settled_s: float
    bound_s: float
    decided: int
    calls: int
    messages: int
    cpu_s: float
    faults: dict[str, int]


def one(seed: int) -> Outcome:
    begun = time.process_time()
    run = execute(draw(seed))
    return Outcome(
        seed, run.checker, run.complaint, run.virtual_s, run.settled_s, run.bound_s, run.decided, run.calls,
        run.messages, time.process_time() - begun, run.faults,
    )


def many(first: int, runs: int, jobs: int) -> Iterator[Outcome]:
    """The outcomes of so many seeds, in their order, from `jobs` processes."""
    seeds = range(first, first + runs)
    if jobs == 1:
        yield from map(one, seeds)
        return
    with Pool(jobs) as pool:
        yield from pool.imap(one, seeds, chunksize=CHUNK)


class Tally:
    """Adds up outcomes."""

    def __init__(self) -> None:
        self.runs = 0
        self.virtual_s = self.cpu_s = 0.0
        self.counts: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.violations: list[Outcome] = []
        self.slowest: Outcome | None = None
        """The run that came closest to its bound in the liveness phase."""

    def add(self, outcome: Outcome) -> None:
        self.runs += 1
        self.virtual_s += outcome.virtual_s
        self.cpu_s += outcome.cpu_s
        self.counts.update(operations=outcome.decided, calls=outcome.calls, messages=outcome.messages)
        self.faults.update(outcome.faults)
        if outcome.checker is not None:
            self.violations.append(outcome)
        elif self.slowest is None or self._share(outcome) > self._share(self.slowest):
            self.slowest = outcome

    def _share(self, outcome: Outcome) -> float:
        return outcome.settled_s / outcome.bound_s

    def report(self, seconds: float) -> Iterator[str]:
        minutes, hours = seconds / 60, self.virtual_s / 3600
        yield (f"{self.runs} runs in {seconds:.0f} s: {self.runs / minutes:.0f} a minute, {self.cpu_s / self.runs:.3f} "
               f"s of CPU each; {hours:.1f} virtual hours, {hours / minutes:.2f} a minute")
        yield ", ".join(f"{count} {name}" for name, count in self.counts.items())
        yield "faults: " + ", ".join(f"{count} {name}" for name, count in sorted(self.faults.items()))
        if self.slowest is not None:
            yield (f"slowest to converge: seed {self.slowest.seed}, {self.slowest.settled_s:.1f} virtual seconds after "
                   f"the last fault; its bound was {self.slowest.bound_s:.1f}")
        by_checker = Counter(outcome.checker for outcome in self.violations)
        yield "violations: " + (", ".join(f"{count} {name}" for name, count in by_checker.items()) or "none")


def main() -> int:
    parser = argparse.ArgumentParser(description="Runs the swarm.")
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--first", type=int, default=1, metavar="SEED")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    options = parser.parse_args()
    tally = Tally()
    begun = time.monotonic()
    for outcome in many(options.first, options.runs, options.jobs):
        tally.add(outcome)
        if outcome.checker is not None:
            print(f"seed {outcome.seed}: {outcome.checker}: {outcome.complaint}", flush=True)
        if tally.runs % 1000 == 0 and tally.runs < options.runs:
            print(f"{tally.runs} runs, {len(tally.violations)} violations", file=sys.stderr)
    print(*tally.report(time.monotonic() - begun), sep="\n")
    return 1 if tally.violations else 0


if __name__ == "__main__":
    sys.exit(main())
