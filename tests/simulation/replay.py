"""Replays one run: `python -m tests.simulation.replay SEED [--mutant NAME]`.

A failing run is first shrunk to few events; then it is printed: faults, messages and their times,
disk writes, applied operations, and the content of the disks at the end. `--whole` prints the original run.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.simulation.mutants import infect


def main() -> int:
    parser = argparse.ArgumentParser(description="Replays one run of the swarm and prints a trace.")
    parser.add_argument("seed", type=int, nargs="?", default=1)
    parser.add_argument("--mutant", help="apply this mutant to the core first")
    parser.add_argument("--plan", type=Path, help="a plan's file instead of a seed")
    parser.add_argument("--save", type=Path, help="where to write the (shrunk) plan")
    parser.add_argument("--whole", action="store_true", help="don't shrink")
    parser.add_argument("--heartbeats", action="store_true", help="show them too")
    parser.add_argument("--budget", type=int, default=600, help="runs to spend on shrinking")
    options = parser.parse_args()
    if options.mutant:
        infect(options.mutant)
    return replay(options)


def replay(options: argparse.Namespace) -> int:
    # Only now, as these load the core: with the mutant, if there is one.
    from tests.simulation.plan import draw, dump, load
    from tests.simulation.scenario import execute
    from tests.simulation.shrink import Shrinker
    from tests.simulation.trace import told

    plan = load(options.plan.read_bytes()) if options.plan else draw(options.seed)
    run = execute(plan)
    if run.checker is not None and not options.whole:
        run = Shrinker(plan, options.budget, lambda text: print(text, file=sys.stderr)).shrink()
    if options.save:
        options.save.write_bytes(dump(run.plan))
    for line in told(run.plan, options.heartbeats):
        print(line)
    return 1 if run.checker else 0


if __name__ == "__main__":
    sys.exit(main())
