"""The hard cases of Ng, Haridi and Carbone's *Omni-Paxos* (EuroSys '23), on small simulated worlds.

The paper names three partial partitions in which other protocols stop for good, and asks of Ballot Leader Election:
LE1, every quorum-connected server eventually elects a quorum-connected one; LE2, eventually no two of them
elect differently; LE3, ballots are unique, and a server only ever elects with higher ones. Gossip of the graph of links
replaces their heartbeat rounds here, so a server may also follow a leader that it does not hear itself.
"""

from __future__ import annotations

from itertools import combinations, permutations

import pytest

from kvstore.operations import Create
from paxos.ballot import NOBODY, Leadership
from paxos.messages import AnyMessage, Prepare
from tests.simulation.world import Node, Observer, World

Links = set[frozenset[int]]
FIVE = (1, 2, 3, 4, 5)


class Elections(Observer):
    """Whom each node follows between two starts, one after the other, and which campaigns there were."""

    def __init__(self) -> None:
        self.followed: dict[tuple[int, int], list[Leadership]] = {}
        self.campaigns: set[Leadership] = set()
        self.led: dict[Leadership, set[tuple[int, int]]] = {}

    def sent(self, world: World, node: Node, to: int, message: AnyMessage) -> None:
        if isinstance(message, Prepare):
            self.campaigns.add(message.ballot.leadership)

    def stepped(self, world: World, node: Node) -> None:
        if not node.up:
            return
        if node.replica.leader is not None:
            self.led.setdefault(node.replica.leader.leadership, set()).add((node.pid, node.incarnation))
        followed = node.replica._follows
        history = self.followed.setdefault((node.pid, node.incarnation), [])
        if followed != NOBODY and (not history or history[-1] != followed):
            history.append(followed)


def links(*pairs: tuple[int, int]) -> Links:
    return {frozenset(pair) for pair in pairs}


def keep(world: World, linked: Links) -> None:
    """Only these links carry anything from now on, in both directions."""
    world.weather.cut = {(one, other) for one, other in permutations(world.pids, 2)
                         if frozenset((one, other)) not in linked}


def star(centre: int, *others: int) -> Links:
    return links(*((centre, other) for other in others))


def leader(world: World) -> int | None:
    """The only node that leads and considers itself quorum-connected, if there is exactly one."""
    leading = [node.pid for node in world.nodes.values() if node.up and node.replica.status().role == "leader"]
    return leading[0] if len(leading) == 1 else None


def led_by(seed: int, pids: tuple[int, ...], first: int) -> tuple[World, Elections]:
    """A healthy cluster with `first` as its leader, which has decided something."""
    elections = Elections()
    world = World(seed, pids, observers=[elections])
    world.start()
    assert world.run_until(lambda: leader(world) is not None, 5.0)
    if (now := leader(world)) != first:
        keep(world, star(first, *(pid for pid in pids if pid not in (first, now))))
        assert world.run_until(lambda: leader(world) == first, 10.0)
        world.weather.cut = set()
    decide(world, first)
    world.run(0.5)
    assert leader(world) == first
    return world, elections


def decide(world: World, at: int) -> None:
    """An operation submitted at `at` is decided and applied there, soon."""
    done: list[bool] = []
    name = f"at-{at}-{int(world.now * 1000)}"
    assert world.nodes[at].submit(Create(name), lambda applied, outcome: done.append(True))
    assert world.run_until(lambda: bool(done), 8.0), f"{name} is not decided"


def settles(world: World, elections: Elections, seconds: float = 6.0) -> None:
    before = set(elections.campaigns)
    world.run(seconds)
    assert elections.campaigns == before, "somebody campaigns although all is settled"


def check_ballots(elections: Elections) -> None:
    """LE3."""
    assert all(len(owners) == 1 and next(iter(owners))[0] == leadership[1]
               for leadership, owners in elections.led.items())
    for history in elections.followed.values():
        assert history == sorted(set(history)), "went back to a lower ballot"


@pytest.mark.parametrize("centre", [1, 3, 5])
def test_quorum_loss(centre: int) -> None:
    """Quorum-loss scenario: the leader (2) is alive and heard by the centre, but only the centre still
    reaches a majority. It must take over, although it hears the leader."""
    world, elections = led_by(1, FIVE, first=2)
    keep(world, star(centre, *(pid for pid in FIVE if pid != centre)))
    assert world.run_until(lambda: leader(world) == centre, 8.0)
    for pid in FIVE:
        decide(world, pid)
    settles(world, elections)
    assert leader(world) == centre
    check_ballots(elections)


def test_quorum_loss_a_leader_in_it_is_passed_over_though_its_claim_is_the_highest() -> None:
    """The quorum-connected flag. A leader that lost its majority knows it, and says so by its links."""
    world, _ = led_by(3, FIVE, first=5)
    keep(world, star(1, 2, 3, 4, 5))
    assert world.run_until(lambda: leader(world) == 1, 8.0)
    old = world.nodes[5].replica
    assert old.status().leader == 1 and old.leader is None


@pytest.mark.parametrize("seed", [1, 2])
def test_constrained_election(seed: int) -> None:
    """Constrained election: the leader (5) is cut off from all, and of the rest only node 1 reaches a
    majority, while it is behind. It must still get the votes, and learn what it lacks from the voters."""
    world, elections = led_by(seed, FIVE, first=5)
    keep(world, star(5, 2, 3, 4) | links((2, 3)))
    for _ in range(3):
        decide(world, 5)
    everything = world.nodes[5].replica.applied
    assert world.nodes[1].replica.log.decided_upto < everything
    keep(world, star(1, 2, 3, 4))
    assert world.run_until(lambda: leader(world) == 1, 10.0)
    for pid in (1, 2, 3, 4):
        decide(world, pid)
        assert world.nodes[pid].replica.applied > everything
    settles(world, elections)
    check_ballots(elections)


@pytest.mark.parametrize(("first", "chain"), [(1, (1, 2, 3)), (2, (1, 3, 2)), (2, (1, 2, 3)), (1, (2, 1, 3))])
def test_chained_of_three(first: int, chain: tuple[int, int, int]) -> None:
    """Chained scenario: the two ends do not hear each other, and must not take the lead from one another
    forever, whether an end or the middle leads: every node reaches a majority (itself and the middle)."""
    world, elections = led_by(1, (1, 2, 3), first=first)
    keep(world, links(chain[:2], chain[1:]))
    for pid in chain:
        decide(world, pid)
    settles(world, elections)
    for pid in chain:
        decide(world, pid)
    assert leader(world) is not None
    check_ballots(elections)


@pytest.mark.parametrize("first", FIVE)
def test_chained_of_five(first: int) -> None:
    """Chained scenario: of 1-2-3-4-5 the three in the middle are quorum-connected."""
    world, elections = led_by(2, FIVE, first=first)
    keep(world, links((1, 2), (2, 3), (3, 4), (4, 5)))
    assert world.run_until(lambda: leader(world) in (2, 3, 4), 8.0)
    for pid in FIVE:
        decide(world, pid)
    settles(world, elections)
    check_ballots(elections)


def test_a_chain_costs_its_leader_nothing_while_it_counts() -> None:
    """A leader that stays quorum-connected stays. The end that no longer hears it does not campaign at all."""
    world, elections = led_by(1, (1, 2, 3), first=1)
    before = set(elections.campaigns)
    keep(world, links((1, 2), (2, 3)))
    world.run(10.0)
    assert leader(world) == 1 and elections.campaigns == before


@pytest.mark.parametrize("deserted", [0, 1])
def test_le1_le2_all_quorum_connected_nodes_elect_the_same_quorum_connected_one(deserted: int) -> None:
    """LE1 and LE2, in rings of four with a fifth node, the previous leader, that has one link, or none."""
    for hanger in (1, 4):
        ring = [pid for pid in FIVE if pid != hanger]
        linked = links(*((ring[i], ring[(i + 1) % 4]) for i in range(4)))
        if not deserted:
            linked |= links((ring[0], hanger))
        world, _ = led_by(4, FIVE, first=hanger)
        keep(world, linked)
        assert world.run_until(lambda: leader(world) in ring, 8.0)  # noqa: B023
        world.run(3.0)
        elected = {world.nodes[pid].replica.status().leader for pid in ring}
        assert len(elected) == 1 and elected <= set(ring)


def test_le1_without_a_quorum_connected_node_nobody_leads_and_nobody_campaigns() -> None:
    """LE1 requires nothing here; and nodes that cannot win must not drive up the ballots."""
    world, elections = led_by(1, FIVE, first=1)
    keep(world, links((1, 2), (3, 4)))
    world.run(6.0)
    assert leader(world) is None and {n.replica.status().leader for n in world.nodes.values()} == {None}
    settles(world, elections)
    world.weather.cut = set()
    decide(world, 3)
    check_ballots(elections)


def test_le3_ballots_are_unique_and_only_rise_through_crashes_and_cuts() -> None:
    """LE3: each ballot belongs to one start of one node, and no node elects with a lower one than before."""
    world, elections = led_by(9, FIVE, first=1)
    for number in range(4):
        now = leader(world)
        assert now is not None
        if number % 2:
            world.nodes[now].crash()
        else:
            keep(world, {frozenset(pair) for pair in combinations(FIVE, 2) if now not in pair})
        assert world.run_until(lambda gone=now: leader(world) not in (None, gone), 8.0)  # type: ignore[misc]
        world.weather.cut = set()
        if number % 2:
            world.nodes[now].start()
        world.run(1.5)
    assert len(elections.led) >= 5
    check_ballots(elections)
