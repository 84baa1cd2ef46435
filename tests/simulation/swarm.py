"""Many runs, each from its own seed: `python -m tests.simulation.swarm --runs 10000 [--first SEED] [--jobs 2]`."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator
from multiprocessing import Pool

import msgspec

from tests.simulation.plan import draw
from tests.simulation.scenario import Run, execute


class Outcome(msgspec.Struct):
    """What is kept of a run."""

    seed: int
    checker: str | None
    complaint: str
    virtual_s: float
    settled_s: float
    settled_share: float
    decided: int
    calls: int
    explored: int
    messages: int
    cpu_s: float
    faults: dict[str, int]


def one(seed: int) -> Outcome:
    begun = time.process_time()
    run: Run = execute(draw(seed))
    return Outcome(
        seed, run.checker, run.complaint, run.virtual_s, run.settled_s, run.settled_s / max(run.bound_s, 1.0),
        run.decided, run.calls, run.explored, run.messages, time.process_time() - begun, run.faults,
    )


def many(first: int, runs: int, jobs: int) -> Iterator[Outcome]:
    seeds = range(first, first + runs)
    if jobs == 1:
        yield from map(one, seeds)
        return
    with Pool(jobs) as pool:
        yield from pool.imap(one, seeds, chunksize=8)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--show", type=int, default=20)
    options = parser.parse_args()
    begun = time.monotonic()
    faults: Counter[str] = Counter()
    found: Counter[str] = Counter()
    totals: dict[str, float] = {}
    slowest: list[tuple[float, float, int]] = []
    for outcome in many(options.first, options.runs, options.jobs):
        faults.update(outcome.faults)
        for name in ("virtual_s", "decided", "calls", "cpu_s", "messages", "explored"):
            totals[name] = totals.get(name, 0) + getattr(outcome, name)
        slowest = sorted([*slowest, (outcome.settled_share, outcome.settled_s, outcome.seed)])[-8:]
        if outcome.checker is not None:
            found[outcome.checker] += 1
            if sum(found.values()) <= options.show:
                print(f"seed {outcome.seed}: {outcome.checker}: {outcome.complaint[:400]}", flush=True)
    seconds = time.monotonic() - begun
    print(f"{options.runs / seconds * 60:.0f} runs/min, {totals}, {seconds:.0f} s, slowest {slowest}")
    print(dict(faults))
    print(dict(found))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
