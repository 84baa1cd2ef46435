"""Scenes: single frames that no honest node sends, each of which could harm nodes for good. (For all kinds of frames at
random, see test_hostile.py.)"""

from __future__ import annotations

from kvstore.operations import Create
from kvstore.payloads import encode
from paxos.ballot import NOBODY, Ballot
from paxos.bounds import MOST_COUNT, MOST_PAYLOAD
from paxos.ceilings import INCARNATION_STEP, USUAL_INCARNATION, USUAL_SEQ_NUM
from paxos.messages import (
    AnyMessage,
    Configuration,
    Forward,
    Heartbeat,
    Learn,
    NodeState,
    Operation,
    Prepare,
    ReadReply,
    ReadRequest,
    Routed,
    SnapshotPiece,
    Vouched,
)
from tests.simulation.stage import SETTLES_S, Stage
from tests.simulation.world import Node, Violation

FAR = USUAL_SEQ_NUM + 2**36
"""No honest node may be driven there by a few frames."""
LATER = USUAL_INCARNATION + 2**40


class Siege(Stage):
    """Three or five nodes; one that is no leader is down, and frames come in its name."""

    def __init__(self, nodes: int = 3) -> None:
        super().__init__(nodes, snapshot_every=5)
        self.decide(self.leader, *(f"before{number}" for number in range(6)))
        self.hostile_node = self.others(self.leader)[-1]
        self.hostile_node.crash()
        self.hostile = {self.hostile_node.pid}
        self.run(1.0)

    @property
    def honest(self) -> list[Node]:
        return self.others(self.hostile_node)

    def send(self, *messages: AnyMessage, to: Node | None = None) -> None:
        """To one, or to all."""
        for node in self.honest if to is None else [to]:
            for message in messages:
                node.receive(self.hostile_node.pid, message, self.configurations[-1].cluster)
        self.run(0.2)

    def row(self, pid: int, **fields: object) -> NodeState:
        """What is gossiped of a node, with some of it changed, as if it had said so itself just now."""
        told = self.honest[0].replica.net.states[pid]
        values = {name: getattr(told, name) for name in NodeState.__struct_fields__}
        return NodeState(**{**values, "version": (told.version[0], told.version[1] + 1_000), **fields})

    def end(self) -> None:
        """Nobody was harmed, and nobody is after all have started again: first without the hostile node, then with it,
        when it is honest."""
        for round_ in "now", "restarted":
            for node in self.honest:
                name = f"{round_}{node.pid}"
                self.expect("an honest node decides", lambda node=node, name=name: self.takes(node, Create(name)))  # type: ignore[misc]
                self.expect("it is acknowledged", lambda name=name: name in self.told)  # type: ignore[misc]
            for node in self.honest:
                self.expect("an honest node votes", lambda node=node: node.replica.registry.votes)  # type: ignore[misc]
                _bearable(node)
                node.crash()
            for node in self.honest:
                node.start()
        super().end()


def _bearable(node: Node) -> None:
    """There is room above its numbers."""
    replica, image = node.replica, node.disk.image
    incarnations = (replica.incarnation, *(incarnation for incarnation, _ in image.sessions.values()))
    if max(replica.election.highest()[0], image.promised.seq_num) > FAR or max(incarnations) > LATER:
        raise Violation(f"{node.pid} was driven to {replica.election.highest()}, {image.promised}, {incarnations}")


def highest_ballot() -> None:
    """Everybody is asked for the highest promise that there is, again and again."""
    stage = Siege()
    pid = stage.hostile_node.pid
    for _ in range(3):
        stage.send(Prepare(Ballot(MOST_COUNT, pid, 1)), Prepare(Ballot(FAR, pid, 1)))
    stage.end()


def highest_leadership_in_gossip() -> None:
    stage = Siege()
    for _ in range(3):
        row = stage.row(stage.hostile_node.pid, promised=(MOST_COUNT, 1), leading=NOBODY)
        stage.send(Heartbeat([row], {}, 0.0, {}))
    stage.end()


def latest_of_all_starts() -> None:
    """Somebody seems to have heard of a node when no clock can have shown such a time."""
    stage = Siege(5)
    absent = stage.honest[-1]
    absent.crash()
    stage.run(10.0)
    stage.send(Heartbeat([stage.row(absent.pid, version=(MOST_COUNT, MOST_COUNT))], {}, 0.0, {}))
    absent.start()
    stage.expect("it is heard everywhere", lambda: all(
        node.replica.net.states[absent.pid].version[0] < LATER for node in stage.honest))
    stage.end()


def every_disk_is_old() -> None:
    """Somebody seems to remember of every disk what is not on it."""
    stage = Siege()
    members = stage.configurations[-1].members
    for stamps in (
        dict.fromkeys(members, (MOST_COUNT, 1)),
        {node.pid: (node.replica.incarnation, MOST_COUNT) for node in stage.honest},
    ):
        seen = {pid: Vouched(members[pid], stamp) for pid, stamp in stamps.items()}
        stage.send(Heartbeat([], {}, 0.0, {}, seen))
    stage.end()


def every_disk_is_another() -> None:
    """Somebody tells of others that they have come back with other disks."""
    stage = Siege(5)
    rows = [stage.row(node.pid, identity=7) for node in stage.honest]
    for _ in range(3):
        stage.send(Heartbeat(rows, {}, 0.0, {}))
    stage.end()


def round_trip_of_a_year() -> None:
    stage = Siege()
    pid = stage.hostile_node.pid
    for node in stage.honest:
        hears = stage.row(pid, hears=tuple(other.pid for other in stage.honest))
        stage.send(Heartbeat([hears], {}, 0.0, {node.pid: (-1e15, 0.0)}), to=node)
        if node.replica.net.round_trip(pid) > 60:
            raise Violation(f"{node.pid} waits {node.replica.net.round_trip(pid)} s for an answer")
    stage.end()


def operations_that_stop_nodes() -> None:
    """Of a later release, too large to be sent on, or in another's name: none gets into the log."""
    stage = Siege()
    pid, victim = stage.hostile_node.pid, stage.honest[-1]
    upto = stage.leader.replica.log.decided_upto
    stage.send(
        Forward([Operation(pid, 2**50, 1, b"\x91\x63")]), Forward([Operation(pid, 2**50, 1, bytes(MOST_PAYLOAD))]),
        Forward([Operation(victim.pid, 2**50, 1, encode(Create("theirs")))]), to=stage.leader,
    )
    stage.run(1.0)
    if stage.leader.replica.log.decided_upto != upto:
        raise Violation("the leader proposes what no honest node forwards")
    stage.end()


def incarnation_of_no_clock() -> None:
    """In the name of an honest node, by a way that nobody can check."""
    stage = Siege(5)
    leader = stage.leader
    victim = stage.others(leader, stage.hostile_node)[-1]
    stage.cut(leader, victim)
    stage.until(lambda: victim.pid not in leader.replica.net.hears)
    for incarnation in (MOST_COUNT, LATER + INCARNATION_STEP):
        forged = Forward([Operation(victim.pid, incarnation, 1, encode(Create("theirs")))])
        stage.send(Routed(victim.pid, leader.pid, 3, forged), to=leader)
    stage.mend()
    stage.end()


def lessons_that_nobody_asked_for() -> None:
    """A node is told what is decided by one that it has not asked; and gets a snapshot of no cluster from one that it
    has."""
    stage = Siege()
    pid, node = stage.hostile_node.pid, stage.honest[-1]
    position = node.replica.log.decided_upto + 1
    false = Operation(pid, 2**50, 1, encode(Create("never")))
    stage.send(Learn(position, [false], position), SnapshotPiece(position + 5, 0, 1, {}, []), to=node)
    ahead = stage.row(pid, decided_upto=10**6, hears=(node.pid,))
    stage.send(Heartbeat([ahead], {}, 0.0, {}), to=node)
    stage.expect("it asks the hostile one", lambda: node.replica.catch_up.asked(pid), within=5.0)
    configuration, sessions = stage.configurations[-1], node.replica.sessions.table()
    other = Configuration(configuration.number, configuration.cluster, {pid: 7})
    for piece in (
        SnapshotPiece(10**6, 0, 1, sessions, []),
        SnapshotPiece(10**6, 0, 1, {}, [], configuration),
        SnapshotPiece(10**6, 0, 1, sessions, [], other),
        SnapshotPiece(10**6, 0, 1, sessions, [(b"", b"")], configuration),
    ):
        node.replica.catch_up._source = pid
        stage.send(piece, to=node)
        if node.replica.log.decided_upto >= 10**6:
            raise Violation(f"{node.pid} took {piece}")
    stage.end()


def read_answered_by_another() -> None:
    """Who was not asked says from where on a read is linearizable; also as if the leader had said so."""
    stage = Siege(5)
    stage.run(10 * stage.timing.election_s)
    reader = stage.others(stage.leader, stage.hostile_node)[0]
    stage.hold(ReadRequest, of=reader)
    answered = stage.read(reader, shows="before0")
    stage.until(lambda: any(isinstance(sent.message, ReadRequest) for sent in stage.held))
    false = ReadReply((reader.replica.incarnation, 1), 0)
    stage.send(false, Routed(stage.leader.pid, reader.pid, 3, false), to=reader)
    if answered:
        raise Violation(f"{reader.pid} believes whoever answers")
    stage.mend()
    stage.expect("the read is answered", lambda: answered)
    stage.end()


def read_placed_beyond_the_log() -> None:
    """A leader says, before it is gone, that a read is linearizable where the log does not get to in years."""
    stage = Siege(5)
    leader = stage.leader
    reader = stage.others(leader, stage.hostile_node)[0]
    stage.hold(ReadRequest, of=reader)
    answered = stage.read(reader, shows="before0")
    stage.until(lambda: any(isinstance(sent.message, ReadRequest) for sent in stage.held))
    reader.receive(leader.pid, ReadReply((reader.replica.incarnation, 1), 2**40))
    leader.crash()
    stage.mend()
    stage.expect("the read is answered", lambda: answered)
    leader.start()
    stage.end()


def version_that_nothing_exceeds() -> None:
    """Told of a node to one that cannot hear it. The others do, so they neither believe it nor pass it on."""
    stage = Siege(5)
    far, deaf = stage.others(stage.leader, stage.hostile_node)[:2]
    stage.weather.cut = {(far.pid, deaf.pid), (deaf.pid, far.pid)}
    stage.run(6.0)
    later = (far.replica.incarnation + 2**30, 1)
    stage.send(Heartbeat([stage.row(far.pid, version=later, hears=(deaf.pid,))], {}, 0.0, {}), to=deaf)

    def known() -> bool:
        return deaf.replica.net.states[far.pid].version[0] == far.replica.incarnation

    stage.expect("what it says of itself is known everywhere", known)
    stage.weather.cut = set()
    stage.end()


def version_that_two_tell_each_other() -> None:
    """Told of the leader to two that do not hear it, and hear each other. One of them is told the truth, but by one who
    is told it, too; both reach the leader, and are reached, by one-way links only."""
    stage = Siege(7)
    leader = stage.leader
    far, farther, first, *rest = stage.others(leader, stage.hostile_node)
    near, pair = {leader.pid, first.pid, *(node.pid for node in rest)}, {far.pid, farther.pid}
    ways = {(first.pid, far.pid), (farther.pid, rest[0].pid)}
    stage.weather.cut = {way for one in near for other in pair for way in ((one, other), (other, one))} - ways
    stage.run(6.0)
    row = stage.row(leader.pid, version=(leader.replica.incarnation + 2**30, 1), hears=(), leading=NOBODY)
    for node in far, farther:
        stage.send(Heartbeat([row], {}, 0.0, {}), to=node)
    stage.takes(farther, Create("afar"))
    stage.expect("its user is answered", lambda: "afar" in stage.told, SETTLES_S)
    stage.weather.cut = set()
    stage.end()


def versions_that_two_tell() -> None:
    """Of one node, different ones to two that hear nobody. A third hears both of them, and that node through others."""
    stage = Siege(7)
    leader = stage.leader
    subject, third, one, other, *rest = stage.others(leader, stage.hostile_node)
    near = {leader.pid, subject.pid, third.pid, *(node.pid for node in rest)}
    deaf = {(way, node.pid) for node in (one, other) for way in (*near, one.pid, other.pid)}
    ways = {(one.pid, third.pid), (other.pid, third.pid)}
    out = {(node.pid, way) for node in (one, other) for way in near} - ways
    stage.weather.cut = {*deaf, *out, (subject.pid, third.pid), (third.pid, subject.pid)}
    stage.run(6.0)
    for count, node in enumerate((one, other), 1):
        row = stage.row(subject.pid, version=(subject.replica.incarnation + 2**30, count), hears=())
        stage.send(Heartbeat([row], {}, 0.0, {}), to=node)
    stage.run(SETTLES_S)
    for _ in range(50):
        stage.run(0.1)
        if third.replica.net.states[subject.pid].version[0] != subject.replica.incarnation:
            raise Violation(f"{third.pid} still believes what was made up of {subject.pid}")
    stage.weather.cut = set()
    stage.end()
