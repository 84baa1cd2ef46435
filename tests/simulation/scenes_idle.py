"""Stories of a cluster that nobody uses: it costs little, and notices failures as soon as one that is used."""

from __future__ import annotations

from itertools import pairwise

from paxos.limits import Timing
from paxos.messages import AnyMessage, Heartbeat
from tests.simulation.observer import Observer, Violation
from tests.simulation.stage import Overdue, Stage
from tests.simulation.world import Node, World

TIMING = Timing()
AWHILE_S = 4.0
IDLE = AWHILE_S / TIMING.idle_heartbeat_s
USUAL = AWHILE_S / TIMING.heartbeat_s


class Extravagant(Violation):
    """Something is done more often than it has to be."""


class Beats(Observer):
    """When each node has sent its heartbeats."""

    def __init__(self) -> None:
        self.at: dict[int, list[float]] = {}

    def sent(self, world: World, node: Node, to: int, message: AnyMessage) -> None:
        if isinstance(message, Heartbeat) and self.at.setdefault(node.pid, [0.0])[-1] != world.now:
            self.at[node.pid].append(world.now)

    def count(self, node: Node, since: float) -> int:
        return sum(at >= since for at in self.at[node.pid])


class Idle(Stage):
    """Nodes with the times of real ones, which have come to rest."""

    times = TIMING

    def __init__(self, nodes: int = 5) -> None:
        super().__init__(nodes)
        self.beats = Beats()
        self.observe(self.beats)
        self.run(3.0)

    def starts_a_round(self) -> Node:
        """The node that sends next while the others do not; they have followed by then, and rest for long."""
        begun = self.now + TIMING.heartbeat_s / 4
        self.run(TIMING.heartbeat_s / 4)
        self.until(lambda: any(beats[-1] > begun for beats in self.beats.at.values()))
        first = next(pid for pid, beats in self.beats.at.items() if beats[-1] > begun)
        self.run(0.4 * TIMING.heartbeat_s)
        return self.nodes[first]

    def wants(self, node: Node, expected: float) -> None:
        """For a while from now on the node sends about so many heartbeats."""
        since = self.now
        self.run(AWHILE_S)
        count = self.beats.count(node, since)
        if count > 1.15 * expected:
            raise Extravagant(f"{node.pid} has sent {count} heartbeats, and {expected} would do")
        if count < 0.85 * expected:
            raise Overdue(f"{node.pid} has sent {count} heartbeats instead of {expected}")


def nothing_happens() -> None:
    """Heartbeats come half as often, all nodes wake together to send them, and look at the clock hardly more often."""
    stage = Idle()
    ticks = 0
    tick = stage.leader.process.driver.tick

    def counted() -> None:
        nonlocal ticks
        ticks += 1
        tick()

    stage.leader.process.driver.tick = counted  # type: ignore[method-assign]
    since = stage.now
    stage.wants(stage.leader, IDLE)
    if ticks > 1.3 * IDLE:
        raise Extravagant(f"{ticks} ticks, and nothing happens")
    moments = sorted(at for beats in stage.beats.at.values() for at in beats if at >= since)
    apart = sum(later - earlier > TIMING.heartbeat_s / 4 for earlier, later in pairwise(moments))
    if apart > 1.3 * IDLE:
        raise Extravagant(f"the nodes were woken at {apart} different moments")
    stage.end()


def something_happens() -> None:
    """A node that has news of itself tells it at the usual pace."""
    stage = Idle()
    names = iter(range(1000))

    def ask() -> None:
        stage.create(stage.leader, f"c{next(names)}")
        stage.at(TIMING.election_s, ask)

    ask()
    stage.run(TIMING.election_s)
    stage.wants(stage.leader, USUAL)


def some_are_lost() -> None:
    """One of ten heartbeats of a node to another is lost: so few fit into the time after which it would be suspected
    that it returns to the usual pace. (Others have it when they send theirs, except the one that is lost.)"""
    stage = Idle()
    node = stage.starts_a_round()
    other = stage.others(node)[0]
    count = 0

    def tenth(message: Heartbeat) -> bool:
        nonlocal count
        count += 1
        return count % 10 == 0

    stage.lose(Heartbeat, of=node, to=other, where=tenth)
    stage.run(1.0)
    stage.wants(node, USUAL)
    stage.end()


def unconfirmed() -> None:
    """A node is heard by one that it does not hear, and cannot know whether its heartbeats get there."""
    stage = Idle()
    node, other = stage.others(stage.leader)[:2]
    stage.lose(of=other, to=node)
    stage.run(2.0)
    stage.wants(node, USUAL)
    stage.end()


def idle_leader_dies() -> None:
    """The relay tells that the leader's connection has closed. The next one leads as soon as it does otherwise: the few
    steps until then do not wait for rare ticks. (How many there are is drawn: hence three times.)"""
    stage = Idle()
    for _ in range(3):
        leader = stage.leader
        stage.starts_a_round()
        leader.crash()
        for node in stage.others(leader):
            node.process.suspect(leader.pid)
        stage.expect("the next one leads", lambda: stage.leads, within=0.055)
        stage.end()
        stage.run(3.0)


def idle_leader_falls_silent() -> None:
    """Nobody tells that the leader is gone; it is noticed within the usual time of silence."""
    stage = Idle()
    leader = stage.leader
    stage.cut(leader)
    stage.expect("the next one leads", lambda: stage.leads - {leader.pid}, within=1.2 * TIMING.election_s)
    stage.end()




def beside_release_0_1_0() -> None:
    """A node of release 0.1.0 does not tell which heartbeats it lacks: nobody rests beside it."""
    stage = Idle()
    node, other = stage.others(stage.leader)[:2]
    other.crash()
    other.old = True
    other.start()
    stage.run(2.0)
    stage.wants(node, USUAL)
    stage.end()
