"""Reads without log entries, and voter status."""

from __future__ import annotations

import pytest

from paxos.ballot import NOBODY, Ballot
from paxos.effects import Effects
from paxos.messages import Confirmed, Heartbeat
from paxos.output import Durable, Persist, VoterStatus
from paxos.reads import ReadIndex, Reads
from paxos.voter_registry import VoterRegistry
from tests.unit.paxos.test_replica import state

LEADER, FIVE = (3, 1), (1, 2, 3, 4, 5)


def test_one_request_carries_all_reads_and_one_answer_serves_them() -> None:
    reads = Reads(incarnation=7)
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
    reads = Reads(incarnation=7)
    assert reads.outgoing(LEADER, 0.0, 1.0) is None, "nothing to ask"
    ticket = reads.open()
    assert reads.outgoing(NOBODY, 0.0, 1.0) is None
    asked = [reads.outgoing(leader, now, 1.0) for leader, now in ((LEADER, 0.0), ((4, 2), 0.1), ((4, 2), 1.0))]
    assert asked == [(7, ticket), (7, ticket), None]
    assert reads.outgoing((4, 2), 1.2, 1.0) == (7, ticket)


def test_a_read_that_waits_for_what_is_never_decided_is_asked_again() -> None:
    """A leader may have named a position far beyond the log. Of two answers the lower one is enough."""
    reads = Reads(incarnation=7)
    first = reads.open()
    assert reads.outgoing(LEADER, 0.0, 1.0) == (7, first)
    reads.placed((7, first), 2**40)
    assert reads.outgoing(LEADER, 0.5, 1.0) is None
    assert reads.outgoing((4, 2), 0.6, 1.0) == (7, first), "of a new leader at once"
    second = reads.open()
    assert reads.outgoing((4, 2), 0.7, 1.0) == (7, second)
    reads.placed((7, second), 2**50)
    assert reads.outgoing((4, 2), 2.0, 1.0) == (7, second), "of the same one after a while"
    reads.placed((7, first), 5)
    assert reads.ready(5) == [first]
    reads.placed((7, second), 6)
    assert reads.ready(6) == [second] and reads.outgoing((4, 2), 9.0, 1.0) is None


def test_an_answer_to_an_earlier_incarnation_places_nothing() -> None:
    """Its position may be older than what was acknowledged since."""
    reads = Reads(incarnation=7)
    ticket = reads.open()
    reads.placed((6, ticket), 0)
    assert reads.ready(99) == []


def test_an_abandoned_read_is_never_answered_and_holds_nobody_up() -> None:
    reads = Reads(incarnation=7)
    waiting, placed, stays = reads.open(), reads.open(), reads.open()
    reads.abandon(waiting)
    reads.placed((7, placed), 1)
    reads.abandon(placed)
    reads.placed((7, stays), 1)
    reads.abandon(99)
    assert reads.ready(1) == [stays] and len(reads) == 0


def test_a_round_serves_only_requests_that_came_before_it_began() -> None:
    index = ReadIndex(2)
    assert not index.start(5, 0.0), "nobody asks"
    index.ask(2, (1, 1))
    index.ask(2, (1, 3))
    index.ask(2, (1, 2))
    assert index.start(5, 0.0)
    index.ask(3, (1, 9))
    assert not index.start(6, 0.0), "one at a time"
    ballot = Ballot(1, 1, 1)
    assert index.confirmed(1, Confirmed(ballot, 1)) == index.confirmed(1, Confirmed(ballot, 1)) == []
    assert index.confirmed(2, Confirmed(ballot, 1)) == [(2, (1, 3), 5)]
    assert index.start(6, 0.0) and index.confirmed(2, Confirmed(ballot, 1)) == []
    assert index.confirmed(1, Confirmed(ballot, 2)) == []
    assert index.confirmed(2, Confirmed(ballot, 2)) == [(3, (1, 9), 6)]


# ---- Voters


class Registry(VoterRegistry):
    """Of node 1 of five, whose disk has identity 101."""

    def __init__(self, voter_status: VoterStatus = VoterStatus.NEW) -> None:
        self.effects = Effects(1)
        super().__init__(1, FIVE, Durable(101, 1, voter_status), self.effects)
        self.effects.take()

    def hears(self, sender: int, *identities: tuple[int, int], blank: bool = False) -> Persist:
        """Peer `sender` remembers these identities; what is stored of that."""
        said = Heartbeat([state(sender, 1, (), blank=blank)], dict(identities), 0.0, {})
        self.heard(sender, said)
        return self.effects.take().persist or Persist()


@pytest.mark.parametrize(("blank", "voters"), [(True, 2), (False, 3)])
def test_a_new_disk_votes_when_a_blank_founding_quorum_or_most_of_the_others_know_it(blank: bool, voters: int) -> None:
    new = Registry()
    for count, peer in enumerate((2, 3, 4), 1):
        assert not new.votes
        statuses = [new.hears(peer, (1, 101), blank=blank).voter_status for _ in range(2)]
        assert statuses == ([VoterStatus.VOTER, None] if count == voters else [None, None]), "stored once"
        if count == voters:
            break
    assert new.votes


def test_a_known_number_on_another_disk_never_votes_again() -> None:
    new = Registry()
    assert new.hears(2, (1, 999)).voter_status is VoterStatus.LEARNER
    for peer in (3, 4, 5):
        assert new.hears(peer, (1, 101), blank=True).voter_status is None
    assert new.voter_status is VoterStatus.LEARNER and not new.votes


def test_an_established_voter_is_demoted_only_by_most_of_the_others() -> None:
    """One that is wrong, or of another cluster, must not stop a node."""
    voter = Registry(VoterStatus.VOTER)
    assert voter.hears(2, (1, 999)).voter_status is None
    assert voter.hears(3, (1, 101)).voter_status is None
    assert voter.hears(4, (1, 999)).voter_status is None and voter.votes
    assert voter.hears(5, (1, 999)).voter_status is VoterStatus.LEARNER and not voter.votes


def test_a_node_that_does_not_know_it_yet_does_not_count() -> None:
    new = Registry()
    for peer in (2, 3, 4, 5):
        new.hears(peer, (peer, 100 + peer), blank=True)
    assert not new.votes


def test_a_node_that_is_not_among_the_founders_founds_nothing() -> None:
    """One is started to join a cluster of one, of which it has not heard yet."""
    effects = Effects(2)
    joining = VoterRegistry(2, (1,), Durable(102, 1, VoterStatus.NEW), effects)
    joining.heard(1, Heartbeat([state(1, 1, (), blank=True)], {1: 101, 2: 102}, 0.0, {}))
    assert joining.voter_status is VoterStatus.NEW and not joining.votes


def test_a_roster_keeps_the_first_identity_of_each_number_and_no_strangers() -> None:
    """The first identity is the one that may have voted; a number of a non-member is ignored."""
    node = Registry()
    assert node.hears(2, (2, 102), (77, 7), (-1, 8)).roster == {1: 101, 2: 102}
    assert node.hears(2, (2, 222)).roster is None, "nothing new to store"
    node.heard(3, Heartbeat([state(3, 1, ()), state(88, 1, ())], {}, 0.0, {}))
    assert node.roster == {1: 101, 2: 102, 3: 103}
