"""A short attack on real processes; `./run.sh torture 10m` is a long one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.etcd_members import needs_etcd
from tests.cluster.fault_plan import KINDS, draw_plan
from tests.cluster.judgement import waits
from tests.cluster.torture import ETCD, Outcome, attack
from tests.simulation.history import Args, Call, Result

SECONDS = 20.0
ETCD_SECONDS = 12.0
SEED = 4


def test_a_seed_draws_the_same_faults_again_and_two_minutes_have_all_of_them() -> None:
    plan = draw_plan(7, 120)
    assert plan == draw_plan(7, 120) != draw_plan(8, 120)
    assert {fault.kind for fault in plan} == {*KINDS}
    assert all(fault.at + fault.seconds <= 120 for fault in plan)


def test_times_without_answers_are_told() -> None:
    def call(begin: float, end: float | None, stale: bool = False) -> Call:
        result = None if end is None else Result(False, "unknown", stale=stale)
        return Call("n1", "view", Args("c"), begin, end, result)

    waited = waits([call(10, 10.5), call(10.6, 13, stale=True), call(11, 14), call(12, None)])
    assert waited.windows == [(10.5, 14)]
    assert (waited.longest, waited.began, waited.ended) == (3.0, 10, 14)


@needs_etcd
def test_on_etcd_nothing_acknowledged_is_lost_and_histories_are_linearizable(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _attacked(lambda seed, folder: attack(seed, ETCD_SECONDS, folder, ETCD), tmp_path, capsys)


def test_under_attack_nothing_acknowledged_is_lost_and_histories_are_linearizable(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _attacked(lambda seed, folder: attack(seed, SECONDS, folder), tmp_path, capsys, "retry")


def _attacked(
    begin: Callable[[int, Path], Coroutine[Any, Any, Outcome]], folder: Path, capsys: pytest.CaptureFixture[str],
    *ops: str,
) -> None:
    """No attack may find a problem; on a busy machine one may achieve too little to tell, and is repeated. `ops` must
    occur besides."""
    for seed in range(SEED, SEED + 3):
        outcome = asyncio.run(begin(seed, folder / f"run-{seed}"))
        with capsys.disabled():
            print(f"\n{outcome}")
        assert not outcome.problems, outcome.folder
        done = sum(outcome.counts[op] for op in ("create", "query", "choose", "view"))
        if len(outcome.injected) > 4 and done > 100 and all(outcome.counts[op] for op in ops):
            return
    pytest.fail("three attacks achieved too little")
