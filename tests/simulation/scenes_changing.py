"""Stories of changes of the members with which something goes wrong: at the leader, who leaves, or who missed them."""

from __future__ import annotations

from paxos.ballot import Ballot
from paxos.messages import Accept, Change, Decide, Learn, Prepare
from tests.simulation.stage import FirstStart, OffStage, OldRelease, Stage, ThreeOf
from tests.simulation.world import Node


def stop_sign_of_the_dead() -> None:
    """The leader dies when nobody else has accepted its stop-sign. Others go on, and it comes back with it."""
    stage = ThreeOf(4)
    leader = stage.leader
    stage.decide(leader, "before")
    position = leader.replica.log.decided_upto + 1
    stage.lose(Accept, of=leader)
    leader.replica.change_members(Change.ADD, 4)
    stage.until(lambda: position in leader.disk.entries)
    leader.crash()
    stage.mend()
    stage.until(lambda: stage.leads)
    stage.decide(stage.leader, "meanwhile")
    leader.start()
    stage.run(2.0)
    stage.expect("nobody asks for it any more", lambda: len(stage.configurations) == 1)
    stage.decide(stage.leader, "after")
    stage.end()


def removed_with_its_old_disk() -> None:
    """A node is removed while it is down, and comes back with its disk, which names it: to two others that don't know
    of its removal yet. With them it has been a majority."""
    stage = Stage(5)
    leader = stage.leader
    gone, near, *unaware = stage.others(leader)
    gone.crash()
    stage.lose(Decide, Learn, to=unaware)
    stage.change(Change.REMOVE, gone.pid)
    if any(node.replica.registry.number > 1 for node in unaware):
        raise OffStage("they know of it")
    for node in (leader, near):
        stage.cut(node)
    stage.lose(Decide, Learn, to=unaware)
    gone.start()
    stage.create(gone, "late")
    stage.create(unaware[0], "otherwise")
    stage.run(5.0)
    stage.expect("these three are no majority", lambda: not {"late", "otherwise"} & stage.told)
    stage.mend()
    stage.expect("all is done in the end", lambda: {"late", "otherwise"} <= stage.told)
    if gone.replica.registry.votes:
        raise OffStage("it was not removed")
    stage.end()


def removed_beside_a_replaced_disk() -> None:
    """A node is to be removed when the disk of one of the two others does not count any more: it is back, and says that
    it votes, as it knows nothing of that."""
    stage = Stage(3, lag=2)
    leader = stage.leader
    replaced = stage.others(leader)[0]
    replaced.crash()
    stage.until(lambda: replaced.pid not in leader.replica.net.fresh)
    stage.decide(leader, "one", "two", "three", "four")
    stage.change(Change.REPLACE, replaced.pid)
    if stage.leader is not leader:
        raise OffStage("another leads")
    stage.lose(Decide, Learn, Accept, to=replaced)
    replaced.start()
    stage.until(lambda: leader.replica.net.votes(replaced.pid) and leader.replica.net.linked(leader.pid, replaced.pid))
    leader.replica.change_members(Change.REMOVE, leader.pid)
    stage.run(3.0)
    stage.mend()
    stage.expect("somebody leads those who are left", lambda: len(stage.configurations) > 2 and stage.leads and all(
        node.replica.registry.votes for node in stage.others(leader)))
    stage.decide(stage.leader, "after")
    stage.end()


def added_and_removed_in_one_leadership() -> None:
    """One leader adds a node and removes it again, with operations before, between and behind."""
    stage = ThreeOf(4)
    leadership = stage.leader.replica.proposer.claim
    for number, change in enumerate((Change.ADD, Change.REMOVE, Change.ADD)):
        stage.create(stage.nodes[2], f"meanwhile-{number}")
        stage.change(change, 4)
        stage.decide(stage.leader, f"after-{number}")
    stage.expect("the same leader did it all", lambda: stage.leader.replica.proposer.claim == leadership)
    stage.end()


def missed_two_configurations() -> None:
    """A member is cut off while two others come and one goes, and while all of that is cut out of the logs."""
    stage = ThreeOf(5, snapshot_every=2, keep=0, hold=2)
    node = stage.others(stage.leader)[0]
    stage.cut(node)
    for change, pid in ((Change.ADD, 4), (Change.ADD, 5), (Change.REMOVE, _third(stage, node))):
        stage.change(change, pid)
        for number in range(4):
            stage.decide(stage.leader, f"c{pid}-{number}")
    stage.until(lambda: stage.leader.replica.log.compacted > 6)
    stage.mend()
    stage.expect("it votes in the last one", lambda: node.replica.registry.number == 4 and node.replica.registry.votes)
    stage.end()


def _third(stage: Stage, node: Node) -> int:
    return next(pid for pid in (1, 2, 3) if pid not in (node.pid, stage.leader.pid))


def promised_before_the_configuration() -> None:
    """A member has promised a high leadership to nobody that counts; then the members change without it."""
    stage = ThreeOf(4)
    node = stage.others(stage.leader)[0]
    stage.cut(node)
    node.receive(stage.leader.pid, Prepare(Ballot(50, stage.leader.pid, 1)))
    stage.until(lambda: node.disk.image.promised.seq_num == 50)
    stage.change(Change.ADD, 4)
    stage.decide(stage.leader, "meanwhile")
    stage.mend()
    stage.run(2.0)
    stage.until(lambda: stage.leads)
    stage.decide(stage.leader, "after")
    stage.expect("all vote", lambda: all(each.replica.registry.votes for each in stage.nodes.values()))
    stage.end()


def founding_waits_for_the_missing() -> None:
    """A cluster with data of release 0.1.0 is upgraded while one member is down for long. It comes back with the old
    release, and must not meet what it does not know."""
    stage = OldRelease(3)
    stage.until(lambda: stage.leads)
    stage.decide(stage.leader, "before")
    missing, *rest = stage.others()[::-1]
    missing.crash()
    for node in rest:
        _upgrade(node)
        stage.run(1.0)
    stage.until(lambda: stage.leads)
    stage.decide(stage.leader, "upgraded")
    stage.run(20.0)
    missing.start()
    stage.run(2.0)
    stage.expect("nothing is founded before all are upgraded", lambda: not stage.configurations)
    _upgrade(missing)
    stage.expect("then it is", lambda: all(node.replica.cluster for node in stage.nodes.values()))
    stage.end()


def first_start_among_older() -> None:
    """One node of this release, and two of release 0.1.0, start for the first time."""
    stage = FirstStart(3)
    for node in stage.nodes.values():
        node.old = node.pid != 1
        node.crash()
        node.start()
    stage.until(lambda: stage.leads == {1})
    stage.decide(stage.leader, "before")
    stage.run(1.0)
    stage.expect("nothing is founded that two do not know", lambda: not stage.configurations)
    for pid in (2, 3):
        _upgrade(stage.nodes[pid])
        stage.run(1.0)
    stage.expect("then it is", lambda: all(node.replica.cluster for node in stage.nodes.values()))
    stage.end()


def _upgrade(node: Node) -> None:
    node.old = False
    if node.up:
        node.crash()
    node.start()
