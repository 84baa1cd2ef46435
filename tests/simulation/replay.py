"""Replays one run of the swarm with a readable trace: `python -m tests.simulation.replay SEED [--mutant NAME]`."""

from __future__ import annotations

import argparse
import sys

from tests.simulation.plan import draw
from tests.simulation.scenario import execute
from tests.simulation.trace import Trace


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("seed", type=int)
    options = parser.parse_args()
    plan = draw(options.seed)
    trace = Trace()
    print(plan)
    run = execute(plan, trace)
    print(f"{run.checker}: {run.complaint}")
    return 1 if run.checker else 0


if __name__ == "__main__":
    sys.exit(main())
