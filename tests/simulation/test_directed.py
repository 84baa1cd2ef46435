"""Every scene of directed.py passes on the unmodified core, with all checkers.

test_mutants.py shows that each makes a checker report its mutants. So the scenes of the `found-...`
mutants are the regression tests for the bugs that were found in the core.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from paxos.messages import Accept, Heartbeat
from tests.simulation import stage as stage_module
from tests.simulation.directed import MORE, STORIES
from tests.simulation.mutants import MUTANTS
from tests.simulation.stage import OffStage, Overdue, Stage, Stale

SEEDS = 2
"""How often each scene is run, with different seeds."""


@pytest.mark.parametrize("story", dict.fromkeys((*STORIES.values(), *MORE)), ids=lambda story: story.__name__)
def test_the_core_as_it_is(story: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """No scene depends on one lucky seed."""
    for seed in range(1, SEEDS + 1):
        monkeypatch.setattr(stage_module, "SEED", seed)
        story()


def test_stories_are_told_of_mutants_that_there_are() -> None:
    assert set(STORIES) <= set(MUTANTS)
    assert {name for name in MUTANTS if name.startswith("found-")} <= set(STORIES)


def test_a_story_that_gets_nowhere_says_so() -> None:
    stage = Stage(3)
    with pytest.raises(OffStage, match="still waiting"):
        stage.until(lambda: False, within=0.1)
    with pytest.raises(Overdue, match="something"):
        stage.expect("something", lambda: False, within=0.1)


def test_a_read_must_show_what_the_story_says() -> None:
    stage = Stage(3)
    with pytest.raises(Stale):
        stage.read(stage.leader, shows="what-nobody-created")
        stage.run(0.1)


def test_messages_are_lost_and_held_and_handed_over() -> None:
    stage = Stage(3)
    leader = stage.leader
    one, other = stage.others(leader)
    stage.lose(Accept, to=one)
    stage.hold(Accept, to=other)
    stage.create(leader, "a")
    stage.run(0.1)
    assert not stage.told and {sent.to for sent in stage.held} == {other.pid}
    stage.hold(Heartbeat, to=one)
    stage.run(0.3)
    stage.release(Accept, first=1)
    stage.run(0.05)
    assert stage.told == {"a"}
    assert any(isinstance(sent.message, Heartbeat) for sent in stage.held)
    stage.end()
