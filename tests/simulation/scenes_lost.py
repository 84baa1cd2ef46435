"""Stories of clusters in which a majority of voters has lost its disks, or only seems to have."""

from __future__ import annotations

from paxos.messages import Learn, SnapshotPiece
from tests.simulation.observer import Observer
from tests.simulation.stage import Stage
from tests.simulation.world import Node, Violation, World


class FalseAlarm(Violation):
    """A node says that no quorum can form, and one can."""


class Quiet(Observer):
    """Nobody may say so."""

    def stepped(self, world: World, node: Node) -> None:
        if node.replica.status().lost:
            raise FalseAlarm(f"{node.pid} takes {node.replica.status().lost} for lost")


def most_disks_are_gone() -> None:
    """Two of five are replaced without a word. When three are gone at once, all say so, those with new disks, too;
    until one of the lost disks turns up."""
    stage = Stage(5)
    quiet = Quiet()
    stage.observe(quiet)
    stage.decide(stage.leader, "before")
    gone = list(stage.nodes.values())[:3]
    _lose(*gone[:2])
    stage.expect("they vote again", lambda: all(stage.may_vote(node) for node in gone))
    stage.decide(stage.leader, "between")
    stage.hooks["stepped"].remove(quiet.stepped)
    copy = gone[0].backup()
    _lose(*gone)
    lost = tuple(node.pid for node in gone)
    stage.expect("all say so", lambda: all(node.replica.status().lost == lost for node in stage.nodes.values()))
    stage.expect("all have everything", lambda: all("between" in node.store.conversations for node in stage.others()))
    gone[0].crash()
    gone[0].disk = copy
    gone[0].start()
    stage.expect("a quorum can form", lambda: not any(node.replica.status().lost for node in stage.nodes.values()))
    stage.until(lambda: stage.leads)
    stage.decide(stage.leader, "after")
    stage.end()


def _lose(*nodes: Node) -> None:
    for node in nodes:
        node.crash()
        node.wipe()
    for node in nodes:
        node.start()


def away_while_disks_were_replaced() -> None:
    """Three of five disks are lost and replaced one after the other, while a node is down. When it starts, it hears of
    three disks that it does not know, before it hears what was decided."""
    stage = Stage(5)
    stage.observe(Quiet())
    away, *others = stage.others(stage.leader)
    away.crash()
    for node in others:
        _lose(node)
        stage.expect("it votes again", lambda node=node: stage.may_vote(node))  # type: ignore[misc]
        stage.decide(stage.leader, f"after-{node.pid}")
    stage.lose(Learn, SnapshotPiece, to=away)
    away.start()
    stage.run(3.0)
    stage.end()
