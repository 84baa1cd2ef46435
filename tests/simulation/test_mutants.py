"""Each bug in mutants.txt is caught: by its scene, or by the first runs of the swarm. `python -m
tests.simulation.mutants` prints by which, and which checker saw it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.simulation import scenes_etcd
from tests.simulation.directed import STORIES
from tests.simulation.mutants import MUTANTS, RUNS, hunt, parse, patched


def test_there_are_enough_mutants_and_each_fits() -> None:
    assert len(MUTANTS) >= 75
    for mutant in MUTANTS.values():
        for path, source in patched(mutant).items():
            compile(source, path, "exec")


def _cases() -> Iterator[object]:
    """Those that only the swarm finds take long."""
    for name in MUTANTS:
        quick = name in STORIES or name in scenes_etcd.STORIES
        yield pytest.param(name, marks=() if quick else pytest.mark.slow)


@pytest.mark.parametrize("name", _cases())
def test_it_is_caught(name: str) -> None:
    caught = hunt(name)
    assert caught is not None, f"neither its story nor {RUNS} runs catch it: {MUTANTS[name].mistake}"
    print(f"{name}: {caught.checker}, {caught.how}: {caught.complaint}")


def test_a_patch_must_fit_exactly_once() -> None:
    nowhere = next(parse("== nowhere\nA sentence.\n@@ paxos/log.py\n-there is no such line\n"))
    twice = next(parse("== twice\nA sentence.\n@@ paxos/log.py\n-\n"))
    for mutant in (nowhere, twice):
        with pytest.raises(ValueError, match="fits"):
            patched(mutant)
