"""Scenes of nodes that are behind: what they learn, snapshots, and log compaction."""

from __future__ import annotations

from kvstore.operations import Query
from paxos.messages import Accept, Accepted, Behind, Decide, Forward, Learn, SnapshotPiece
from tests.simulation.stage import FirstStart, OffStage, Overdue, Stage
from tests.simulation.world import Node

NAMES = tuple("abcdefghijklmnopqrstuvwxyz")
LARGE = "x" * 5_000
TURN_S = 0.3
"""How long only one of two refuses. Three pieces of a snapshot can arrive in that time."""


def learns_over_a_gap() -> None:
    """A node loses its disk, and then gets an answer to what it had asked for before."""
    stage = Stage(3)
    leader = stage.leader
    node = stage.others(leader)[0]
    stage.decide(leader, "before")
    stage.cut(node)
    stage.decide(leader, "meanwhile")
    stage.mend()
    stage.hold(Learn, to=node)
    stage.until(lambda: stage.held)
    node.crash()
    node.wipe()
    node.start()
    stage.release()
    stage.run(0.1)
    stage.end()


def needs_a_snapshot(stage: Stage) -> Node:
    """A node was down while the others decided, and compacted, more than it can get from their logs."""
    leader = stage.leader
    node = stage.others(leader)[0]
    stage.cut(node)
    stage.decide(leader, *NAMES[:10])
    stage.until(lambda: leader.replica.log.compacted > 1)
    return node


def snapshot_for_the_leader() -> None:
    """A leader with a slow disk had proposed more than acceptors take before they know what is decided, its own
    included, which is not asked again so soon. It gets what the others have decided from their snapshot, in the middle
    of its leadership. What it has proposed since then stands."""
    stage = FirstStart(3, snapshot_every=2, keep=1, lag=1, horizon=2, batch_operations=1, pipeline=8)
    stage.until(lambda: stage.leads and all(node.replica.cluster for node in stage.nodes.values()))
    leader = stage.leader
    other = stage.others(leader)[0]
    stage.weather.slow_disks = {leader.pid: 2.0}
    stage.create(other, "slow")
    stage.run(5.0)
    stage.hold(Accepted, to=leader)
    stage.hold(SnapshotPiece, to=leader)
    stage.lose(Learn, to=leader)
    for name in NAMES[:8]:
        stage.create(other, name)
    stage.run(0.1)
    stage.mend()
    stage.hold(SnapshotPiece, to=leader)
    stage.lose(Learn, to=leader)
    stage.release(Accepted)
    stage.until(lambda: len(other.store.conversations) == 9)
    stage.held = []
    stage.until(lambda: stage.held)
    stage.lose(Accept, of=leader)
    stage.create(other, "early")
    stage.run(0.1)
    stage.lose(Forward, of=other)
    stage.release(SnapshotPiece)
    stage.create(leader, "late")
    stage.run(5.0)
    stage.weather.slow_disks = {}
    stage.end()


def snapshot_from_slow_disks() -> None:
    """To read a snapshot takes longer than one is kept that nobody asks for."""
    stage = Stage(3, snapshot_every=4, keep=1, lag=1, snapshot_idle_s=0.2)
    node = needs_a_snapshot(stage)
    stage.weather.fsync = 1.0
    stage.mend()
    stage.expect("it has caught up", lambda: node.replica.applied == 10, within=20.0)
    stage.weather.fsync = 0.002
    stage.end()


def snapshot_not_stored() -> None:
    """A node has caught up by a snapshot, and restarts when its disk holds what followed."""
    stage = Stage(3, snapshot_every=4, keep=1, lag=1)
    node = needs_a_snapshot(stage)
    stage.mend()
    stage.until(lambda: node.replica.applied == 10 and stage.leads)
    stage.decide(stage.leader, "after", "later")
    stage.until(lambda: node.replica.applied == 12)
    stage.run(0.2)
    node.crash()
    node.start()
    stage.end()


def older_snapshot_installed() -> None:
    """A snapshot comes a second time, when its receiver has cut its log behind a later one."""
    stage = Stage(3, snapshot_every=4, keep=1, lag=1, piece_bytes=100_000)
    node = needs_a_snapshot(stage)
    stage.mend()
    stage.hold(SnapshotPiece, to=node)
    stage.until(lambda: stage.held)
    first = stage.held[:1]
    stage.mend()
    stage.until(lambda: node.replica.applied == 10 and stage.leads)
    stage.decide(stage.leader, *NAMES[10:20])
    stage.until(lambda: node.replica.log.compacted > 10)
    node.replica.catch_up.hurry(first[0].sender)  # it may ask the same one again
    stage.hand(first)
    stage.run(0.1)
    stage.end()


def snapshots_mixed() -> None:
    """A node starts again in the middle of a snapshot, is sent a later one, and then gets a piece of the first."""
    stage = Stage(3, snapshot_every=1, keep=1, lag=1, piece_bytes=20, snapshot_idle_s=0.5)
    node = needs_a_snapshot(stage)
    leader = stage.leader
    other, = stage.others(leader, node)
    stage.mend()
    stage.cut(node, other)  # both come from the leader: pieces of one that was not asked are not taken anyway
    stage.hold(SnapshotPiece, to=node, where=lambda piece: piece.piece == 1)
    stage.until(lambda: stage.held)
    early = stage.held[:1]
    node.crash()
    stage.mend()
    stage.query(leader, "a")
    stage.run(3.0)
    stage.cut(node, other)
    stage.hold(SnapshotPiece, to=node, where=lambda piece: piece.piece == 1)
    stage.held = []
    node.start()
    stage.until(lambda: stage.held)
    stage.hand(early)
    stage.end()


def overtaken_snapshot() -> None:
    """In the middle of a snapshot a node hears that all that is in it is decided, as it had accepted it. What it lacks
    comes after the snapshot, of which it needs no more."""
    stage = Stage(3, snapshot_every=8, keep=1, lag=1, piece_bytes=20, pipeline=8)
    leader = stage.leader
    node = stage.others(leader)[0]
    stage.decide(leader, *NAMES[:4])
    stage.hold(Decide, to=node)
    stage.lose(Learn, SnapshotPiece, to=node)
    for name in NAMES[4:12]:
        stage.create(leader, name)
    stage.until(lambda: leader.replica.applied == 12)
    stage.run(0.1)
    if node.replica.log.decided_upto >= leader.replica.log.compacted:
        raise OffStage(f"{node.pid} knows too much")
    stage.cut(node)
    stage.decide(leader, "m")
    stage.mend()
    stage.lose(SnapshotPiece, to=node, where=lambda piece: piece.piece > 0)
    stage.until(lambda: node.replica.catch_up._pieces)
    stage.release(Decide)
    if node.replica.log.decided_upto != 12:
        raise OffStage(f"{node.pid} knows {node.replica.log.decided_upto} as decided")
    stage.end()


def doubled_answers() -> None:
    """A node far behind catches up over a network that duplicates everything."""
    stage = Stage(3, learn_operations=1, keep=300, hold=300, lag=300, snapshot_every=300)
    leader = stage.leader
    node = stage.others(leader)[0]
    stage.cut(node)
    for number in range(150):
        stage.create(leader, f"c{number}")
    stage.until(lambda: leader.replica.applied == 150)
    stage.mend()
    stage.weather.duplicate = 1.0
    stage.until(lambda: node.replica.applied == 150)
    stage.weather.duplicate = 0.0
    stage.end()


def refused_by_two_in_turn() -> None:
    """The only node that can lead lacks what is cut off everywhere else, and needs a while for a snapshot. Meanwhile
    two others refuse its candidacy in turn; they have different snapshots."""
    stage = Stage(5, snapshot_every=4, keep=2, lag=2, piece_bytes=20, pieces=1)
    leader = stage.leader
    behind, other, *rest = stage.others(leader)
    stage.decide(leader, *NAMES[:6])
    stage.cut(other)
    stage.decide(leader, *NAMES[6:9])
    stage.mend()
    stage.until(lambda: other.compacted == 9)
    stage.cut(behind)
    stage.decide(leader, *NAMES[9:24])
    for node in rest:
        node.crash()
    if leader.compacted == other.compacted:
        raise OffStage("they have the same snapshot")
    stage.weather.delay = 0.05
    stage.mend()
    stage.star(behind)
    stage.lose(SnapshotPiece)
    stage.until(lambda: behind.replica.candidate is not None)
    stage.mend()
    stage.star(behind)
    stage.lose(Behind, of=leader, where=lambda behind: int(stage.now / TURN_S) % 2 == 0)
    stage.lose(Behind, of=other, where=lambda behind: int(stage.now / TURN_S) % 2 == 1)
    stage.expect("the node that has caught up leads", lambda: behind.pid in stage.leads)
    stage.end()


def no_further_than_the_horizon() -> None:
    """A node misses one operation and learns nothing, while many more arrive: it must not store endlessly what it
    cannot apply."""
    stage = Stage(3, horizon=12)
    leader = stage.leader
    node = stage.others(leader)[0]
    stage.lose(Accept, to=node, where=lambda accept: accept.ballot.op_num == 1)
    stage.lose(Learn, to=node)
    stage.decide(leader, *NAMES)
    stage.end()


def log_never_cut() -> None:
    """Users keep writing; the log stays bounded."""
    stage = Stage(3, snapshot_every=4, keep=2, lag=2, hold=5, horizon=12)
    for number in range(120):
        stage.create(stage.leader, f"c{number}")
        stage.run(0.02)
    stage.end()


def log_of_large_operations() -> None:
    """A few large operations fill the log as many small ones do; so do those that a node's own users ask for while
    nobody decides them. Then every node starts again, and a node that was away catches up."""
    stage = Stage(3, keep=200, snapshot_bytes=20_000, keep_bytes=10_000, lag_bytes=10_000, hold_bytes=10_000,
                  horizon_bytes=60_000, batch_bytes=10_000, queue_bytes=100_000)
    leader = stage.leader
    away = stage.others(leader)[0]
    stage.cut(away)
    stage.decide(leader, "large")
    for number in range(120):
        stage.query(leader, "large", LARGE + str(number))
        stage.run(0.02)
    stage.mend()
    stage.run(1.0)
    if not leader.replica.log.compacted:
        raise Overdue(f"{leader.replica.applied} large operations are applied, and nothing was cut")
    stage.cut(leader)
    for number in range(40):
        if not stage.takes(leader, Query("large", LARGE + str(number))):
            break
    for node in stage.nodes.values():
        node.crash()
        node.start()
    stage.end()


def held_for_long() -> None:
    """A node asks for a snapshot piece by piece, and no piece arrives, while large operations go on being decided: what
    is kept for it is bounded, and it gets a later snapshot."""
    stage = Stage(3, keep=2, lag=2, hold=1_000, snapshot_bytes=20_000, keep_bytes=20_000, lag_bytes=10_000,
                  hold_bytes=20_000, horizon_bytes=60_000, batch_bytes=10_000)
    leader = stage.leader
    away = stage.others(leader)[0]
    stage.cut(away)
    stage.decide(leader, "large")
    for number in range(20):
        stage.query(leader, "large", LARGE + str(number))
        stage.run(0.02)
    stage.mend()
    stage.hold(SnapshotPiece, to=away)
    stage.until(lambda: stage.held)
    stage.lose(of=leader, to=away)
    for number in range(20, 120):
        stage.query(leader, "large", LARGE + str(number))
        stage.run(0.02)
    stage.mend()
    stage.end()


def cut_too_far() -> None:
    """A disk is so slow that much has been applied when it has stored a snapshot. Then the node starts again: what
    came after the snapshot must be in its log."""
    stage = Stage(3, snapshot_every=4, keep=2, lag=2)
    leader = stage.leader
    node = stage.others(leader)[0]
    stage.decide(leader, "a", "b", "c")
    node.stall(1.0)
    stage.decide(leader, "d", "e", "f")
    stage.until(lambda: node.replica.applied == 6)
    stage.run(1.5)
    if node.disk.image.snapshot_position != 4:
        raise OffStage(f"it has a snapshot at {node.disk.image.snapshot_position}")
    node.crash()
    node.start()
    stage.end()
