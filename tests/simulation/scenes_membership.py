"""Stories of clusters that are founded, meet strangers, and change their members."""

from __future__ import annotations

import msgspec

from kvstore.operations import Create
from kvstore.payloads import encode
from paxos.ballot import Ballot
from paxos.configuration import stop_sign
from paxos.messages import (
    Accept,
    Accepted,
    Change,
    Configuration,
    Decide,
    Forward,
    Heartbeat,
    Learn,
    Operation,
    Prepare,
    ReadReply,
    ReadRequest,
    Routed,
    SnapshotPiece,
)
from paxos.output import VoterStatus
from tests.simulation.founding import CLUSTER
from tests.simulation.stage import FirstStart, OffStage, OldRelease, OldReleaseWithoutFirst, Stage, ThreeOf
from tests.simulation.world import Node

STRANGER = 0xBAD
"""The id of another cluster."""


def lost_before_founding() -> None:
    """A node loses its disk when the others know it already, and have founded nothing yet. It is asked for a promise
    before it has heard of that."""
    stage = FirstStart(5)
    stage.lose(Accept)
    stage.until(lambda: all(node.disk.image.voter_status is VoterStatus.VOTER for node in stage.nodes.values()))
    stage.until(lambda: stage.leads)
    leader = stage.leader
    node = stage.others(leader)[0]
    node.crash()
    node.wipe()
    node.start()
    node.receive(leader.pid, Prepare(leader.replica.acceptor.promised.at(1)))
    stage.run(1.0)
    stage.mend()
    stage.expect("all vote in the end", lambda: all(
        each.replica.registry.votes and each.replica.cluster for each in stage.nodes.values()))
    stage.until(lambda: stage.leads)
    stage.decide(stage.leader, "after")
    stage.end()


def founder_hears_nobody() -> None:
    """Only the leader knows that the founding is decided, when it hears nobody any more. The others hear it, and cannot
    ask it."""
    stage = FirstStart(3)
    stage.lose(Decide)
    stage.until(lambda: any(node.replica.cluster for node in stage.nodes.values()))
    founder, = (node for node in stage.nodes.values() if node.replica.cluster)
    stage.lose(to=founder)
    stage.expect("another leads", lambda: stage.leads - {founder.pid} and all(
        node.replica.cluster for node in stage.nodes.values()))
    stage.end()


def founded_behind_old_operations() -> None:
    """A node has accepted the founding behind an operation of release 0.1.0 that it does not know to be decided, and
    never met the founder's disk in that release; whose disk it met is down."""
    stage = OldReleaseWithoutFirst(3)
    founder, holder, met = stage.nodes.values()
    stage.lose(Prepare, of=met)
    stage.lose(Accept)
    stage.until(lambda: stage.leads == {holder.pid})
    stage.create(holder, "before")
    stage.until(lambda: holder.disk.entries)
    for node in stage.nodes.values():
        node.old = False
        if node.up:
            node.crash()
        node.start()
    stage.lose(Prepare, of=holder)
    stage.until(lambda: founder.disk.image.voter_status is VoterStatus.VOTER)
    met.crash()
    stage.until(lambda: founder.replica.leader)
    stage.mend()
    stage.expect("it is founded", lambda: founder.replica.cluster)
    stage.expect("both are of it", lambda: holder.replica.cluster == founder.replica.cluster)
    stage.end()


def founded_by_who_has_joined() -> None:
    """A node has accepted the founding behind an operation of release 0.1.0 that it lacks, and gets that one from the
    only node that knows the founding to be decided. It belongs to that cluster from there on, and has no id yet: when
    its teacher is gone, it still decides together with another that has none."""
    stage = OldRelease(3)
    stage.until(lambda: stage.leads)
    teacher = stage.leader
    pupil, other = stage.others(teacher)
    stage.lose(Accept, Learn, to=pupil)
    stage.decide(teacher, "before")
    missing = teacher.replica.log.get(1)
    for node in stage.nodes.values():
        node.old = False
        node.crash()
        node.start()
    stage.mend()
    stage.lose(Prepare, of=pupil)
    stage.lose(Prepare, of=other)
    stage.lose(Learn, to=pupil)
    stage.lose(Decide)
    stage.until(lambda: teacher.replica.cluster)
    stage.until(lambda: pupil.replica.catch_up.asked(teacher.pid))
    assert missing is not None
    pupil.receive(teacher.pid, Learn(1, [missing.operation], 2), teacher.replica.cluster)
    stage.until(lambda: pupil.replica.log.decided_upto == 1)
    teacher.crash()
    stage.mend()
    stage.expect("both are of its cluster", lambda: {pupil.replica.cluster, other.replica.cluster} == {
        configuration.cluster for configuration in stage.configurations})
    stage.expect("one of them leads", lambda: stage.leads)
    stage.decide(stage.leader, "after")
    stage.end()


def disks_lost_in_turn() -> None:
    """Three of three disks are lost, one after the other: each is back before the next one goes."""
    stage = Stage(3)
    stage.decide(stage.leader, "before")
    for node in list(stage.nodes.values()):
        node.crash()
        node.wipe()
        node.start()
        stage.expect("it votes again", lambda node=node: stage.may_vote(node))  # type: ignore[misc]
        stage.decide(stage.leader, f"after-{node.pid}")
    stage.read(stage.leader, shows="before")
    stage.end()


def speaks_for_another_cluster() -> None:
    """A node of another cluster has taken a member's place, and says what is decided there."""
    stage = Stage(3)
    leader = stage.leader
    stage.decide(leader, "before")
    node, other = stage.others(leader)
    position = node.replica.log.decided_upto + 1
    foreign = Operation(other.pid, 2**50, 1, encode(Create("foreign")))
    node.receive(other.pid, Learn(position, [foreign], position), STRANGER)
    stage.decide(leader, "after")
    stage.end()


def stranger_speaks_to_who_has_no_id() -> None:
    """A node of another cluster tells one that has lost its disk what is decided, and what to pass on to another."""
    stage = FirstStart(3)
    stage.until(lambda: stage.leads and all(node.replica.cluster for node in stage.nodes.values()))
    leader = stage.leader
    stage.decide(leader, "before")
    node, other = stage.others(leader)
    node.crash()
    node.wipe()
    stage.lose(Learn, to=node)
    stage.cut(leader, other)
    stage.until(lambda: other.pid not in leader.replica.net.hears)
    node.start()
    stage.until(lambda: node.replica.net.links() == tuple(sorted((leader.pid, other.pid))))
    told = _of_another_cluster(other, 1)
    for lesson in told, Routed(other.pid, node.pid, 4, told):
        _asks_stranger(node, other)
        node.receive(other.pid, lesson, STRANGER)
    _asks_stranger(node, other)
    behind = _of_another_cluster(other, leader.replica.log.decided_upto + 1)
    node.receive(other.pid, Routed(other.pid, leader.pid, 4, behind), STRANGER)
    stage.run(0.3)
    stage.mend()
    stage.decide(stage.leader, "after")
    stage.end()


def stranger_teaches_nothing() -> None:
    """At a first start, a node of another cluster tells all nothing of what is decided there: unasked and asked."""
    stage = FirstStart(3)
    stage.lose(Accept)
    stage.until(lambda: stage.leads)
    other, *rest = stage.others(stage.leader)
    for node in stage.leader, *rest:
        node.receive(other.pid, Learn(1, [], 0), STRANGER)
        _asks_stranger(node, other)
        node.receive(other.pid, Learn(1, [], 5), STRANGER)
    _founded_all_the_same(stage)


def stranger_leaves_amid_a_snapshot() -> None:
    """At a first start, a node of another cluster in a member's place begins to send its snapshot, and goes."""
    stage = FirstStart(5)
    stage.lose(Accept)
    stage.until(lambda: stage.leads)
    other, *rest = stage.others(stage.leader)
    first = SnapshotPiece(900, 0, 2, {}, [], Configuration(1, STRANGER, {other.pid: 7}, 1))
    for node in rest:
        _asks_stranger(node, other)
        node.receive(other.pid, first, STRANGER)
        if not node.replica.catch_up.snapshot_of:
            raise OffStage(f"{node.pid} keeps nothing")
    _founded_all_the_same(stage)


def _founded_all_the_same(stage: FirstStart) -> None:
    """Also after all have started again: what a stranger has said is on no disk."""
    stage.run(0.3)
    for node in stage.nodes.values():
        node.crash()
        node.start()
    stage.mend()
    stage.expect("it is founded", lambda: stage.leads and all(node.replica.cluster for node in stage.nodes.values()))
    stage.decide(stage.leader, "after")
    stage.end()


def stranger_says_up_to_where_to_read() -> None:
    """A node that has lost its disk, and with it the cluster's id, is told by another cluster's leader that nothing is
    decided which its user would have to see."""
    stage = FirstStart(3)
    stage.until(lambda: stage.leads and all(node.replica.cluster for node in stage.nodes.values()))
    leader = stage.leader
    stage.decide(leader, "before")
    node, _ = stage.others(leader)
    node.crash()
    node.wipe()
    stage.lose(Learn, to=node)
    stage.hold(ReadRequest, of=node)
    node.start()
    stage.until(lambda: node.replica.status().leader)
    answered = stage.read(node, shows="before")
    stage.until(lambda: stage.held)
    request = stage.held[0].message
    assert isinstance(request, ReadRequest)
    node.receive(leader.pid, ReadReply(request.ticket, 0), STRANGER)
    stage.run(0.3)
    stage.mend()
    stage.expect("the read is answered", lambda: answered)
    stage.end()


def stranger_speaks_to_old_data() -> None:
    """A cluster with data of release 0.1.0 has no id yet; another cluster tells one of its nodes what is decided."""
    stage = OldRelease(3)
    stage.until(lambda: stage.leads)
    stage.decide(stage.leader, "before")
    node, other = stage.others(stage.leader)
    _asks_stranger(node, other)
    node.receive(other.pid, _of_another_cluster(other, node.replica.log.decided_upto + 1), STRANGER)
    stage.decide(stage.leader, "after")
    for each in stage.nodes.values():
        each.old = False
        each.crash()
        each.start()
    stage.expect("it is founded", lambda: all(each.replica.cluster for each in stage.nodes.values()))
    stage.end()


def _asks_stranger(node: Node, other: Node) -> None:
    """In the place of `other`, which `node` hears, runs a node of another cluster that is far ahead; and is asked."""
    said = node.replica.net.states[other.pid]
    node.receive(other.pid, Heartbeat([msgspec.structs.replace(
        said, identity=7, cluster=STRANGER, version=(said.version[0], said.version[1] + 1), decided_upto=1000)],
        {}, 0.0, {}), STRANGER)
    node.replica.catch_up._source = other.pid


def _of_another_cluster(node: Node, position: int) -> Learn:
    return Learn(position, [Operation(node.pid, 2**50, 1, encode(Create("foreign")))], position)


def stop_sign_from_a_user() -> None:
    """What ends a configuration comes as if a user had wanted it."""
    stage = Stage(3)
    stage.hostile.update(stage.pids)
    leader = stage.leader
    other = stage.others(leader)[0]
    named = Configuration(2, CLUSTER, {other.pid: other.disk.image.identity})
    stop = stop_sign(named)
    leader.receive(other.pid, Forward([Operation(0, stop.incarnation, 1, stop.payload)]))
    stage.run(0.5)
    stage.expect("nobody believes it", lambda: len(stage.configurations) == 1)
    stage.decide(leader, "after")
    stage.end()


def restarted_behind_a_snapshot() -> None:
    """All start again when their logs are cut: who votes they know from their snapshots."""
    stage = Stage(3, snapshot_every=2, keep=0)
    for number in range(6):
        stage.decide(stage.leader, f"c{number}")
    stage.until(lambda: all(node.disk.image.compacted for node in stage.nodes.values()))
    for node in stage.nodes.values():
        node.crash()
    for node in stage.nodes.values():
        node.start()
    stage.expect("they know their cluster", lambda: all(node.replica.cluster for node in stage.nodes.values()))
    stage.expect("somebody leads", lambda: bool(stage.leads))
    stage.decide(stage.leader, "after")
    stage.end()


def old_disk() -> None:
    """A node gets back a copy of its disk that is older than its last vote. It hears what another remembers of it; then
    it could decide something else, together with a node that knows nothing of that vote."""
    stage = Stage(3)
    leader = stage.leader
    node, other = stage.others(leader)
    stage.decide(leader, "before")
    copy = node.backup()
    stage.cut(other)
    stage.decide(leader, "precious")
    stage.run(0.5)
    node.crash()
    node.restore(copy)
    stage.lose(Accept, Prepare, Learn, of=leader)
    node.start()
    stage.run(0.5)
    stage.mend()
    stage.cut(leader)
    stage.create(other, "otherwise")
    stage.run(5.0)
    stage.expect("nothing is decided without a majority", lambda: "otherwise" not in stage.told)
    learner = VoterStatus.LEARNER
    stage.expect("it does not take itself for a voter", lambda: node.replica.registry.voter_status is learner)
    stage.mend()
    stage.expect("it votes again", lambda: stage.may_vote(node) and node.replica.registry.votes)
    stage.end()


def old_disk_started_twice() -> None:
    """An older copy takes in operations before it hears what others remember of it, and is started again. What was
    written on it by then does not make it a newer one."""
    stage = Stage(3)
    leader = stage.leader
    node, other = stage.others(leader)
    stage.decide(leader, "before")
    copy = node.backup()
    stage.cut(other)
    stage.decide(leader, "precious")
    stage.run(0.5)
    node.crash()
    node.restore(copy)
    stage.mend()
    stage.lose(Heartbeat, Learn, to=node)
    node.start()
    stage.decide(leader, "later")
    stage.run(0.5)
    stage.mend()
    node.crash()
    node.start()
    stage.run(1.0)
    stage.decide(leader, "last")
    stage.run(1.0)
    stage.expect("it votes again", lambda: stage.may_vote(node) and node.replica.registry.votes)
    stage.end()


def old_disk_killed_at_once() -> None:
    """The node dies right after the vote that was counted, before any heartbeat can tell of it, and gets back an older
    copy. Who counted the vote remembers it."""
    stage = Stage(3)
    leader = stage.leader
    node, other = stage.others(leader)
    stage.decide(leader, "before")
    stage.run(1.0)
    copy = node.backup()
    stage.cut(other)
    stage.lose(Heartbeat, of=node)
    stage.decide(leader, "precious")
    node.crash()
    node.restore(copy)
    stage.mend()
    stage.cut(other)
    stage.lose(Accept, Prepare, Learn, of=leader)
    node.start()
    stage.run(0.5)
    stage.mend()
    stage.cut(leader)
    stage.create(other, "otherwise")
    stage.run(5.0)
    stage.expect("nothing is decided without a majority", lambda: "otherwise" not in stage.told)
    stage.mend()
    stage.expect("it votes again", lambda: stage.may_vote(node) and node.replica.registry.votes)
    stage.end()


def old_disk_restarted_since() -> None:
    """After the copy was made the node was started again, and voted for nothing while `other` was there. That one still
    knows a copy when it sees one, although it was down when the vote was given that the copy does not show."""
    stage = Stage(3)
    leader = stage.leader
    node, other = stage.others(leader)
    stage.decide(leader, "before")
    stage.run(2.5)  # all that the vote leaves to be stored is stored
    node.crash()
    copy = node.backup()
    node.start()
    stage.run(2.5)
    other.crash()
    stage.decide(leader, "precious")
    node.crash()
    node.restore(copy)
    leader.crash()
    other.start()
    node.start()
    stage.run(1.0)
    stage.create(other, "otherwise")
    stage.run(5.0)
    stage.expect("nothing is decided without a majority", lambda: "otherwise" not in stage.told)
    leader.start()
    stage.expect("it votes again", lambda: stage.may_vote(node) and node.replica.registry.votes)
    stage.end()


def votes_for_what_was_stored_before() -> None:
    """After a restart it votes again for what an earlier process has stored, and stores nothing for that. Its start is
    later than that write all the same: nobody may take its disk for an old one."""
    stage = Stage(3)
    leader = stage.leader
    node, other = stage.others(leader)
    stage.decide(leader, "before")
    identity = node.disk.image.identity
    stage.cut(other)
    stage.lose(Accepted, of=node)
    stage.create(leader, "precious")
    stage.until(lambda: node.replica.log.last == leader.replica.log.last > leader.replica.log.decided_upto)
    stage.run(0.5)
    stage.lose(Accept, to=node)
    node.crash()
    node.start()
    stage.until(lambda: node.replica.registry.votes)
    stage.run(0.5)
    stage.mend()
    stage.cut(other)
    stage.expect("its vote counts", lambda: "precious" in stage.told)
    stage.run(2.0)
    stage.expect("its disk is the one that it was", lambda: node.disk.image.identity == identity, 0.1)
    stage.end()


def old_disk_asked_at_once() -> None:
    """The old copy is asked for a promise before anybody could say what he remembers of it."""
    stage = Stage(3)
    leader = stage.leader
    node, other = stage.others(leader)
    stage.decide(leader, "before")
    copy = node.backup()
    stage.cut(other)
    stage.decide(leader, "precious")
    stage.run(0.5)
    node.crash()
    node.restore(copy)
    node.start()
    node.receive(other.pid, Prepare(Ballot(99, other.pid, 1)))
    stage.run(0.5)
    stage.mend()
    stage.expect("it votes again", lambda: stage.may_vote(node) and node.replica.registry.votes)
    stage.end()


def old_disk_with_a_gap() -> None:
    """The copy holds a later position than the one that was accepted last: that came late."""
    stage = Stage(3)
    leader = stage.leader
    node, other = stage.others(leader)
    stage.decide(leader, "before")
    stage.cut(other)
    stage.hold(Accept, to=node, where=lambda message: message.ballot.op_num == 2)
    stage.create(leader, "precious")
    stage.run(0.05)
    stage.create(leader, "behind")
    stage.until(lambda: 3 in node.disk.entries)
    copy = node.backup()
    stage.release(first=1)
    stage.until(lambda: "precious" in stage.told)
    stage.run(0.5)
    stage.mend()
    stage.cut(other, node)
    stage.lose(Accept, Learn, to=other)
    stage.run(0.5)
    node.crash()
    node.restore(copy)
    stage.mend()
    stage.cut(leader)
    stage.lose(Learn, of=other)
    node.start()
    stage.create(other, "otherwise")
    stage.run(5.0)
    stage.expect("nothing is decided without a majority", lambda: "otherwise" not in stage.told)
    stage.mend()
    stage.expect("it votes again", lambda: stage.may_vote(node) and node.replica.registry.votes)
    stage.end()


def older_than_the_founding() -> None:
    """The old copy is from before the cluster had an id. It hears what others remember of it, learns of the founding,
    and is asked for a promise at once."""
    stage = FirstStart(3)
    node = stage.nodes[3]
    stage.lose(Accept)
    stage.until(lambda: node.disk.image.voter_status is VoterStatus.VOTER)
    copy = node.backup()
    stage.mend()
    stage.until(lambda: stage.leads and all(each.replica.cluster for each in stage.nodes.values()))
    stage.decide(stage.leader, "before")
    stage.run(1.0)
    node.crash()
    node.restore(copy)
    stage.lose(Learn, Accept, Decide, Prepare, to=node)
    node.start()
    stage.run(1.0)
    stage.mend()
    stage.lose(Heartbeat, Prepare, Accept, to=node)
    stage.until(lambda: node.replica.cluster)
    node.receive(1, Prepare(Ballot(99, 1, 2)))
    stage.run(0.5)
    stage.mend()
    stage.expect("it votes again", lambda: stage.may_vote(node) and node.replica.registry.votes)
    stage.end()


def grows_and_shrinks() -> None:
    """Two nodes are added, two of the first three (the leader among them) are removed; all under load."""
    stage = ThreeOf(5)
    stage.decide(stage.leader, "before")
    for change, pid in ((Change.ADD, 4), (Change.ADD, 5), (Change.REMOVE, stage.leader.pid), (Change.REMOVE, 3)):
        number = len(stage.configurations)
        asker = stage.nodes[4]
        asker.replica.change_members(change, pid)
        stage.create(stage.nodes[2], f"meanwhile-{number}")
        stage.expect("it is decided", lambda number=number: len(stage.configurations) > number)  # type: ignore[misc]
        stage.expect("and known", lambda asker=asker: not asker.replica.changing)  # type: ignore[misc]
        stage.until(lambda: stage.leads)
        stage.decide(stage.leader, f"after-{number}")
    stage.end()


def two_of_the_first_three() -> None:
    """When there are five members, two of the first three are left alone: they were a majority once."""
    stage = ThreeOf(5)
    for pid in (4, 5):
        stage.change(Change.ADD, pid)
    leader = stage.leader
    other = next(node for node in stage.others(leader) if node.pid <= 3)
    for node in stage.others(leader, other):
        stage.cut(node)
    stage.create(leader, "alone")
    stage.run(3.0)
    stage.expect("two are no majority", lambda: "alone" not in stage.told)
    stage.end()


def dies_while_it_changes_members() -> None:
    """The leader dies when a stop-sign is accepted by one other node only; what was offered behind it comes later."""
    stage = ThreeOf(4)
    leader = stage.leader
    stage.decide(leader, "before")
    stage.lose(Accepted, to=leader)
    leader.replica.change_members(Change.ADD, 4)
    stage.run(1.0)
    stage.create(stage.others(leader)[0], "behind")
    stage.run(0.5)
    leader.crash()
    stage.mend()
    stage.until(lambda: stage.leads)
    stage.expect("the next leader decides it", lambda: len(stage.configurations) == 2)
    leader.start()
    stage.expect("what was behind it is done", lambda: "behind" in stage.told)
    stage.end()


def stale_leader_of_an_earlier_configuration() -> None:
    """A leader is cut off with one other node, while the rest, which it has just taken in, goes on and removes both."""
    stage = ThreeOf(5)
    old = stage.leader
    for pid in (4, 5):
        number = len(stage.configurations)
        old.replica.change_members(Change.ADD, pid)
        stage.expect("it is decided", lambda number=number: len(stage.configurations) > number)  # type: ignore[misc]
        stage.until(lambda: stage.leads)
    old = stage.leader
    near = next(node for node in stage.others(old) if node.pid <= 3)
    rest = stage.others(old, near)
    for node in (old, near):
        stage.cut(node, *rest)
    stage.until(lambda: any(node.pid in stage.leads for node in rest))
    asker = rest[0]
    for gone in (old, near):
        number = len(stage.configurations)
        asker.replica.change_members(Change.REMOVE, gone.pid)
        stage.expect("it is decided", lambda number=number: len(stage.configurations) > number)  # type: ignore[misc]
        stage.until(lambda: any(node.pid in stage.leads for node in rest))
    stage.create(old, "stale")
    stage.run(3.0)
    stage.expect("nothing is decided by those who left", lambda: "stale" not in stage.told)
    stage.mend()
    stage.expect("it is done when they are back", lambda: "stale" in stage.told)
    stage.end()


def leaves_and_comes_back() -> None:
    """A member is removed, and added again soon after: what was asked for first is not made a second time."""
    stage = Stage(4)
    leader = stage.leader
    gone = stage.others(leader)[0]
    for change in (Change.REMOVE, Change.ADD):
        number = len(stage.configurations)
        leader.replica.change_members(change, gone.pid)
        stage.expect("it is decided", lambda number=number: len(stage.configurations) > number)  # type: ignore[misc]
        stage.until(lambda: stage.leads)
    stage.run(3.0)
    stage.expect("it stays", lambda: len(stage.configurations) == 3)
    stage.end()


def replaced_while_it_is_down() -> None:
    """The members decide that the disk of a node which is down does not count, and hear of each other meanwhile."""
    stage = Stage(3)
    node = stage.others(stage.leader)[0]
    stage.decide(stage.leader, "before")
    node.crash()
    stage.run(2.0)
    stage.change(Change.REPLACE, node.pid)
    stage.decide(stage.leader, "meanwhile")
    stage.run(1.0)
    node.wipe()
    node.start()
    stage.expect("its new disk votes", lambda: stage.may_vote(node) and node.replica.registry.votes)
    stage.end()


def replaced_disk_put_back() -> None:
    """A node's disk is replaced, and the new one votes; then it gets its former disk back, which knows nothing of that,
    and is asked by a node that does not know yet either which disk counts."""
    stage = Stage(3)
    leader = stage.leader
    node, other = stage.others(leader)
    stage.decide(leader, "before")
    node.crash()
    former = node.backup()
    node.wipe()
    stage.lose(Decide, Learn, to=other)
    node.start()
    stage.until(lambda: stage.may_vote(node) and stage.leads)
    stage.cut(other)
    stage.decide(stage.leader, "precious")
    for each in (node, leader):
        each.crash()
    node.restore(former)
    stage.mend()
    stage.lose(Decide, to=node)
    node.start()
    stage.create(other, "otherwise")
    stage.run(5.0)
    if len(stage.configurations) != 2 or other.replica.registry.number != 2:
        raise OffStage("the second configuration is not known")
    stage.expect("nothing is decided without a majority", lambda: "otherwise" not in stage.told)
    leader.start()
    stage.expect("it votes again", lambda: stage.may_vote(node) and node.replica.registry.votes)
    stage.expect("it goes on", lambda: "otherwise" in stage.told)
    stage.end()


def put_back_while_the_change_waits() -> None:
    """A node comes with a new disk while the leader has no room for a further proposal, and has its former one again
    by the time there is."""
    stage = Stage(3)
    leader = stage.leader
    node = stage.others(leader)[0]
    stage.decide(leader, "before")
    node.crash()
    former = node.backup()
    node.wipe()
    stage.hold(Accepted, to=leader)
    for number in range(6):
        stage.create(leader, f"waits-{number}")
        stage.run(0.01)
    if leader.replica.leader is None or not leader.replica.leader.queued:
        raise OffStage("there is still room")
    node.start()
    stage.until(lambda: _told(leader, node) and leader.replica.net.states[node.pid].cluster)
    stage.run(0.2)
    node.crash()
    node.restore(former)
    node.start()
    stage.until(lambda: _told(leader, node))
    stage.mend()
    stage.expect("all is decided", lambda: "waits-5" in stage.told)
    stage.run(1.0)
    stage.expect("no configuration names a disk that is gone", lambda: len(stage.configurations) == 1)
    stage.end()


def _told(leader: Node, node: Node) -> bool:
    """The leader knows which disk the node has."""
    state = leader.replica.net.states.get(node.pid)
    return state is not None and state.identity == node.disk.image.identity
