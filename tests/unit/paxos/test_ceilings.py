"""How far others may drive a node's numbers: as far as honest nodes need, and no further than can be lived with."""

from __future__ import annotations

from paxos.ballot import BOTTOM, Ballot
from paxos.bounds import MOST_COUNT
from paxos.ceilings import (
    INCARNATION_STEP,
    SEQ_NUM_STEP,
    USUAL_INCARNATION,
    USUAL_SEQ_NUM,
    YEAR_US,
    Ceiling,
    Ceilings,
)
from paxos.learner import INCARNATION_BITS
from paxos.messages import Accept, Confirm, Decide, Operation, Outranked, Prepare
from paxos.sessions import Sessions

YEAR_S = YEAR_US // 1_000_000


def test_a_ceiling_rises_by_a_step_a_second_however_often_it_is_pressed() -> None:
    ceiling = Ceiling(100, 10)
    assert ceiling.covers(100, 0.0) and not ceiling.covers(111, 0.0)
    assert ceiling.covers(110, 0.0), "an honest node that is a little above is believed when it says so again"
    pressed = sum(ceiling.covers(10**6, number / 100) for number in range(500))
    assert pressed == 0 and ceiling.covers(150, 5.0) and not ceiling.covers(161, 5.0)


def test_years_of_hostile_frames_do_not_reach_the_bound() -> None:
    assert USUAL_SEQ_NUM + SEQ_NUM_STEP * 30 * YEAR_S < MOST_COUNT
    assert USUAL_INCARNATION + INCARNATION_STEP * 2 * YEAR_S < MOST_COUNT


def test_honest_nodes_stay_below_the_ceilings() -> None:
    """A campaign in a hundredth of a second, for a century, seen by a node that knows of none; a clock of this decade,
    and what a node adds that was outlived by an earlier process of its own."""
    ceilings = Ceilings(BOTTOM, 0)
    assert ceilings.refusal(2, Prepare(Ballot(100 * 100 * YEAR_S, 2, 1)), 0.0) is None
    assert 2 * (1 << INCARNATION_BITS) < INCARNATION_STEP
    assert USUAL_INCARNATION > (2040 - 1970) * YEAR_US
    sessions = Sessions()
    assert sessions.admit(Operation(1, USUAL_INCARNATION, 1, b""))
    assert not sessions.admit(Operation(1, USUAL_INCARNATION + INCARNATION_STEP + 1, 1, b""))
    assert sessions.admit(Operation(1, USUAL_INCARNATION + (1 << INCARNATION_BITS) + 1, 1, b""))


def test_a_node_that_was_away_follows_where_others_were_driven() -> None:
    """It takes as many seconds as the hostile frames took."""
    driven = USUAL_SEQ_NUM + 5 * SEQ_NUM_STEP
    ceilings = Ceilings(BOTTOM, 0)
    refused = [ceilings.refusal(2, Prepare(Ballot(driven, 2, 1)), 0.1 * number) for number in range(60)]
    assert refused[0] is not None and refused[-1] is None and refused.index(None) <= 50
    assert Ceilings(Ballot(driven, 2, 0), 0).refusal(2, Prepare(Ballot(driven + 1, 2, 1)), 0.0) is None


def test_only_its_owner_speaks_for_a_leadership() -> None:
    ceilings, ballot = Ceilings(BOTTOM, 0), Ballot(4, 2, 1)
    for message in (Prepare(ballot), Accept(ballot, [], 0), Confirm(ballot, 1), Decide(ballot)):
        assert ceilings.refusal(2, message, 0.0) is None
        assert ceilings.refusal(3, message, 0.0) == f"a {type(message).__name__} in the name of node 2"
    assert ceilings.refusal(3, Outranked(Ballot(1, 1, 1), ballot), 0.0) is None
    assert ceilings.refusal(3, Outranked(ballot, Ballot(MOST_COUNT, 1, 1)), 0.0) is not None
