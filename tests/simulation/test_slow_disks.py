"""Disks on which a commit takes up to three seconds: one leader in a bounded number of commits, and then it stays."""

from __future__ import annotations

import msgspec
import pytest

from kvstore.operations import Create
from paxos.ballot import Leadership
from paxos.limits import Limits, Timing
from paxos.messages import Heartbeat
from tests.simulation.checkers import all_checkers
from tests.simulation.world import Weather, World

COMMITS = 16
"""A leader is there after so many, and some seconds: what is under way, the first measurement, and phase 1, which takes
up to four (each up to half as long again here), perhaps once in vain."""
SECONDS = 5.0
STILL_S = 20.0
WHERE = {
    "everywhere": (1, 2, 3, 4, 5), "on a majority": (1, 2, 4), "on a minority": (1, 2), "on the first": (1,),
    "on the last": (5,),
}


class Cluster:
    """Nodes with the settings of real ones, on a quick network."""

    def __init__(self, commit_s: float, slow: tuple[int, ...], nodes: int = 5, seed: int = 1) -> None:
        weather = Weather(delay=0.0005, jitter=0.0005, slow_disks=dict.fromkeys(slow, commit_s))
        self.world = World(seed, range(1, nodes + 1), timing=Timing(), limits=Limits(), observers=all_checkers(),
                           weather=weather)
        self.bound = SECONDS + COMMITS * commit_s
        self._contexts = 0

    def settles(self) -> None:
        """One leader is there, all follow it, and what each node's user asks for gets decided."""
        nodes = [node for node in self.world.nodes.values() if node.up]
        pending = set()
        for node in nodes:
            self._contexts += 1
            pending.add(context := f"c{self._contexts}")
            node.submit(Create(context), lambda _, __, context=context: pending.discard(context))  # type: ignore[misc]
        assert self.world.run_until(lambda: not pending and self._one_leader(), self.bound), self._states()

    def stands_still(self) -> None:
        before = self._ballots()
        self.world.run(STILL_S)
        assert self._ballots() == before

    def leader(self) -> int:
        return next(pid for pid, node in self.world.nodes.items() if node.up and node.replica.leader)

    def _one_leader(self) -> bool:
        up = [node for node in self.world.nodes.values() if node.up]
        leaders = {node.pid for node in up if node.replica.leader is not None}
        return len(leaders) == 1 and all({node.replica.status().leader} == leaders for node in up)

    def _ballots(self) -> list[Leadership]:
        return [node.replica.acceptor.promised.leadership for node in self.world.nodes.values()]

    def _states(self) -> str:
        return "; ".join(str(node.replica.status()) for node in self.world.nodes.values() if node.up)


@pytest.mark.parametrize("commit_s", [0.4, 1.0, 3.0])
@pytest.mark.parametrize("where", WHERE)
def test_one_leader_that_stays(commit_s: float, where: str) -> None:
    cluster = Cluster(commit_s, WHERE[where])
    cluster.world.start()
    cluster.settles()
    cluster.stands_still()


@pytest.mark.parametrize("commit_s", [1.0, 3.0])
@pytest.mark.parametrize("where", WHERE)
def test_a_new_leader_when_the_old_one_dies(commit_s: float, where: str) -> None:
    cluster = Cluster(commit_s, WHERE[where])
    cluster.world.start()
    cluster.settles()
    cluster.world.nodes[cluster.leader()].crash()
    cluster.world.run(1.0)
    cluster.settles()
    cluster.stands_still()


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_nodes_that_start_again_have_measured_nothing_yet(seed: int) -> None:
    cluster = Cluster(3.0, WHERE["everywhere"], seed=seed)
    cluster.world.start()
    cluster.settles()
    for node in cluster.world.nodes.values():
        node.crash()
        node.start()
    cluster.settles()
    cluster.stands_still()


def test_disks_that_become_slow_while_a_leader_is_there() -> None:
    cluster = Cluster(3.0, ())
    cluster.world.start()
    cluster.settles()
    before = cluster.leader()
    cluster.world.weather.fsync = 3.0
    cluster.settles()
    cluster.stands_still()
    assert cluster.leader() == before


def test_a_majority_is_reachable_when_a_leader_is_established() -> None:
    cluster = Cluster(1.0, WHERE["everywhere"])
    world = cluster.world
    world.start()
    seen = set()
    while not cluster.world.run_until(lambda: False, 0.1) and world.now < cluster.bound:
        leads = any(node.replica.leader is not None for node in world.nodes.values())
        for node in world.nodes.values():
            reachable = node.replica.majority_reachable()
            assert leads or not reachable
            seen.add((node.replica.status().leader is not None, reachable))
    assert (True, False) in seen and (True, True) in seen


@pytest.mark.parametrize("commit_s", [float("nan"), float("inf"), -1.0, 1e300])
def test_odd_times_are_not_believed(commit_s: float) -> None:
    cluster = Cluster(0.002, ())
    world = cluster.world
    world.start()
    cluster.settles()
    node = world.nodes[2]
    odd = msgspec.structs.replace(node.replica.net.states[3], version=(2**50, 1), commit_s=commit_s)
    node.receive(3, Heartbeat([odd], {}, 0.0, {}), node.replica.cluster)
    assert 0.0 <= node.replica.net.commit_time(3) <= 10.0
    cluster.settles()
