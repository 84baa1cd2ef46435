"""Stories of the driver and of group commit: what waits for the disk, in which order, and what a failed disk ends."""

from __future__ import annotations

from paxos.messages import Decide, SnapshotPiece
from tests.simulation.stage import OffStage, Stage
from tests.simulation.world import Node

NAMES = tuple("abcdefghij")


def away(stage: Stage, node: Node, names: tuple[str, ...]) -> None:
    """`node` is cut off while these are decided, and cut out of the others' logs."""
    stage.cut(node)
    stage.decide(stage.leader, *names)
    stage.until(lambda: stage.leader.replica.log.compacted == len(names) - 1)
    stage.mend()


def snapshot_and_decision_together() -> None:
    """A node gets a snapshot and, in the same turn of its event loop, hears that what follows it is decided."""
    stage = Stage(3, snapshot_every=4, keep=1, lag=1, piece_bytes=100_000)
    node = stage.others(stage.leader)[0]
    away(stage, node, NAMES[:8])
    stage.hold(SnapshotPiece, Decide, to=node)
    stage.until(lambda: any(isinstance(sent.message, SnapshotPiece) for sent in stage.held))
    stage.create(stage.leader, "after")
    stage.until(lambda: node.replica.log.get(9) is not None and any(_tells(sent.message, 9) for sent in stage.held))
    stage.weather.turn_s = 0.05
    stage.release()
    if node.replica.applied != 9:
        raise OffStage(f"it has come to {node.replica.applied}")
    stage.run(0.1)
    stage.weather.turn_s = 0.0
    stage.end()


def _tells(message: object, position: int) -> bool:
    return isinstance(message, Decide) and message.ballot.op_num == position


def read_of_a_fresh_decision() -> None:
    """A read is asked for just when an operation is decided elsewhere, and may be answered in the turn in which that is
    applied here."""
    stage = Stage(3)
    leader = stage.leader
    reader = stage.others(leader)[0]
    stage.hold(Decide, to=reader)
    stage.create(leader, "new")
    stage.until(lambda: stage.held and "new" in stage.told)
    answered = stage.read(reader, shows="new")
    stage.run(0.1)
    if answered:
        raise OffStage("it was answered before the decision came")
    stage.release()
    stage.expect("the read is answered", lambda: answered)
    stage.end()


def told_although_in_a_snapshot() -> None:
    """An operation of a node's own user is decided, and reaches that node as part of a snapshot."""
    stage = Stage(3, snapshot_every=4, keep=1, lag=1)
    node = stage.others(stage.leader)[0]
    stage.lose(of=stage.leader, to=node, where=lambda message: isinstance(message, Decide))
    stage.hold(Decide, to=node)
    stage.create(node, "mine")
    stage.until(lambda: stage.leader.replica.applied == 1)
    away(stage, node, NAMES[:8])
    stage.expect("its user is told something", lambda: "mine" in stage.told)
    stage.end()


def slow_compaction() -> None:
    """While a node's disk stores a snapshot, more is applied. Then the node starts again: what came after the snapshot
    must be in its log."""
    stage = Stage(3, snapshot_every=4, keep=1, lag=1)
    node = stage.others(stage.leader)[0]
    stage.decide(stage.leader, *NAMES[:3])
    node.stall(1.0)
    stage.decide(stage.leader, *NAMES[3:7])
    stage.until(lambda: node.replica.applied == 7)
    stage.run(1.5)
    if node.disk.image.snapshot_position != 4:
        raise OffStage(f"it has a snapshot at {node.disk.image.snapshot_position}")
    node.crash()
    node.start()
    stage.end()


def unreadable_snapshot() -> None:
    """A node needs a snapshot, and nobody can read theirs at the first attempt."""
    stage = Stage(3, snapshot_every=4, keep=1, lag=1)
    node = stage.others(stage.leader)[0]
    for other in stage.others(node):
        other.disk.unreadable = 1
    away(stage, node, NAMES[:8])
    stage.expect("it catches up", lambda: node.replica.applied == 8)
    stage.end()


def damaged_snapshot() -> None:
    """Whoever is asked for a snapshot finds it damaged. What else the damage has struck is not known, so none of them
    goes on; and the one that asked gets nothing."""
    stage = Stage(3, snapshot_every=4, keep=1, lag=1)
    node = stage.others(stage.leader)[0]
    others = stage.others(node)
    for other in others:
        other.disk.damaged = True
    away(stage, node, NAMES[:8])
    stage.expect("who was asked stops", lambda: any(other.process.driver.stopped for other in others))
    stage.run(1.0)
    if node.replica.applied:
        raise OffStage("it needed no snapshot")
    for other in others:
        other.disk.damaged = False
        other.crash()
        other.start()
    stage.expect("it catches up", lambda: node.replica.applied == 8)
    stage.end()


def disk_fails_while_more_waits() -> None:
    """A commit fails when others wait behind it. None of them may be written; and what the node has not stored, it does
    not say."""
    stage = Stage(3)
    node = stage.others(stage.leader)[0]
    failed: list[bool] = []
    node.fail_commit(lambda: failed.append(True))
    node.stall(0.5)
    stage.decide(stage.leader, *NAMES[:5])
    if node.process.disk.waiting < 5:
        raise OffStage(f"only {node.process.disk.waiting} writes wait")
    stage.until(lambda: failed)
    stage.decide(stage.leader, "meanwhile")
    stage.run(1.0)
    node.crash()
    node.start()
    stage.end()


def leaves_with_writes_under_way() -> None:
    """A user types `exit` when much waits for the disk; the process lives on for a while."""
    stage = Stage(3)
    node = stage.others(stage.leader)[0]
    node.stall(0.3)
    stage.decide(stage.leader, *NAMES[:3])
    node.leave()
    stage.decide(stage.leader, *NAMES[3:6])
    stage.run(0.5)
    node.crash()
    node.start()
    stage.end()


def passes_on_what_it_has_not_stored() -> None:
    """A node has got a snapshot that its slow disk does not hold yet. A peer that hears nobody else asks it for one."""
    stage = Stage(5, snapshot_every=4, keep=1, lag=1, piece_bytes=100_000)
    leader = stage.leader
    middle, last, *_ = stage.others(leader)
    stage.cut(middle)
    stage.cut(last)
    stage.decide(leader, *NAMES[:8])
    stage.until(lambda: leader.replica.log.compacted == 7)
    stage.mend()
    stage.cut(last)
    stage.hold(SnapshotPiece, to=middle)
    stage.until(lambda: stage.held)
    middle.stall(1.0)
    stage.create(leader, "stored-first")
    stage.until(lambda: middle.process.disk.waiting)
    stage.run(0.05)
    stage.mend()
    stage.cut(last, *stage.others(last, middle))
    stage.release()
    stage.until(lambda: middle.replica.applied >= 8)
    stage.run(0.5)
    if middle.disk.image.snapshot_position:
        raise OffStage("its disk was too quick")
    stage.run(1.0)
    stage.expect("the last one catches up", lambda: last.replica.applied >= 8)
    stage.end()
