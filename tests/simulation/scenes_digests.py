"""Stories of nodes whose state is not that of the others, although they have applied the same operations."""

from __future__ import annotations

from msgspec.structs import replace

from paxos.messages import SnapshotPiece
from tests.simulation.stage import OffStage, Stage
from tests.simulation.world import Node

TEXT, OTHER = b"precious", b"precioux"


def _stage(nodes: int, **limits: int) -> Stage:
    """Everybody has a snapshot with something in it."""
    stage = Stage(nodes, snapshot_every=2, keep=0, **limits)
    stage.decide(stage.leader, TEXT.decode(), "c1", "c2", "c3")
    stage.until(lambda: all(node.disk.image.snapshot_position for node in stage.nodes.values()))
    return stage


def _tamper(*nodes: Node) -> None:
    for node in nodes:
        node.crash()
        node.disk.tamper(TEXT, OTHER)
        node.start()


def _replace(node: Node) -> None:
    """Its data are moved away, and it starts again."""
    node.crash()
    node.wipe()
    node.start()


def wrong_state_stops() -> None:
    """One of three; it stops again whenever it is started with these data, and is back once it is without. The others
    have told all that they have to tell when it first compares."""
    stage = _stage(3)
    stage.run(2.5)
    node = stage.others(stage.leader)[0]
    for _ in range(2):
        _tamper(node) if not node.disk.tampered else node.start()
        stage.expect("it stops", lambda: node.leaving)
        stage.expect("the others know", lambda: all(
            each.replica.status().differs == (node.pid,) for each in stage.others(node)))
        node.crash()
    stage.until(lambda: stage.leads)
    stage.decide(stage.leader, "meanwhile")
    node.wipe()
    node.start()
    stage.expect("it votes again", lambda: stage.may_vote(node))
    stage.end()


def never_at_rest() -> None:
    """There is always something to decide."""
    stage = _stage(3, digest_every=4)
    node = stage.others(stage.leader)[0]
    _tamper(node)
    for number in range(30):
        if not node.leaving:
            stage.decide(stage.leader, f"more-{number}")
            stage.run(0.2)
    stage.expect("it has stopped", lambda: node.leaving, within=0.1)
    _replace(node)
    stage.end()


def right_behind_a_snapshot() -> None:
    """A node that catches up by a snapshot goes on from there, and has nothing to say of positions before."""
    for digest_every in (3, 5, 7):
        stage = _stage(3, digest_every=digest_every)
        node = stage.others(stage.leader)[0]
        stage.cut(node)
        for number in range(12):
            stage.decide(stage.leader, f"more-{number}")
        stage.mend()
        stage.until(lambda: node.replica.applied == stage.leader.replica.applied)  # noqa: B023
        for number in range(12):
            stage.decide(stage.leader, f"after-{number}")
        stage.end()


def made_up_snapshot() -> None:
    """The node that sends a snapshot has changed a row of it, which whoever asked for it cannot tell. It is found when
    the log comes to rest, or at the next round position, and is served no longer than that."""
    stage = _stage(3, digest_every=100)
    node = stage.others(stage.leader)[0]
    stage.cut(node)
    stage.decide(stage.leader, *(f"more-{number}" for number in range(12)))
    stage.until(lambda: stage.leader.replica.log.compacted > node.replica.applied)
    stage.mend()
    stage.hold(SnapshotPiece, to=node)
    stage.until(lambda: stage.held)
    pieces = [(sent, sent.message) for sent in stage.held if isinstance(sent.message, SnapshotPiece)]
    stage.mend()
    node.disk.tampered = True  # for the checkers: its state is not what was decided
    for sent, piece in pieces:
        rows = [(key, value.replace(TEXT, OTHER)) for key, value in piece.rows]
        stage.hand([sent._replace(message=replace(piece, rows=rows))])
    if OTHER.decode() not in node.store.conversations:
        raise OffStage("it was not installed")
    stage.expect("it stops", lambda: node.leaving, within=3.0)
    stage.expect("the others know", lambda: all(
        each.replica.status().differs == (node.pid,) for each in stage.others(node)))
    _replace(node)
    stage.end()


def wrong_ones_are_more() -> None:
    """Two of five, with two of the others down: then they are more, and no majority."""
    stage = _stage(5)
    leader = stage.leader
    one, other, *down = stage.others(leader)
    for node in down:
        node.crash()
    _tamper(one, other)
    stage.run(5.0)
    stage.expect("nobody stops", lambda: not any(node.leaving for node in (leader, one, other)), within=0.1)
    for node in down:
        node.start()
    stage.expect("both stop", lambda: one.leaving and other.leaving)
    for node in (one, other):
        _replace(node)
        stage.expect("it votes again", lambda node=node: stage.may_vote(node))  # type: ignore[misc]
    stage.end()


def one_against_one() -> None:
    """The third node is down: nobody knows who is wrong, and both say so."""
    stage = _stage(3)
    one, other, third = stage.nodes.values()
    third.crash()
    _tamper(one)
    stage.expect("both say so", lambda: one.process.differs and other.process.differs)
    stage.run(3.0)
    stage.expect("nobody stops", lambda: not one.leaving and not other.leaving, within=0.1)
    stage.decide(stage.leader, "meanwhile")
    third.start()
    stage.expect("the wrong one stops", lambda: one.leaving)
    _replace(one)
    stage.end()


def disk_that_is_gone() -> None:
    """Two of five were wrong and come back without their data; what they said before is not held against a third."""
    stage = _stage(5)
    one, other, *right = stage.others(stage.leader)
    _tamper(one, other)
    stage.expect("both stop", lambda: one.leaving and other.leaving)
    for node in (one, other):
        _replace(node)
    stage.expect("both vote again", lambda: stage.may_vote(one) and stage.may_vote(other))
    stage.expect("all agree", lambda: not any(node.replica.status().differs for node in right))
    stage.end()
