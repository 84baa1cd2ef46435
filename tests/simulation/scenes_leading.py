"""Stories of elections: who campaigns, who may vote, who hears of whom."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from paxos.messages import Heartbeat, Learn, Prepare, SnapshotPiece
from tests.simulation.scenes_proposing import hub_campaigns_again
from tests.simulation.stage import Misled, Stage, Upset
from tests.simulation.world import SIM_TIMING, Node

SLOW_COMMIT_S = 2.0


def prepares_not_repeated() -> None:
    """The only node that can lead sends Prepares, which are lost at first."""
    stage = Stage(5)
    hub = hub_campaigns_again(stage)
    stage.lose(Prepare)
    hub.start()
    stage.until(lambda: hub.replica.candidate is not None)
    stage.run(0.05)
    stage.mend()
    stage.star(hub)
    stage.expect("the candidate leads", lambda: hub.pid in stage.leads)
    stage.end()


def caught_up_candidate() -> None:
    """The only node that can lead is behind what the others can still show, and campaigns. It catches up before it is
    told that it must; then it must ask from there on."""
    stage = Stage(5, snapshot_every=4, keep=1, lag=1)
    leader = stage.leader
    behind = stage.others(leader)[0]
    stage.cut(behind)
    stage.decide(leader, "a", "b", "c", "d", "e")
    leader.crash()
    stage.mend()
    stage.star(behind)
    stage.lose(Learn, SnapshotPiece, to=behind)
    stage.until(lambda: behind.replica.candidate is not None)
    stage.mend()
    stage.star(behind)
    stage.expect("the candidate leads", lambda: behind.pid in stage.leads)
    stage.end()


def hanging_disk() -> None:
    """The leader dies, and the disk of the node that campaigns then hangs: it claims to lead, and cannot even ask
    for promises. Another node must lead."""
    stage = Stage(5)
    leader = stage.leader
    candidate, *others = stage.others(leader)
    candidate.stall(60.0)
    leader.crash()
    stage.until(lambda: candidate.replica.candidate is not None)
    stage.expect("somebody else leads", lambda: stage.leads)
    stage.create(others[0], "after")
    stage.expect("a user's wish is done", lambda: "after" in stage.told)
    stage.end()


def slow_disks() -> None:
    """Every commit comes to take two seconds, and the leader dies. A new one is there within a bounded number of
    commits, though asking for promises takes longer than any silence of the network does; until then nobody says that
    a majority is reachable; and then the ballots stand still."""
    stage = Stage(5)
    leader = stage.leader
    stage.weather.fsync = SLOW_COMMIT_S
    for context in "abc":
        stage.create(leader, context)
        stage.until(lambda context=context: context in stage.told, 4 * SLOW_COMMIT_S)  # type: ignore[misc]
    stage.run(4 * SLOW_COMMIT_S)
    leader.crash()
    stage.run(2 * SIM_TIMING.election_s)
    others = stage.others(leader)
    end = stage.now + 12 * SLOW_COMMIT_S
    while not stage.leads and stage.now < end:
        if any(node.replica.majority_reachable() for node in others):
            raise Misled("a majority is said to be reachable, and nobody leads")
        stage.run(0.1)
    stage.expect("somebody leads", lambda: stage.leads, within=0.0)
    claims = [node.replica.acceptor.promised.leadership for node in others]
    stage.run(6 * SLOW_COMMIT_S)
    if [node.replica.acceptor.promised.leadership for node in others] != claims:
        raise Upset("ballots move although a leader is there")
    stage.create(others[0], "after")
    stage.expect("a user's wish is done", lambda: "after" in stage.told, 4 * SLOW_COMMIT_S)
    stage.weather.fsync = 0.002
    stage.end()


def cut_off_for_a_while() -> None:
    """The leader is silent for a moment, and then a follower is cut off. When the leader seems gone to it, the others
    do not yet; but it must not campaign: on its return it would depose a good leader."""
    stage = Stage(3)
    leader = stage.leader
    leadership = leader.replica.acceptor.promised.leadership
    away = stage.others(leader)[0]
    stage.lose(Heartbeat, of=leader)
    stage.run(0.2)
    stage.mend()
    stage.cut(away)
    stage.run(3.0)
    stage.decide(leader, "a", "b")
    stage.mend()
    for name in ("c", "d", "e", "f"):
        stage.create(leader, name)
        stage.run(0.1)
    stage.end()
    if leader.pid not in stage.leads or leader.replica.acceptor.promised.leadership != leadership:
        raise Upset(f"{leader.pid} led well, now {stage.leads} leads")


def leader_in_a_corner() -> None:
    """A leader is left with one link of four: all nodes still hear of it, but it reaches no majority."""
    stage = Stage(5)
    corner = stage.leader
    hub = stage.others(corner)[0]
    stage.star(hub)
    stage.expect("the hub leads", lambda: hub.pid in stage.leads)
    for node in stage.nodes.values():
        stage.create(node, f"of-{node.pid}")
    stage.expect("all is done", lambda: len(stage.told) == 5)
    stage.end()


def end_of_a_chain() -> None:
    """In a chain of five, users at its ends write and read: what they ask for is passed on to the leader, and the
    answers to those who asked."""
    stage = Stage(5)
    one, two, three, four, five = stage.nodes.values()
    for node, apart in ((one, (three, four, five)), (two, (four, five)), (three, (five,))):
        stage.cut(node, *apart)
    stage.run(3.0)
    for node in (one, five):
        stage.create(node, f"of-{node.pid}")
    stage.expect("all is done", lambda: len(stage.told) == 2)
    answered = [stage.read(node, shows="of-1") for node in (one, five)]
    stage.expect("reads are answered", lambda: all(answered))
    stage.end()


def lost_disk() -> None:
    """A node loses its disk. At first it hears no gossip, only what a leader asks of it; then also that another disk
    was known under its number. It learns all that is decided, and votes again once its new disk is decided, too."""
    stage = Stage(3)
    leader = stage.leader
    node = stage.others(leader)[0]
    stage.decide(leader, "before")
    node.crash()
    node.wipe()
    stage.lose(Heartbeat, to=node)
    node.start()
    stage.decide(leader, "unheard-of")
    stage.mend()
    stage.run(1.0)
    stage.decide(leader, "after")
    stage.read(leader, shows="after")
    stage.expect("it votes again", lambda: node.replica.registry.votes)
    stage.end()


def outranked_by_its_own_past() -> None:
    """The leader loses its disk, and the calendar of the new machine is far behind: what it had said of
    itself seems newer to all nodes than what it reports now."""
    stage = Stage(3)
    leader = stage.leader
    stage.decide(leader, "before")
    leader.crash()
    leader.wipe()
    leader.epoch_us //= 2
    leader.start()
    stage.expect("somebody else leads", lambda: stage.leads - {leader.pid})
    stage.expect("the replacement follows", lambda: leader.replica.status().leader in stage.leads)
    stage.create(leader, "after")
    stage.expect("what its user wants is done", lambda: "after" in stage.told)
    stage.end()


def own_vote_refused() -> None:
    """A leader proposes further ahead than its own acceptor stores, and needs its own vote, as one of three is down."""
    stage = Stage(3, horizon=12)
    leader = stage.leader
    stage.others(leader)[0].crash()
    for number in range(30):
        stage.create(leader, f"c{number}")
    stage.expect("all is done", lambda: len(stage.told) == 30)
    stage.end()


def two_leaders_meet() -> None:
    """A leader that was cut off hears of its successor, which has decided something meanwhile."""
    stage = Stage(3)
    former = stage.leader
    stage.decide(former, "before")
    stage.cut(former)
    stage.until(lambda: any(node.replica.leader is not None for node in stage.others(former)))
    successor = next(node for node in stage.others(former) if node.replica.leader is not None)
    stage.decide(successor, "meanwhile")
    stage.mend()
    stage.expect("it leads no more", lambda: former.replica.leader is None)
    stage.decide(former, "after")
    stage.end()


def network_returns(stage: Stage, first: Sequence[Node], last: Node) -> None:
    """After it was away. These nodes are connected first, this one a moment later."""
    stage.mend()
    stage.cut(last)
    for node in first:
        node.process.linked([other.pid for other in first if other is not node])
    stage.run(0.06)
    stage.mend()
    last.process.linked([node.pid for node in first])
    for node in first:
        node.process.meet(last.pid)


def _all_told(stage: Stage, answered: list[str]) -> bool:
    return "waits" in stage.told and bool(answered)


def network_away() -> None:
    """The network is away for a while, and an operation and a read wait, at the leader or not: nothing that was sent
    meanwhile is waited for when all are connected again."""
    for asks_the_leader in (True, False):
        for away in (0.33, 0.45, 0.7, 0.9):
            stage = Stage(5)
            leader = stage.leader
            others = stage.others(leader)
            stage.decide(leader, "before")
            for node in stage.nodes.values():
                stage.cut(node)
            user = leader if asks_the_leader else others[1]
            stage.create(user, "waits")
            answered = stage.read(user, shows="before")
            stage.run(away)
            network_returns(stage, [*others[1:], leader], others[0])
            done = partial(_all_told, stage, answered)
            stage.expect("it is decided, and the read answered, at once", done, 0.1)
            stage.end()


def leader_connected_last() -> None:
    """When the network is back, the leader is connected a moment after the others: it leads on."""
    for away in (0.6, 2.0, 5.0):
        stage = Stage(5)
        leader = stage.leader
        for node in stage.nodes.values():
            stage.cut(node)
        stage.run(away)
        network_returns(stage, stage.others(leader), leader)
        stage.run(0.5)
        if stage.leader is not leader:
            raise Upset(f"{leader.pid} was replaced by {stage.leader.pid}")
        stage.end()


def cut_off_from_the_leader_alone() -> None:
    """A node hears of its leader through others only, from some moment on: it never takes it for dead."""
    stage = Stage(5)
    leader = stage.leader
    lonely = stage.others(leader)[0]
    stage.decide(leader, "before")
    stage.cut(leader, lonely)
    followed = set()
    end = stage.now + 3.0
    while stage.now < end and stage.step():
        followed.add(lonely.replica.status().leader)
    stage.expect("it follows its leader all the time", lambda: followed == {leader.pid})
    stage.decide(lonely, "after")
    stage.end()
