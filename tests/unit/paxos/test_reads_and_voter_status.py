"""Reads that write nothing, and who may vote."""

from __future__ import annotations

import pytest

from paxos.ballot import NOBODY, Ballot
from paxos.messages import Confirmed, Heartbeat
from paxos.output import VoterStatus
from paxos.reads import ReadIndex, Reads
from paxos.voter_status import Registration
from tests.unit.paxos.test_replica import row

LEADER, FIVE = (3, 1), (1, 2, 3, 4, 5)


def test_one_request_carries_all_reads_and_one_answer_serves_them() -> None:
    reads = Reads(life=7)
    first, second = reads.open(), reads.open()
    assert reads.outgoing(LEADER, 0.0, 1.0) == (7, second) and reads.outgoing(LEADER, 0.1, 1.0) is None
    later = reads.open()
    reads.placed((7, second), 4)
    assert reads.ready(3) == [] and reads.ready(4) == [first, second] and len(reads) == 1
    reads.placed((7, second), 9)
    assert reads.ready(99) == [], "the answer was asked for before the third was opened"
    reads.placed((7, later), 5)
    assert reads.ready(5) == [later] and reads.ready(5) == []


def test_a_read_is_asked_again_of_a_new_or_silent_leader_and_of_nobody_if_there_is_none() -> None:
    reads = Reads(life=7)
    assert reads.outgoing(LEADER, 0.0, 1.0) is None, "nothing to ask"
    ticket = reads.open()
    assert reads.outgoing(NOBODY, 0.0, 1.0) is None
    asked = [reads.outgoing(leader, now, 1.0) for leader, now in ((LEADER, 0.0), ((4, 2), 0.1), ((4, 2), 1.0))]
    assert asked == [(7, ticket), (7, ticket), None]
    assert reads.outgoing((4, 2), 1.2, 1.0) == (7, ticket)


def test_an_answer_to_an_earlier_life_places_nothing() -> None:
    """Its position may be older than what was acknowledged since."""
    reads = Reads(life=7)
    ticket = reads.open()
    reads.placed((6, ticket), 0)
    assert reads.ready(99) == []


def test_an_abandoned_read_is_never_answered_and_holds_nobody_up() -> None:
    reads = Reads(life=7)
    waiting, placed, stays = reads.open(), reads.open(), reads.open()
    reads.abandon(waiting)
    reads.placed((7, placed), 1)
    reads.abandon(placed)
    reads.placed((7, stays), 1)
    reads.abandon(99)
    assert reads.ready(1) == [stays] and len(reads) == 0


def test_a_round_serves_only_requests_that_came_before_it_began() -> None:
    rounds = ReadIndex(2, 0.0)
    assert not rounds.start(5, 0.0), "nobody asks"
    rounds.ask(2, (1, 1))
    rounds.ask(2, (1, 3))
    rounds.ask(2, (1, 2))
    assert rounds.start(5, 0.0)
    rounds.ask(3, (1, 9))
    assert not rounds.start(6, 0.0), "one at a time"
    ballot = Ballot(1, 1, 1)
    assert rounds.confirmed(1, Confirmed(ballot, 1)) == rounds.confirmed(1, Confirmed(ballot, 1)) == []
    assert rounds.confirmed(2, Confirmed(ballot, 1)) == [(2, (1, 3), 5)]
    assert rounds.start(6, 0.0) and rounds.confirmed(2, Confirmed(ballot, 1)) == []
    assert rounds.confirmed(1, Confirmed(ballot, 2)) == []
    assert rounds.confirmed(2, Confirmed(ballot, 2)) == [(3, (1, 9), 6)]


# ---- VoterStatus


def registration(standing: VoterStatus = VoterStatus.NEW, roster: dict[int, int] | None = None) -> Registration:
    return Registration(1, FIVE, 101, standing, roster or {})


def knows(*identities: tuple[int, int]) -> Heartbeat:
    return Heartbeat([], dict(identities), 0.0, {})


@pytest.mark.parametrize(("blank", "voters"), [(True, 2), (False, 3)])
def test_a_new_disk_votes_when_a_blank_founding_quorum_or_most_of_the_others_know_it(blank: bool, voters: int) -> None:
    new = registration()
    for count, peer in enumerate((2, 3, 4), 1):
        assert not new.votes
        new.heard(peer, knows((1, 101)), blank)
        new.heard(peer, knows((1, 101)), blank)
        assert new.admit() == (count == voters)
        if count == voters:
            break
    assert new.votes and not new.admit(), "once"


def test_a_known_number_on_another_disk_never_votes_again() -> None:
    new = registration()
    new.heard(2, knows((1, 999)), False)
    for peer in (3, 4, 5):
        new.heard(peer, knows((1, 101)), True)
    assert new.standing is VoterStatus.LEARNER and not new.admit() and not new.votes
    voter = registration(VoterStatus.VOTER)
    voter.heard(2, knows((1, 999)), False)
    assert not voter.votes


def test_who_does_not_know_it_yet_does_not_count() -> None:
    new = registration()
    for peer in (2, 3, 4, 5):
        new.heard(peer, knows((peer, 100 + peer)), True)
    assert not new.admit()


def test_a_roster_keeps_the_first_identity_of_each_number_and_no_strangers() -> None:
    """The first is the one that may have voted; a number that is not a member's means nothing."""
    node = registration()
    assert node.heard(2, knows((2, 102), (77, 7), (-1, 8)), False)
    assert not node.heard(2, knows((2, 222)), False), "nothing new to store"
    assert node.heard(3, Heartbeat([row(3, 1, ()), row(88, 1, ())], {}, 0.0, {}), False)
    assert node.roster == {1: 101, 2: 102, 3: 103}
