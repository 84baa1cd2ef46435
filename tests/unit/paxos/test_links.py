"""Liveness, connectivity, routing and leadership: detector, connectivity, election."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest

from paxos.ballot import NOBODY, Leadership
from paxos.connectivity import HINT_HOLDS, Connectivity
from paxos.detector import MOST_PATIENT, Detector
from paxos.election import GRACE_ELECTIONS, GRACE_ROUND_TRIPS, Election
from paxos.limits import Limits, Timing
from paxos.messages import Heartbeat, NodeState

TIMING = Timing(heartbeat_s=0.1, election_s=0.5, tick_s=0.01)
FIVE = (1, 2, 3, 4, 5)


def state(pid: int, *hears: int, count: int = 1, leading: Leadership = NOBODY, established: bool = True,
          promised: Leadership = NOBODY, decided: int = 0, votes: bool = True) -> NodeState:
    return NodeState(pid, (1, count), 100 + pid, hears, leading, established, promised, decided, votes, False)


def net(own: NodeState, heard: dict[int, list[NodeState]], now: float = 10.0) -> Connectivity:
    """What the node of state `own` knows, once each of `heard` has told these states."""
    made = Connectivity(own.pid, FIVE, TIMING)
    for speaker, states in heard.items():
        made.heard(speaker, Heartbeat(states, {}, 0.0, {}), now)
    made.refresh(now)
    made.describe(own)
    return made


# ---- Detector


def beats(gaps: list[float]) -> tuple[Detector, float]:
    detector, now = Detector(0.5, 0.1), 0.0
    detector.beat(now)
    for gap in gaps:
        now += gap
        detector.beat(now)
    return detector, now


def test_a_silent_source_is_suspected_after_one_election_time_on_a_quick_network() -> None:
    assert not Detector(0.5, 0.1).alive(0.0), "never heard"
    detector, now = beats([0.1] * 50)
    assert detector.alive(now + 0.49) and not detector.alive(now + 0.51)


def test_a_slow_or_jittery_source_is_waited_for_without_any_setting_but_not_for_ever() -> None:
    slow, now = beats([1.0] * 100)
    assert slow.alive(now + 1.0) and slow.patience > 1.0
    jittery, now = beats([0.05, 0.6] * 100)
    assert jittery.alive(now + 1.2)
    asleep, now = beats([1000.0] * 100)
    assert asleep.patience <= 0.5 * MOST_PATIENT and not asleep.alive(now + 0.5 * MOST_PATIENT + 0.01)


def test_a_long_gap_is_forgotten_when_beats_are_regular_again() -> None:
    detector, now = beats([0.1] * 20 + [3600.0] + [0.1] * 80)
    assert not detector.alive(now + 0.6)


# ---- Connectivity


def test_a_link_counts_only_if_messages_pass_both_ways() -> None:
    made = net(state(1, 2, 3), {2: [state(2, 1)], 3: [state(3, 2)]})
    assert made.linked(1, 2) and made.linked(2, 1)
    assert made.hears == {2, 3} and not made.linked(1, 3), "3 does not hear 1"
    assert made.hears_from(3, 2) and not made.linked(2, 3)


def test_next_hop_is_direct_if_the_target_hears_it_else_a_shortest_way_else_none() -> None:
    made = net(state(1, 2, 3), {2: [state(2, 1), state(4, 2), state(5, 4)], 3: [state(3, 2)]})
    assert [made.next_hop(target) for target in (2, 3, 4, 5)] == [2, 2, 2, 2]
    assert net(state(1, 2), {2: [state(2, 1), state(4, 3)]}).next_hop(4) is None, "4 hears nobody who hears 1"
    assert net(state(1), {}).next_hop(2) is None


def test_the_way_follows_who_hears_not_who_is_heard() -> None:
    """One-way links: 2 hears 1 though 1 does not hear 2 but through 3."""
    made = net(state(1, 3), {3: [state(3, 2), state(2, 1)]})
    assert made.next_hop(2) == 2 and made.next_hop(3) == 2


def test_a_majority_is_of_voters_with_links_in_both_directions() -> None:
    def counts(third: NodeState) -> bool:
        return net(state(1, 2, 3), {2: [state(2, 1)], 3: [third]}).reaches_majority(1)

    assert counts(state(3, 1))
    assert not counts(state(3, 2)), "3 does not hear it"
    assert not counts(state(3, 1, votes=False)), "3 may not vote"
    full = {2: [state(2, 1)], 3: [state(3, 1)], 4: [state(4, 1)]}
    assert not net(state(1, 2, 3, 4, votes=False), full).reaches_majority(1), "it must vote itself"
    gossip = {2: [state(2, 1, 3, 4), state(3, 2), state(4, 2)]}
    assert net(state(1, 2), gossip).reaches_majority(2), "of others, by gossip"


def test_the_newest_state_wins_and_nobody_is_told_of_itself_or_of_strangers() -> None:
    made = net(state(1), {2: [state(2, 1, count=5), state(1, 2, count=99), state(77, 1)]})
    made.heard(3, Heartbeat([state(2, count=4), state(2, 1, count=5)], {}, 0.0, {}), 10.0)
    assert made.states[2] == state(2, 1, count=5) and made.states[1] == state(1) and 77 not in made.states


def test_old_gossip_does_not_keep_a_dead_node_alive() -> None:
    made, now = net(state(1, 2), {2: [state(2, 1), state(3, 2)]}), 10.0
    for count in range(2, 20):
        now += 0.1
        made.heard(2, Heartbeat([state(2, 1, count=count), state(3, 2)], {}, 0.0, {}), now)
    made.refresh(now)
    assert made.fresh == {1, 2}


def test_a_hint_outweighs_gossip_for_a_while_but_never_a_nodes_own_voice() -> None:
    made = net(state(1, 2, 3), {2: [state(2, 1, 3)], 3: [state(3, 1, 2)]})
    made.suspect(3, 10.0)
    assert made.refresh(10.0) and made.hears == {2}
    made.heard(2, Heartbeat([state(3, 2, count=2)], {}, 0.0, {}), 10.1)
    made.refresh(10.1)
    assert 3 not in made.fresh
    late = 10.0 + HINT_HOLDS * TIMING.election_s
    made.heard(2, Heartbeat([state(3, 2, count=3)], {}, 0.0, {}), late)
    made.refresh(late)
    assert 3 in made.fresh and 3 not in made.hears
    made.suspect(3, late)
    made.heard(3, Heartbeat([], {}, 0.0, {}), late)
    made.refresh(late)
    assert 3 in made.hears


def test_round_trips_are_measured_with_the_nodes_own_clock_alone() -> None:
    made = Connectivity(1, FIVE, TIMING)
    made.heard(2, Heartbeat([state(2, 1)], {}, 555.0, {1: (7.0, 1.0)}), 10.0)
    made.refresh(10.0)
    assert made.round_trip(2) == made.round_trip() == 2.0
    assert made.echoes(10.5) == {2: (555.0, 0.5)}
    made.heard(2, Heartbeat([], {}, 556.0, {1: (10.0, 0.5)}), 11.0)
    assert 1.5 < made.round_trip(2) < 2.0, "slow to believe in a quicker network"
    made.refresh(99.0)
    assert made.round_trip() == 0.0 and made.echoes(99.0) == {}, "who is silent does not count"


# ---- Election


class Voter:
    """The election of node 1 among five that all hear each other, at a time that the test sets."""

    def __init__(self, pid: int = 1, *, silent: tuple[int, ...] = (), **own: int) -> None:
        self.pid = pid
        self.now = 10.0
        self.alive = [node for node in FIVE if node not in silent and node != pid]
        self.net = Connectivity(pid, FIVE, TIMING)
        self.election = Election(self.net, TIMING, Limits())
        self.claims: dict[int, Leadership] = {}
        self.established = True
        self.decided = {pid: own.get("decided", 0)}
        self._count = 0
        self.pass_time(0.0)

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self._count += 1
        for node in (*self.alive, self.pid):
            hears = tuple(other for other in (*self.alive, self.pid) if other != node)
            claim = self.claims.get(node, NOBODY)
            told = state(node, *hears, count=self._count, leading=claim, established=self.established,
                       promised=claim, decided=self.decided.get(node, 0))
            if node == self.pid:
                self.net.describe(told)
            else:
                self.net.heard(node, Heartbeat([told], {}, 0.0, {}), self.now)
        self.net.refresh(self.now)
        self.election.observe(self.now)

    def waits(self, seed: int = 1, most: float = 4.0) -> float | None:
        """How long until it campaigns; None if it does not."""
        since, random = self.now, Random(seed)
        while self.now - since < most:
            if self.election.try_campaign(self.election.leader(self.now), self.now, random) is not None:
                return self.now - since
            self.pass_time(0.005)
        return None


def test_a_campaign_claims_the_next_seq_num_above_all_it_knows_with_its_own_pid() -> None:
    voter = Voter(pid=2, silent=(1,))
    voter.claims = {}
    voter.net.describe(state(1, leading=(4, 1), promised=(7, 3)))
    voter.election.outranked((9, 5))
    while (claim := voter.election.try_campaign(voter.election.leader(voter.now), voter.now, Random(1))) is None:
        voter.pass_time(0.01)
    assert claim == (10, 2)


def test_nobody_campaigns_against_a_leader_that_counts() -> None:
    voter = Voter()
    voter.claims[3] = (4, 3)
    voter.pass_time(0.1)
    assert voter.election.leader(voter.now) == (4, 3) and voter.waits() is None


def test_nobody_campaigns_without_a_majority() -> None:
    assert Voter(silent=(3, 4, 5)).waits() is None


def test_a_higher_claim_or_promise_than_the_leaders_calls_for_an_election() -> None:
    """Otherwise a leader that a quorum has outranked would be followed forever."""
    voter = Voter()
    voter.claims[3] = (4, 3)
    voter.pass_time(0.1)
    voter.election.outranked((5, 2))
    assert voter.waits() is not None


@pytest.mark.parametrize("established", [True, False])
def test_a_claim_that_is_never_established_stops_counting_for_others(established: bool) -> None:
    voter = Voter()
    voter.claims[3], voter.established = (4, 3), established
    voter.pass_time(0.0)
    waited = voter.waits()
    grace = GRACE_ELECTIONS * TIMING.election_s
    assert waited is None if established else waited is not None and grace <= waited < grace + 0.2


def test_the_grace_of_a_claim_grows_with_round_trips_and_never_ends_for_its_claimer() -> None:
    voter = Voter()
    voter.claims[3], voter.established = (4, 3), False
    voter.pass_time(0.0)
    voter.net._rtt = dict.fromkeys((2, 3, 4, 5), 0.25)
    waited = voter.waits()
    assert waited is not None and waited > GRACE_ELECTIONS * TIMING.election_s + GRACE_ROUND_TRIPS * 0.25
    own = Voter()
    own.claims[1], own.established = (4, 1), False
    own.pass_time(0.0)
    assert own.waits() is None


def test_the_better_placed_campaign_first_and_jitter_never_changes_the_order() -> None:
    waits = [[Voter(pid=pid).waits(seed) for seed in range(5)] for pid in (1, 2, 3)]
    first, second, third = ([wait for wait in each if wait is not None] for each in waits)
    assert len(first) == len(second) == len(third) == 5
    assert max(first) < min(second) and max(second) < min(third)
    assert len(set(second)) > 1, "some jitter there is"


def test_a_node_far_behind_lets_others_campaign_first() -> None:
    level, behind = Voter(), Voter()
    behind.decided = dict.fromkeys((2, 3, 4, 5), 5000)
    behind.pass_time(0.0)
    early, late = level.waits(), behind.waits()
    assert early is not None and late is not None and late > early + 0.05


def test_a_node_that_campaigns_in_vain_waits_longer_each_time_until_it_was_calm() -> None:
    voter = Voter()
    waits = [wait for _ in range(5) if (wait := voter.waits()) is not None]
    assert len(waits) == 5 and all(later > earlier for earlier, later in pairwise(waits))
    voter.claims[3] = (99, 3)
    voter.pass_time(0.1)
    assert voter.waits() is None
    voter.claims.clear()
    voter.pass_time(0.1)
    calm = voter.waits()
    assert calm is not None and calm < waits[1]
