"""What a node takes that has no cluster id: from whom, and what binds it."""

from __future__ import annotations

from random import Random

import msgspec
import pytest

from paxos.ballot import NOBODY, ballot
from paxos.configuration import stop_sign
from paxos.limits import Limits, Timing
from paxos.messages import (
    Accept,
    AnyMessage,
    Configuration,
    Decide,
    Entry,
    Forward,
    Heartbeat,
    Learn,
    NodeState,
    Operation,
    Prepare,
    Promise,
    Routed,
    SnapshotPiece,
)
from paxos.output import Durable, Output, VoterStatus
from paxos.replica import Replica
from tests.unit.paxos.roles import op

OURS, THEIRS = 0xC1, 0xBAD
MEMBERS = (1, 2, 3, 4)


class Unfounded:
    """Node 1 of four, without an id."""

    def __init__(self, durable: Durable | None = None) -> None:
        self.now = 100.0
        self._beats = 0
        durable = durable or Durable(101, 7, voter_status=VoterStatus.VOTER)
        self.replica = Replica(1, MEMBERS, durable, Timing(), Limits(), Random(1), self.now)
        self.take()

    def take(self) -> Output:
        return self.replica.take_output(self.now)

    def hear(self, sender: int, message: AnyMessage, cluster: int) -> Output:
        self.replica.receive(sender, message, self.now, cluster)
        return self.take()

    def beat(self, pid: int, cluster: int, decided: int = 0) -> None:
        self._beats += 1
        row = NodeState(
            pid, (1, self._beats), 100 + pid, (1,), NOBODY, False, NOBODY, decided, True, not decided, cluster=cluster,
        )
        self.replica.receive(pid, Heartbeat([row], {}, 0.0, {}), self.now, cluster)

    def asks(self, source: int) -> None:
        self.replica.catch_up._change_source(source)

    @property
    def decided(self) -> int:
        return self.replica.log.decided_upto


def test_what_was_taken_binds_and_is_stored_together_with_that() -> None:
    node = Unfounded()
    node.beat(2, OURS, 9)
    node.beat(3, THEIRS, 9)
    node.beat(4, OURS, 9)
    node.asks(2)
    for nothing in (Learn(1, [], 9), Learn(5, [op(5)], 9)):
        out = node.hear(2, nothing, OURS)
        assert out.persist is None or out.persist.joins is None, "nothing was taken yet"
    out = node.hear(2, Learn(1, [op(1)], 9), OURS)
    assert out.persist is not None and out.persist.joins == OURS
    assert [entry.position for entry in out.persist.entries] == [1] and out.persist.decided == 1
    node.beat(2, THEIRS, 9)
    assert node.hear(2, Learn(2, [op(9)], 9), THEIRS).strangers == [(2, THEIRS)] and node.decided == 1
    stored = Durable(101, 7, voter_status=VoterStatus.VOTER, entries=out.persist.entries, decided=1, joins=OURS)
    later = Unfounded(stored)
    for peer in (2, 3, 4):
        later.beat(peer, THEIRS, 9)
    later.asks(3)
    later.hear(3, Learn(2, [op(9)], 9), THEIRS)
    assert later.decided == 1, "also in the next process, whatever all others are"


@pytest.mark.parametrize("routed", [False, True])
def test_nothing_is_taken_from_whom_it_did_not_ask_or_whose_cluster_is_another(routed: bool) -> None:
    def tell(teacher: int) -> int:
        lesson = Learn(1, [op(1)], 9)
        node.hear(4 if routed else teacher, Routed(teacher, 1, 3, lesson) if routed else lesson, OURS)
        return node.decided

    node = Unfounded()
    node.beat(2, 0, 9)
    node.beat(3, OURS, 9)
    node.asks(2)
    assert tell(3) == 0, "it was not asked"
    assert tell(2) == 0, "it is not of that cluster, as it says"
    node.asks(3)
    assert tell(3) == 1


def test_of_two_clusters_it_takes_from_the_larger_one() -> None:
    node = Unfounded()
    node.beat(2, OURS, 9)
    node.beat(3, THEIRS, 9)
    node.asks(2)
    node.hear(2, Learn(1, [op(1)], 9), OURS)
    assert node.decided == 0, "neither of equal ones"
    node.beat(4, OURS, 9)
    node.hear(2, Learn(1, [op(1)], 9), OURS)
    assert node.decided == 1


def test_whose_snapshot_holds_up_its_heartbeats_still_counts() -> None:
    node = Unfounded()
    node.beat(2, OURS, 9)
    node.asks(2)
    node.now += 60.0
    node.beat(3, THEIRS, 9)
    node.beat(4, OURS, 9)
    assert node.replica.net.fresh == {1, 3, 4}
    node.hear(2, Learn(1, [op(1)], 9), OURS)
    assert node.decided == 1


def piece(number: int, cluster: int) -> SnapshotPiece:
    """Of two. Before a cluster has an id, its snapshots name no configuration."""
    configuration = Configuration(1, cluster, {2: 102, 3: 103}, 1) if cluster else None
    return SnapshotPiece(9, number, 2, {}, [(b"%d" % number, b"%x" % cluster)], configuration)


def test_a_piece_of_a_snapshot_does_not_bind_before_the_last_one() -> None:
    """The others may never come; and those who send it may turn out to be the fewer."""
    node = Unfounded()
    node.beat(2, THEIRS, 9)
    node.asks(2)
    out = node.hear(2, piece(0, THEIRS), THEIRS)
    assert (out.persist is None or out.persist.joins is None) and node.replica.catch_up.snapshot_of == THEIRS
    for peer in (3, 4):
        node.beat(peer, OURS, 9)
    assert node.hear(2, piece(1, THEIRS), THEIRS).install is None
    node.asks(3)
    node.hear(3, piece(0, OURS), OURS)
    out = node.hear(3, piece(1, OURS), OURS)
    assert out.install is not None and node.replica.cluster == OURS
    assert node.hear(2, Learn(10, [op(1)], 10), THEIRS).strangers == [(2, THEIRS)] and node.decided == 9


def test_pieces_of_another_cluster_keep_nobody_from_the_one_that_is_founded() -> None:
    node = Unfounded()
    node.beat(2, THEIRS, 9)
    node.asks(2)
    node.hear(2, piece(0, THEIRS), THEIRS)
    for peer in (3, 4):
        node.beat(peer, 0)
    founding = stop_sign(Configuration(1, OURS, {pid: 100 + pid for pid in MEMBERS}, 2))
    node.hear(3, Accept(ballot((5, 3), 1), [founding], 0), 0)
    node.hear(3, Decide(ballot((5, 3), 1)), OURS)
    assert node.replica.cluster == OURS and node.decided == 1 and not node.replica.catch_up.snapshot_of


def test_while_pieces_are_held_what_was_accepted_counts_from_nobody() -> None:
    """Not from the source either: its pieces may yet be given up."""
    node = Unfounded(Durable(101, 7))
    node.beat(2, OURS, 9)
    node.asks(2)
    node.hear(2, piece(0, OURS), OURS)
    for cluster in (OURS, THEIRS, 0):
        node.hear(2, Accept(ballot((9, 2), 1), [op(1)], 0), cluster)
        assert node.replica.log.last == 0


def test_meanwhile_no_leader_without_an_id_decides_anything_here() -> None:
    node = Unfounded(Durable(101, 7))
    node.beat(2, OURS, 9)
    node.asks(2)
    node.hear(2, piece(0, OURS), OURS)
    node.hear(3, Accept(ballot((9, 3), 1), [op(1)], 0), 0)
    node.hear(3, Decide(ballot((9, 3), 1)), 0)
    assert node.decided == 0 and node.hear(2, piece(1, OURS), OURS).install is not None


def test_no_snapshot_is_put_together_from_two_clusters() -> None:
    """Under the same number there is a node of another cluster meanwhile."""
    node = Unfounded()
    node.beat(2, 0, 9)
    node.asks(2)
    assert node.hear(2, piece(0, 0), 0).install is None
    node.beat(2, THEIRS, 9)
    assert node.hear(2, piece(1, THEIRS), THEIRS).install is None
    whole = node.hear(2, piece(0, THEIRS), THEIRS).install or node.hear(2, piece(1, THEIRS), THEIRS).install
    assert whole is not None and whole.rows == [(b"0", b"bad"), (b"1", b"bad")]


@pytest.mark.parametrize(("cluster", "learns"), [(0, False), (0, True), (OURS, True)])
def test_what_another_cluster_sent_early_is_not_decided_in_the_one_that_is_founded(cluster: int, learns: bool) -> None:
    """Its first words were lost; then a cluster is founded, with this node, and the word of that comes."""
    node = Unfounded()
    for peer in (2, 4):
        node.beat(peer, 0)
    node.beat(3, THEIRS, 9)
    node.asks(3)
    node.hear(3, Learn(2, [op(7), op(8)], 9), THEIRS)
    assert node.replica.catch_up._early
    founding = stop_sign(Configuration(1, OURS, {pid: 100 + pid for pid in MEMBERS}, 2))
    for peer in (2, 4):
        node.beat(peer, cluster, 1)
    node.hear(2, Accept(ballot((5, 2), 1), [founding], 0), 0)
    if learns:
        node.asks(2)
    node.hear(2, Learn(1, [founding], 1) if learns else Decide(ballot((5, 2), 1)), cluster)
    assert node.replica.cluster == OURS and node.decided == 1 and not node.replica.catch_up._early


@pytest.mark.parametrize("own_last", [False, True])
def test_promises_bring_nothing_forward_that_came_from_elsewhere(own_last: bool) -> None:
    """It campaigns, with others that have no id either, for operations of release 0.1.0."""
    node = Unfounded()
    for peer in (2, 3, 4):
        node.beat(peer, 0)
    asked = ballot((2, 1), 1)
    node.replica.proposer.campaign(asked.leadership, node.now)
    own = [message for to, message in node.take().send_after_persist if to == 1 and isinstance(message, Prepare)]
    assert own == [Prepare(asked)]
    old = [Entry(1, (1, 2), Operation(2, 7, 1, b"x")), Entry(2, (1, 2), Operation(2, 7, 2, b"y"))]

    def promised(*peers: int) -> None:
        for peer in peers:
            node.hear(peer, Promise(asked, old, 2), 0)

    def promises_itself() -> None:
        node.replica.receive(1, own[0], node.now)
        for to, message in node.take().send_after_persist:
            if to == 1:
                node.replica.receive(1, message, node.now)

    promised(2)
    (promised(4) if own_last else promises_itself())
    assert node.replica.leader is None
    node.beat(3, THEIRS, 9)
    node.asks(3)
    node.hear(3, Learn(3, [op(7), op(8)], 9), THEIRS)
    assert node.replica.catch_up._early
    (promises_itself() if own_last else promised(4))
    assert node.replica.leader is not None and node.decided == 2


def test_a_stale_promise_ends_no_snapshot() -> None:
    node = Unfounded()
    node.beat(2, OURS, 9)
    node.asks(2)
    node.hear(2, piece(0, OURS), OURS)
    node.hear(3, Promise(ballot((5, 1), 1), [], 0), 0)
    assert node.hear(2, piece(1, OURS), OURS).install is not None


def test_a_node_without_an_id_passes_on_only_what_needs_none() -> None:
    bound = Durable(101, 7, voter_status=VoterStatus.VOTER, entries=[Entry(1, NOBODY, op(1))], decided=1, joins=OURS)
    for durable, passed in ((bound, {Forward}), (None, set())):
        node = Unfounded(durable)
        for peer in (2, 3):
            node.beat(peer, OURS, 9)
        for inner in (Forward([op(1, pid=2)]), Learn(1, [op(1)], 9)):
            out = node.hear(2, Routed(2, 3, 4, inner), OURS)
            routed = {type(sent.message) for _, sent in out.send_now if isinstance(sent, Routed)}
            assert routed == passed & {type(inner)}


def test_what_came_before_it_had_an_id_is_not_passed_on_under_that() -> None:
    node = Unfounded()
    for peer in (2, 3, 4):
        node.beat(peer, 0)
    founding = stop_sign(Configuration(1, OURS, {pid: 100 + pid for pid in MEMBERS}, 2))
    node.hear(2, Accept(ballot((5, 2), 1), [founding], 0), 0)
    node.replica.receive(3, Routed(3, 4, 4, Learn(2, [op(1)], 9)), node.now, 0)
    out = node.hear(2, Decide(ballot((5, 2), 1)), 0)
    assert node.replica.cluster == OURS and not any(isinstance(message, Routed) for _, message in out.send_now)


def test_whoever_is_founded_lets_nobody_end_what_it_is_catching_up_with() -> None:
    configuration = Configuration(1, OURS, {pid: 100 + pid for pid in MEMBERS}, 1)
    node = Unfounded(Durable(101, 7, configuration=configuration))
    node.beat(2, OURS, 9)
    node.asks(2)
    first = SnapshotPiece(9, 0, 2, {}, [(b"0", b"")], configuration)
    node.hear(2, first, OURS)
    node.hear(3, Promise(ballot((5, 1), 1), [], 0), 0)
    node.hear(3, Learn(1, [op(1)], 1), THEIRS)
    whole = node.hear(2, msgspec.structs.replace(first, piece=1, rows=[]), OURS).install
    assert whole is not None and whole.position == 9
