"""The swarm itself: some of it in every test run, and what one must be able to rely on when it finds something.

More of it: `python -m tests.simulation.swarm --runs 10000`.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections import Counter

import pytest

from tests.simulation.mutants import ROOT
from tests.simulation.plan import draw, dump, load
from tests.simulation.scenario import connected
from tests.simulation.swarm import many
from tests.simulation.trace import told
from tests.simulation.world import POINTS

QUICK_RUNS = 20
RUNS = 180
"""After those."""


def test_the_first_runs_find_nothing() -> None:
    for outcome in many(1, QUICK_RUNS, jobs=1):
        assert outcome.checker is None, f"python -m tests.simulation.replay {outcome.seed}: {outcome.complaint}"


@pytest.mark.slow
def test_a_swarm_of_runs_finds_nothing() -> None:
    faults: Counter[str] = Counter()
    decided = calls = 0
    for outcome in many(QUICK_RUNS + 1, RUNS, jobs=2):
        assert outcome.checker is None, f"python -m tests.simulation.replay {outcome.seed}: {outcome.complaint}"
        faults.update(outcome.faults)
        decided += outcome.decided
        calls += outcome.calls
    assert decided > 20 * RUNS
    assert calls > 20 * RUNS
    for kind in ("crash", "trap", "crash all", "wipe", "pause", "cut", "depose", "storm", "hint", "leave",
                 "failed commit"):
        assert faults[kind] > RUNS / 20, f"{kind} happened only {faults[kind]} times"
    for kind in ("changemembers", "restore", "swap", "stranger", "damaged", "upgrade", "hostile"):
        assert faults[kind] > RUNS / 50, f"{kind} happened only {faults[kind]} times"
    for point in POINTS:
        assert faults[f"died: {point}"], f"nobody ever died at: {point}"


@pytest.mark.parametrize("seed", [3, 14])
def test_equal_seeds_give_equal_runs(seed: int) -> None:
    """Also in another process, where sets and dicts of strings are ordered differently."""
    program = "import sys; from tests.simulation.test_swarm import fingerprint; print(fingerprint(int(sys.argv[1])))"
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    other = subprocess.run([sys.executable, "-c", program, str(seed)], cwd=ROOT, env=environment, check=True,
                           capture_output=True, text=True)
    assert other.stdout.strip() == fingerprint(seed)


def fingerprint(seed: int) -> str:
    return hashlib.sha256("\n".join(told(draw(seed), heartbeats=True)).encode()).hexdigest()


def test_a_plan_survives_being_written_down() -> None:
    for seed in range(50):
        assert load(dump(draw(seed))) == draw(seed)


@pytest.mark.slow
def test_a_failing_run_is_replayed_and_shrunk_to_a_short_trace() -> None:
    command = [sys.executable, "-m", "tests.simulation.replay", "2", "--mutant", "accepted-before-disk"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    lines = done.stdout.splitlines()
    assert lines[-1].startswith("NotDurable: ")
    assert any(" -> " in line and "Accepted" in line for line in lines)
    assert any("stored" in line for line in lines)
    assert any("'s disk: " in line for line in lines)
    assert len(lines) < 60


def test_connected_means_a_path_there_and_back() -> None:
    assert connected([1, 2, 3], set(), [], hub=1) == [1, 2, 3]
    assert connected([1, 2, 3], {(1, 3), (3, 1)}, [], hub=1) == [1, 2, 3]
    assert connected([1, 2, 3], {(1, 3), (2, 3)}, [], hub=1) == [1, 2]
    assert connected([1, 2, 3], set(), [3], hub=1) == [1, 2]
