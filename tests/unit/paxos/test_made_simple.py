"""What Lamport's *Paxos Made Simple* (2001) requires, claim by claim. His "proposal number" is a leadership here, his
"instance" a position, his "chosen" is "decided"."""

from __future__ import annotations

from itertools import combinations

import pytest

from kvstore.operations import Create
from paxos.acceptor import Acceptor
from paxos.ballot import NOBODY, Ballot, Leadership, ballot
from paxos.candidate import Candidate, Inheritance
from paxos.leader import Leader
from paxos.limits import Limits
from paxos.log import Log
from paxos.messages import NOOP, Accept, Accepted, AnyMessage, Entry, Operation, Outranked, Prepare, Promise
from paxos.sessions import Sessions
from tests.simulation.world import Node, Observer, World
from tests.unit.paxos.roles import acceptor, answer

LIMITS = Limits()
NUMBERS: list[Leadership] = [(1, 1), (1, 2), (2, 1), (2, 2)]
V, W = Operation(1, 1, 1, b"v"), Operation(2, 1, 1, b"w")
TRIO = (1, 2, 3)


def acceptors() -> dict[int, Acceptor]:
    return {pid: acceptor() for pid in TRIO}


def phase_1(number: Leadership, quorum: tuple[int, ...], cluster: dict[int, Acceptor]) -> Inheritance:
    candidate = Candidate(ballot(number, 1), 2, LIMITS, 0.0)
    inheritance = None
    for pid in quorum:
        reply, _ = answer(cluster[pid], Prepare(candidate.ballot))
        assert isinstance(reply, Promise)
        inheritance = candidate.promised(pid, reply)
    assert inheritance is not None
    return inheritance


def leader(number: Leadership, inherited: list[Operation], decided: int = 0) -> Leader:
    return Leader(number, 2, LIMITS, decided, inherited, Sessions())


def test_p1_an_acceptor_accepts_the_first_proposal_that_it_receives() -> None:
    """Section 2.2, P1: without any Prepare before it."""
    reply, stored = answer(acceptor(), Accept(Ballot(1, 2, 1), [V], 0))
    assert reply == Accepted(Ballot(1, 2, 1), 1) and stored.entries == [Entry(1, (1, 2), V)]


@pytest.mark.parametrize("promised", NUMBERS)
@pytest.mark.parametrize("number", NUMBERS)
def test_p1a_it_accepts_n_iff_it_has_not_answered_a_prepare_above_n(promised: Leadership, number: Leadership) -> None:
    """Section 2.2, P1a."""
    log = Log()
    one = acceptor(log=log)
    answer(one, Prepare(ballot(promised, 1)))
    reply, stored = answer(one, Accept(ballot(number, 1), [V], 0))
    assert isinstance(reply, Accepted) == (number >= promised) == bool(stored.entries)
    assert (log.get(1) is not None) == (number >= promised)


def test_p1a_accepting_n_binds_like_a_prepare_of_n() -> None:
    """Section 2.2: the acceptor remembers the highest number that it has ever answered, in either phase."""
    log = Log()
    one = acceptor(log=log)
    answer(one, Accept(Ballot(2, 1, 1), [V], 0))
    reply, stored = answer(one, Accept(Ballot(1, 2, 1), [W], 0))
    assert isinstance(reply, Outranked) and not stored.entries and log.get(1) == Entry(1, (2, 1), V)


@pytest.mark.parametrize("first", list(combinations(TRIO, 2)))
@pytest.mark.parametrize("second", list(combinations(TRIO, 2)))
def test_p2_when_v_is_chosen_every_higher_numbered_proposal_has_v(
    first: tuple[int, ...], second: tuple[int, ...]
) -> None:
    """Section 2.1/2.2, P2, P2a and P2b: whichever quorum chose v, and whichever is asked next."""
    cluster = acceptors()
    for pid in first:
        answer(cluster[pid], Accept(Ballot(1, 1, 1), [V], 0))
    assert phase_1((2, 2), second, cluster).open == [V]


def test_p2b_the_new_leader_issues_v_before_anything_that_it_wants_itself() -> None:
    """Section 2.2, P2b."""
    new = leader((2, 2), [V])
    new.offer([W])
    assert [(batch.first, batch.operations) for batch in new.propose()] == [(1, [V]), (2, [W])]


def test_p2c_a_with_no_acceptance_in_the_quorum_any_value_is_free() -> None:
    """Section 2.2, P2c (a)."""
    inherited = phase_1((2, 2), (1, 2), acceptors())
    assert inherited.open == [] and inherited.decided == [] and inherited.first_open == 1


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 2, 1), (2, 3, 1)])
def test_p2c_b_the_value_is_that_of_the_highest_number_accepted_in_the_quorum(order: tuple[int, ...]) -> None:
    """Section 2.2, P2c (b): not of the most frequent, not of the first or last to answer; pid breaks the tie."""
    held = {1: Entry(1, (1, 1), V), 2: Entry(1, (1, 3), W), 3: Entry(1, (1, 2), V)}
    promises = [Promise(Ballot(2, 1, 1), [held[pid]], 0) for pid in order]
    assert Inheritance(1, promises).open == [W]


def test_phase_1b_shows_the_proposal_under_the_number_it_was_accepted_with() -> None:
    """Section 2.2, phase 1 (b): a promise does not lift what was accepted to the promised number."""
    one = acceptor()
    answer(one, Accept(Ballot(1, 1, 1), [V], 0))
    for number in ((3, 2), (4, 1)):
        reply, stored = answer(one, Prepare(ballot(number, 1)))
        assert reply == Promise(ballot(number, 1), [Entry(1, (1, 1), V)], 0) and stored.promised == ballot(number, 1)


@pytest.mark.parametrize("number", NUMBERS)
def test_phase_1b_a_lower_prepare_is_told_the_number_that_stands_in_its_way(number: Leadership) -> None:
    """Section 2.2 and 2.4: so that its proposer may abandon it (the optimisation named there)."""
    one = acceptor(Ballot(9, 1, 1))
    reply, stored = answer(one, Prepare(ballot(number, 1)))
    assert reply == Outranked(ballot(number, 1), Ballot(9, 1, 1)) and stored.promised is None
    assert one.promised == Ballot(9, 1, 1)


def test_phase_2a_only_a_majority_of_promises_lets_a_proposer_propose() -> None:
    """Section 2.2, phase 2 (a): the same acceptor twice is one, and a promise to another number is none."""
    candidate = Candidate(Ballot(2, 1, 1), 2, LIMITS, 0.0)
    assert candidate.promised(1, Promise(Ballot(2, 1, 1), [], 0)) is None
    assert candidate.promised(1, Promise(Ballot(2, 1, 1), [], 0)) is None
    assert candidate.promised(2, Promise(Ballot(1, 1, 1), [], 0)) is None
    assert candidate.promised(2, Promise(Ballot(2, 1, 1), [], 0)) is not None


def test_a_value_is_chosen_by_a_majority_of_different_acceptors_of_one_number() -> None:
    """Section 2.1 and 2.3: duplicated and stray votes choose nothing."""
    chooser = leader((2, 1), [])
    chooser.offer([V])
    chooser.propose()
    votes = [(1, Accepted(Ballot(2, 1, 1), 1)), (1, Accepted(Ballot(2, 1, 1), 1)), (2, Accepted(Ballot(1, 1, 1), 1)),
             (2, Accepted(Ballot(2, 1, 2), 1)), (2, Accepted(Ballot(2, 1, 1), 2))]
    assert [chooser.accepted(pid, vote) for pid, vote in votes] == [0] * 5
    assert chooser.accepted(3, Accepted(Ballot(2, 1, 1), 1)) == 1 and chooser.decided_upto == 1


def test_a_learner_believes_a_decision_only_of_the_proposal_that_it_holds() -> None:
    """Section 2.3: "a process never learns that a value has been chosen unless it actually has been". An acceptance
    under an older number may be another value than the one that was chosen."""
    log = Log()
    log.accept((1, 1), 1, [V])
    assert log.decide((2, 2), 1) == 0 and log.decided_upto == 0
    log.accept((2, 2), 1, [W])
    assert log.decide((2, 2), 1) == 1 and log.get(1) == Entry(1, (2, 2), W)


class Claims(Observer):
    def __init__(self) -> None:
        self.made: list[Leadership] = []

    def sent(self, world: World, node: Node, to: int, message: AnyMessage) -> None:
        if isinstance(message, Prepare) and message.ballot.leadership not in self.made:
            self.made.append(message.ballot.leadership)


def test_2_4_one_distinguished_proposer_ends_the_race_of_two() -> None:
    """Section 2.4: all three start at once, and may outbid each other; soon one remains, permanently."""
    claims = Claims()
    world = World(4, TRIO, observers=[claims])
    world.start()
    world.run(2.0)
    settled = list(claims.made)
    world.run(10.0)
    assert 1 <= len(settled) <= 3 and claims.made == settled


def test_2_5_different_proposers_draw_their_numbers_from_disjoint_sets() -> None:
    """Section 2.5: the pid is part of the number, and no two claims are ever alike, through crashes of the claimers
    at the very moment when a Prepare is sent."""
    claimed: list[tuple[int, int, Leadership]] = []

    class Starts(Observer):
        def sent(self, world: World, node: Node, to: int, message: AnyMessage) -> None:
            if isinstance(message, Prepare):
                claimed.append((node.pid, node.incarnation, message.ballot.leadership))

    world = World(8, TRIO, observers=[Starts()])
    world.start()
    for count in range(1, 7):
        for node in world.nodes.values():
            node.trap("releasing", count, lambda: None)
        world.run(1.5)
        world.start([node.pid for node in world.nodes.values() if not node.up])
    assert len({number for _, _, number in claimed}) >= 3
    assert all(number[1] == pid for pid, _, number in claimed)
    owners = {(number, pid, life) for pid, life, number in claimed}
    assert len(owners) == len({number for number, _, _ in owners}), "a number was used after a restart"


def test_2_5_what_was_promised_and_accepted_survives_a_restart() -> None:
    """Section 2.5: stable storage keeps what the acceptor must remember; replies are sent only after the write."""
    world = World(1, TRIO)
    world.start()
    world.run(2.0)
    world.nodes[2].submit(Create("c"), lambda applied, outcome: None)
    world.run(1.0)
    before = {pid: node.replica.acceptor.promised.leadership for pid, node in world.nodes.items()}
    for node in world.nodes.values():
        node.crash()
        node.start()
    for pid, node in world.nodes.items():
        assert node.replica.acceptor.promised.leadership >= before[pid] > NOBODY
        entry = node.replica.log.get(1)
        assert entry is not None and entry.operation.pid == 2


def test_3_one_prepare_covers_infinitely_many_instances() -> None:
    """Section 3: one short message asks for all positions from the first open one on."""
    one = acceptor()
    answer(one, Accept(Ballot(1, 1, 1), [V, W, V], 0))
    reply, _ = answer(one, Prepare(Ballot(2, 2, 2)))
    assert isinstance(reply, Promise) and [entry.position for entry in reply.entries] == [2, 3]


def test_3_the_example_of_the_paper_gaps_are_filled_with_noops() -> None:
    """Section 3: 1-134 are known; phase 1 constrains 135, 138, 139 and 140; 136 and 137 become no-ops."""
    held = [Entry(position, (1, 1), Operation(1, 1, position, b"x")) for position in (135, 138, 139, 140)]
    promises = [Promise(Ballot(2, 2, 135), held[:1], 134), Promise(Ballot(2, 2, 135), held[1:], 134)]
    inherited = Inheritance(135, promises)
    assert inherited.first_open == 135
    x135, x138, x139, x140 = (entry.operation for entry in held)
    assert inherited.open == [x135, NOOP, NOOP, x138, x139, x140]
    new = leader((2, 2), inherited.open, 134)
    new.offer([W])
    assert new.barrier == 140 and [batch.first for batch in new.propose()] == [135, 141]


def test_3_a_leader_learns_what_is_decided_and_proposes_only_what_is_open() -> None:
    """Section 3: "the leader ... knows most of the commands that have already been chosen", from its quorum."""
    told = Promise(Ballot(2, 2, 1), [Entry(1, (1, 1), V), Entry(2, NOBODY, W), Entry(3, (1, 1), V)], 2)
    inherited = Inheritance(1, [Promise(Ballot(2, 2, 1), [Entry(1, (1, 3), V)], 0), told])
    assert (inherited.decided, inherited.first_open, inherited.open) == ([V, W], 3, [V])


def test_3_a_promise_that_hides_decided_instances_is_not_counted() -> None:
    """Section 3: a leader that skipped what it cannot see would fill a chosen instance with a no-op."""
    candidate = Candidate(Ballot(2, 2, 1), 1, LIMITS, 0.0)
    assert candidate.promised(1, Promise(Ballot(2, 2, 1), [Entry(2, (1, 1), V)], 2)) is None
    assert candidate.promised(1, Promise(Ballot(2, 2, 1), [Entry(1, NOBODY, W), Entry(2, (1, 1), V)], 2)) is not None


def test_3_several_instances_are_in_flight_and_learned_in_order() -> None:
    """Section 3: commands i+1 .. i+alpha may be proposed before i is chosen; none is carried out before it."""
    chooser = Leader((2, 1), 2, Limits(batch_operations=1, pipeline=2), 0, [], Sessions())
    chooser.offer([Operation(1, 1, number, b"") for number in (1, 2, 3)])
    assert [batch.first for batch in chooser.propose()] == [1, 2]
    assert [chooser.accepted(pid, Accepted(Ballot(2, 1, 2), 1)) for pid in (1, 2)] == [0, 0]
    assert [chooser.accepted(pid, Accepted(Ballot(2, 1, 1), 1)) for pid in (1, 2)] == [0, 2]
    assert [batch.first for batch in chooser.propose()] == [3]
