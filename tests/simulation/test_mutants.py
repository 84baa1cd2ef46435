"""Each bug in mutants.txt is caught: by its scene, or by the first runs of the swarm. `python -m
tests.simulation.mutants` prints by which, and which checker saw it."""

from __future__ import annotations

import pytest

from tests.simulation import scenes_etcd
from tests.simulation.directed import STORIES
from tests.simulation.in_place import replaceable
from tests.simulation.mutants import MUTANTS, RUNS, hunt, hunt_forked, hunt_loading, parse, patched


def test_there_are_enough_mutants_and_each_fits() -> None:
    assert len(MUTANTS) >= 75
    for mutant in MUTANTS.values():
        for path, source in patched(mutant).items():
            compile(source, path, "exec")


CASES = [
    pytest.param(name, marks=() if name in STORIES or name in scenes_etcd.STORIES else pytest.mark.slow)
    for name in MUTANTS
]
"""Those that only the swarm finds take long."""


@pytest.mark.parametrize("name", CASES)
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


@pytest.mark.parametrize("name", ["learned-without-watermark", "etcd-reads-at-once"])
def test_replaced_in_a_fork_it_is_caught_as_it_is_loaded_anew(name: str) -> None:
    forked, loaded = hunt_forked(name, 1, swarm=False), hunt_loading(name, 1, swarm=False)
    assert forked is not None and loaded is not None
    assert forked[:2] == loaded[:2]


MODULE = """
LIMIT = 3

class Log:
    size: int = 4

    def last(self, upto=5):
        return min([each for each in range(6)], key=lambda each: each)

    keys = tuple(each for each in range(7))
    key = lambda each: 8

def guarded(step):
    def run(*arguments):
        return step(*arguments, 2)
    return run
"""


@pytest.mark.parametrize("number", [2, 3, 4, 5, 6, 7, 8])
def test_only_what_a_body_says_is_replaced_in_what_is_loaded(number: int) -> None:
    assert replaceable(MODULE, MODULE.replace(str(number), "9")) is (number == 6)


def test_a_fork_that_fails_says_why() -> None:
    with pytest.raises(RuntimeError, match="KeyError: 'unheard-of'"):
        hunt_forked("unheard-of", 1, swarm=False)
