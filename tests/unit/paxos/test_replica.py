"""One whole replica with simulated peers, disk and clock."""

from __future__ import annotations

from random import Random

import msgspec
import pytest

from paxos.admission import TELL_EVERY_S
from paxos.ballot import NOBODY, Ballot, Leadership, ballot
from paxos.limits import Limits, Timing
from paxos.messages import (
    NOOP,
    Accept,
    Accepted,
    AnyMessage,
    Behind,
    Configuration,
    Confirm,
    Confirmed,
    Decide,
    Entry,
    Fetch,
    Forward,
    Heartbeat,
    Learn,
    NodeState,
    Operation,
    Outranked,
    Prepare,
    Promise,
    ReadReply,
    ReadRequest,
    RosterStored,
    Routed,
    Snapshot,
    SnapshotPiece,
)
from paxos.output import Durable, Output, VoterStatus
from paxos.replica import QueueFull, Replica
from tests.unit.paxos.roles import op


def state(
    pid: int, count: int, hears: tuple[int, ...], *, leading: Leadership = NOBODY, decided: int = 0, blank: bool = False
) -> NodeState:
    return NodeState(pid, (1, count), 100 + pid, hears, leading, leading != NOBODY, leading, decided, True, blank)


class Solo:
    """Node `pid` of several, a voter from the start."""

    def __init__(
        self, pid: int = 1, members: tuple[int, ...] = (1, 2, 3), limits: Limits | None = None,
        durable: Durable | None = None,
    ) -> None:
        self.now = 100.0
        self.members = members
        self.peers = tuple(member for member in members if member != pid)
        if durable is None:
            configuration = Configuration(1, 0, {member: 100 + member for member in members}, 1)
            durable = Durable(100 + pid, 7, configuration=configuration)
        self.replica = Replica(pid, members, durable, Timing(), limits or Limits(), Random(1), self.now)
        self._beats = 0

    def beat(self, *speakers: int, leading: Leadership = NOBODY, decided: int = 0) -> None:
        """Heartbeats of `speakers`, which all hear each other; the owner of `leading` claims it."""
        for speaker in speakers:
            self._beats += 1
            hears = tuple(member for member in self.members if member != speaker)
            claim = leading if leading[1] == speaker else NOBODY
            told = state(speaker, self._beats, hears, leading=claim, decided=decided)
            self.replica.receive(speaker, Heartbeat([told], {}, 0.0, {}), self.now)

    def take(self) -> Output:
        return self.replica.take_output(self.now)

    def hear(self, sender: int, message: AnyMessage) -> Output:
        """A peer's vote is one of its disk, and who teaches was asked."""
        if isinstance(message, Learn | SnapshotPiece):
            self.replica.catch_up.hurry(sender)
        if isinstance(message, Promise | Accepted | Confirmed):
            message = msgspec.structs.replace(message, identity=100 + sender)
        self.replica.receive(sender, message, self.now)
        return self.take()

    def written(self, out: Output) -> None:
        """The disk is done: the node's messages to itself are delivered."""
        for to, message in out.send_after_persist:
            if to == self.replica.pid:
                self.replica.receive(to, message, self.now)

    def campaign(self) -> Ballot:
        """Lets time pass until it campaigns; returns the ballot that it asks promises for."""
        for _ in range(100):
            self.beat(*self.peers)
            self.replica.tick(self.now)
            out = self.take()
            for to, message in out.send_after_persist:
                if isinstance(message, Prepare) and to != self.replica.pid:
                    self.written(out)
                    return message.ballot
            self.now += 0.02
        raise AssertionError("it never campaigns")

    def lead(self, entries: list[Entry] | None = None, decided: int = 0) -> Leadership:
        asked = self.campaign()
        self.written(self.take())
        promise = Promise(asked, entries or [], decided, 100 + self.peers[0])
        self.replica.receive(self.peers[0], promise, self.now)
        assert self.replica.status().role == "leader"
        return asked.leadership


def kinds(messages: list[tuple[int, AnyMessage]]) -> set[type]:
    return {type(message) for _, message in messages}


def test_nothing_that_vouches_for_the_disk_leaves_before_the_disk_has_it() -> None:
    solo = Solo()
    promise = solo.hear(2, Prepare(Ballot(5, 2, 1)))
    assert promise.persist is not None and promise.persist.promised == Ballot(5, 2, 1)
    assert (2, Promise(Ballot(5, 2, 1), [], 0, 101)) in promise.send_after_persist
    assert Promise not in kinds(promise.send_now)
    accepted = solo.hear(2, Accept(Ballot(5, 2, 1), [op(1)], 0))
    assert accepted.persist is not None and accepted.persist.entries == [Entry(1, (5, 2), op(1))]
    assert (2, Accepted(Ballot(5, 2, 1), 1, 101)) in accepted.send_after_persist
    assert Accepted not in kinds(accepted.send_now)


def test_a_claim_is_on_disk_before_any_prepare_leaves() -> None:
    solo = Solo()
    solo.beat(2, 3)
    while not kinds((out := solo.take()).send_after_persist) & {Prepare}:
        assert Prepare not in kinds(out.send_now)
        solo.now += 0.02
        solo.beat(2, 3)
        solo.replica.tick(solo.now)
    assert Prepare not in kinds(out.send_now)
    assert out.persist is not None and out.persist.promised is not None and out.persist.promised.pid == 1


def test_a_leader_votes_for_itself_only_when_its_own_disk_has_the_operation() -> None:
    solo = Solo()
    leadership = solo.lead()
    solo.replica.submit(b"x")
    out = solo.take()
    assert (2, Accept(ballot(leadership, 1), [Operation(1, 7, 1, b"x")], 0)) in out.send_now
    assert (1, Accepted(ballot(leadership, 1), 1, 101)) in out.send_after_persist
    assert not solo.hear(2, Accepted(ballot(leadership, 1), 1)).apply, "one vote of three"
    solo.written(out)
    assert [applied.operation.payload for applied in solo.take().apply] == [b"x"]


def test_a_decision_is_told_at_once_to_those_who_wait_for_it() -> None:
    """To the others with the next Accept, or the next tick."""
    solo = Solo()
    leadership = solo.lead()
    solo.written(solo.hear(2, Forward([Operation(2, 5, 1, b"x")])))
    decide = Decide(ballot(leadership, 1))
    assert solo.hear(3, Accepted(ballot(leadership, 1), 1)).send_now == [(2, decide)]
    solo.replica.tick(solo.now)
    assert (3, decide) in (told := solo.take().send_now) and (2, decide) not in told
    solo.replica.tick(solo.now)
    assert Decide not in kinds(solo.take().send_now)


def test_who_reads_is_told_what_is_decided_before_the_answer() -> None:
    solo = Solo()
    leadership = solo.lead()
    solo.replica.submit(b"x")
    solo.written(solo.take())
    assert Decide not in kinds(solo.hear(3, Accepted(ballot(leadership, 1), 1)).send_now)
    assert Confirm in kinds(solo.hear(2, ReadRequest((9, 1))).send_now)
    answered = solo.hear(3, Confirmed(ballot(leadership, 2), 1)).send_now
    assert answered == [(2, Decide(ballot(leadership, 1))), (2, ReadReply((9, 1), 1))]


def test_a_new_leader_answers_reads_only_behind_its_barrier() -> None:
    """What it inherited may have been acknowledged: until that is decided, no read round is started."""
    solo = Solo()
    leadership = solo.lead([Entry(1, (0, 3), op(1))])
    solo.written(solo.take())
    assert Confirm not in kinds(solo.hear(2, ReadRequest((9, 1))).send_now)
    asked = solo.hear(2, Accepted(ballot(leadership, 1), 1)).send_now
    assert Confirm in kinds(asked)
    assert (2, ReadReply((9, 1), 1)) in solo.hear(3, Confirmed(ballot(leadership, 2), 1)).send_now


def test_a_confirmation_from_before_a_change_of_members_confirms_no_read_after_it() -> None:
    """The leadership is the same: only the number of the round tells."""
    solo = Solo()
    leadership = solo.lead()
    solo.hear(2, ReadRequest((9, 1)))
    late = Confirmed(ballot(leadership, 1), 1)
    assert (2, ReadReply((9, 1), 0)) in solo.hear(3, late).send_now
    assert solo.replica.leader is not None
    solo.replica.leader._stops_at = 0  # as if its stop-sign were decided, which changes no member
    solo.replica.proposer.again(solo.now)
    for _ in ("its question", "its promise"):
        solo.written(solo.take())
    solo.hear(3, Promise(ballot(leadership, 1), [], 0))
    assert solo.replica.leader is not None and solo.replica.leader.leadership == leadership
    asked = solo.hear(2, ReadRequest((9, 2))).send_now
    assert Confirm in kinds(asked)
    assert solo.hear(3, late).send_now == [], "of the round before"
    now = next(message for _, message in asked if isinstance(message, Confirm))
    assert (2, ReadReply((9, 2), 0)) in solo.hear(3, Confirmed(now.ballot, now.count)).send_now


def test_a_leader_that_has_promised_a_higher_one_leads_no_more() -> None:
    solo = Solo()
    mine = solo.lead()
    solo.hear(3, Prepare(Ballot(mine[0] + 1, 3, 1)))
    assert solo.replica.leader is None
    solo.replica.submit(b"x")
    assert Accept not in kinds(solo.take().send_now)


def test_a_candidate_that_is_behind_fetches_at_once_from_the_acceptor_that_said_so() -> None:
    solo = Solo()
    asked = solo.campaign()
    solo.beat(2, decided=50)
    out = solo.hear(2, Behind(asked, 50))
    assert [to for to, message in out.send_now if isinstance(message, Fetch)] == [2]


def test_a_candidate_that_has_caught_up_asks_again_from_its_new_position() -> None:
    solo = Solo()
    asked = solo.campaign()
    solo.hear(2, Behind(asked, 2))
    solo.hear(2, Learn(1, [op(1), op(2)], 2))
    solo.now += 0.3
    solo.replica.tick(solo.now)
    again = {message.ballot for _, message in solo.take().send_after_persist if isinstance(message, Prepare)}
    assert again == {asked.at(3)}
    solo.hear(2, Promise(asked, [], 0))
    assert solo.replica.leader is None, "an answer to the first question does not count for the second"


def test_operations_forwarded_to_a_candidate_wait_until_it_leads() -> None:
    solo = Solo()
    asked = solo.campaign()
    solo.written(solo.hear(3, Forward([op(1, pid=3)])))
    solo.replica.receive(2, Promise(asked, [], 0, 102), solo.now)
    accepts = [message for _, message in solo.take().send_now if isinstance(message, Accept)]
    assert accepts[0].operations == [op(1, pid=3)]


def test_a_learner_stores_what_it_hears_but_never_votes() -> None:
    solo = Solo(durable=Durable(101, 7, VoterStatus.LEARNER))
    out = solo.hear(2, Accept(Ballot(5, 2, 1), [op(1)], 0))
    assert out.persist is not None and out.persist.entries and not out.send_after_persist
    for message in (Prepare(Ballot(6, 2, 1)), Confirm(Ballot(6, 2, 1), 1)):
        out = solo.hear(2, message)
        assert not out.send_after_persist and not kinds(out.send_now) & {Promise, Confirmed, Outranked}
    solo.hear(2, Decide(Ballot(5, 2, 1)))
    assert solo.replica.applied == 1 and solo.replica.status().role == "learner"


def test_no_single_message_takes_the_vote_of_a_founded_node() -> None:
    solo = Solo()
    solo.lead()
    out = solo.hear(2, Heartbeat([], {1: 999}, 0.0, {}))
    assert solo.replica.leader is not None and solo.replica.status().voter_status is VoterStatus.VOTER
    assert out.persist is None or out.persist.voter_status is None


def test_before_it_is_founded_a_node_stops_leading_when_most_others_know_another_disk_under_its_number() -> None:
    solo = Solo(durable=Durable(101, 7, VoterStatus.VOTER, roster={1: 101, 2: 102, 3: 103}))
    solo.lead()
    solo.hear(2, Heartbeat([], {1: 999}, 0.0, {}))
    assert solo.replica.leader is not None
    out = solo.hear(3, Heartbeat([], {1: 999}, 0.0, {}))
    assert solo.replica.leader is None and solo.replica.status().voter_status is VoterStatus.LEARNER
    assert out.persist is not None and out.persist.voter_status is VoterStatus.LEARNER


def test_what_was_submitted_goes_to_the_leader_and_comes_back_with_its_ticket() -> None:
    solo = Solo(pid=3)
    solo.beat(1, 2, leading=(4, 1))
    ticket = solo.replica.submit(b"mine")
    mine = Operation(3, 7, 1, b"mine")
    assert (1, Forward([mine])) in solo.take().send_now
    assert Forward not in kinds(solo.take().send_now), "once is enough for now"
    out = solo.hear(1, Learn(1, [op(1), mine], 2))
    assert [(applied.position, applied.ticket) for applied in out.apply] == [(1, 0), (2, ticket)]


def test_a_node_cut_off_from_the_leader_sends_by_way_of_another() -> None:
    solo = Solo(pid=3)
    solo.beat(2)
    relayed = state(1, 1, (2,), leading=(4, 1))
    solo.replica.receive(2, Heartbeat([relayed, state(2, 99, (1, 3))], {}, 0.0, {}), solo.now)
    solo.replica.submit(b"mine")
    routed = [(to, message) for to, message in solo.take().send_now if isinstance(message, Routed)]
    assert [(to, message.origin, message.target) for to, message in routed] == [(2, 3, 1)]


def test_a_routed_message_travels_only_so_many_hops() -> None:
    solo = Solo(pid=2)
    solo.beat(1, 3)
    onward = solo.hear(3, Routed(3, 1, 1, Forward([op(1, pid=3)]))).send_now
    assert (1, Routed(3, 1, 0, Forward([op(1, pid=3)]))) in onward
    assert not solo.hear(3, Routed(3, 1, 0, Forward([op(1, pid=3)]))).send_now


ODD: list[AnyMessage] = [
    Accept(Ballot(5, 2, 1), [], 0), Accept(Ballot(5, 2, 10**9), [op(1)], 0), Accepted(Ballot(5, 1, 1), -1),
    Prepare(Ballot(0, 0, 1)), Promise(Ballot(0, 0, 0), [], 0), Outranked(Ballot(0, 0, 0), Ballot(0, 0, 0)),
    Outranked(Ballot(5, 1, 1), Ballot(9, 2, 1)), Behind(Ballot(0, 0, 0), -5), Behind(Ballot(5, 1, 1), 10**9),
    Decide(Ballot(5, 2, -1)), Confirmed(Ballot(0, 0, 0), 0), Fetch(1, 0, -1), Fetch(-3, -1, -1), Fetch(9, 9, 9),
    Learn(50, [op(1)], 0), Learn(-5, [op(1)], 0), Learn(1, [], 0), SnapshotPiece(-1, 0, 1, {}, []),
    SnapshotPiece(9, -1, 3, {}, []), SnapshotPiece(9, 2, 3, {}, []), SnapshotPiece(0, 0, 1, {}, []),
    ReadReply((7, 99), 3), ReadRequest((1, 1)), Forward([]), Forward([NOOP, op(5)]),
    Routed(77, 1, 3, Learn(1, [op(1)], 1)), Routed(1, 1, 3, Learn(1, [op(1)], 1)), Routed(2, 77, 3, Forward([])),
    Heartbeat([], {77: 1, -1: 5}, -1.0, {77: (1.0, 1.0)}), Heartbeat([state(77, 1, (1, 2, 88))], {}, 0.0, {}),
]


@pytest.mark.parametrize("message", ODD, ids=str)
def test_odd_messages_change_nothing(message: AnyMessage) -> None:
    solo = Solo()
    solo.take()
    for sender in (2, 77):
        out = solo.hear(sender, message)
        assert out.persist is None and not out.apply and out.install is None
    replica = solo.replica
    assert (replica.log.decided_upto, replica.log.last, replica.applied) == (0, 0, 0)
    assert replica.acceptor.promised.leadership == NOBODY
    assert set(replica.net.members) == {1, 2, 3} and replica.registry.votes
    assert set(replica.net.states) <= {1, 77}, "one that says that it is there may get to be a member"


FROM_PEERS_ONLY: list[AnyMessage] = [
    Decide(Ballot(5, 2, 1)), Heartbeat([], {2: 222}, 0.0, {}), Fetch(1, 0, 0), Learn(1, [op(1)], 1),
    SnapshotPiece(5, 0, 1, {}, []), Routed(2, 1, 1, Learn(1, [op(1)], 1)),
]


@pytest.mark.parametrize("message", FROM_PEERS_ONLY, ids=str)
def test_what_a_node_never_sends_to_itself_it_does_not_believe_of_itself(message: AnyMessage) -> None:
    solo = Solo()
    solo.take()
    solo.hear(2, Accept(Ballot(5, 2, 1), [op(1)], 0))
    out = solo.hear(1, message)
    assert not out and solo.replica.log.decided_upto == 0
    assert solo.hear(2, Decide(Ballot(5, 2, 1))).apply, "a peer may well say so"


def test_only_the_node_itself_says_that_its_roster_is_on_disk() -> None:
    """Others are told of identities only once a crash cannot make this node forget them."""
    def told(solo: Solo) -> dict[int, int]:
        solo.now += 1.0
        solo.replica.tick(solo.now)
        return next(message.roster for _, message in solo.take().send_now if isinstance(message, Heartbeat))

    solo = Solo(durable=Durable(101, 7))
    out = solo.hear(2, Heartbeat([], {2: 102}, 0.0, {}))
    assert out.persist is not None and out.persist.roster == {1: 101, 2: 102}
    assert (1, RosterStored({1: 101, 2: 102})) in out.send_after_persist and told(solo) == {}
    solo.hear(2, RosterStored({1: 101, 2: 102}))
    assert told(solo) == {}
    solo.written(out)
    assert told(solo) == {1: 101, 2: 102}


@pytest.mark.parametrize("message", [Prepare(Ballot(5, 2, 1)), Accept(Ballot(5, 2, 1), [op(1)], 0),
                                     Learn(1, [op(1)], 1)], ids=str)
def test_a_stranger_is_not_listened_to(message: AnyMessage) -> None:
    solo = Solo()
    solo.take()
    out = solo.hear(77, message)
    assert out.persist is None and not out.send_after_persist and not out.apply


def test_who_names_ever_other_clusters_is_told_of_rarely() -> None:
    solo = Solo(durable=Durable(101, 7, configuration=Configuration(1, 5, {1: 101, 2: 102, 3: 103}, 1)))

    def told_of(sender: int) -> list[tuple[int, int]]:
        for number in range(1000):
            solo.replica.receive(sender, Prepare(Ballot(5, 2, 1)), solo.now, 6 + number % 2)
        return solo.take().strangers

    assert told_of(2) == [(2, 6)]
    assert told_of(3) == [(3, 6)]
    solo.now += TELL_EVERY_S
    assert told_of(2) == [(2, 7)]
    solo.now += TELL_EVERY_S
    assert told_of(2) == [(2, 6)]


def test_what_cannot_be_kept_is_refused_at_once() -> None:
    solo = Solo(limits=Limits(queue=1, operation_bytes=3))
    with pytest.raises(QueueFull):
        solo.replica.submit(b"four")
    solo.replica.submit(b"one")
    solo.replica.read()
    with pytest.raises(QueueFull):
        solo.replica.submit(b"two")
    with pytest.raises(QueueFull):
        solo.replica.read()


def test_a_log_is_cut_behind_a_snapshot_but_not_the_tail_and_not_what_a_peer_is_being_handed() -> None:
    solo = Solo(limits=Limits(keep=2, hold=100, lag=1))
    solo.hear(2, Learn(1, [op(number) for number in range(1, 21)], 20))
    solo.replica.snapshot_stored(10)
    out = solo.take()
    assert out.persist is not None and out.persist.compacted == 8 and solo.replica.log.get(9) is not None
    assert solo.hear(3, Fetch(1, 0, 0)).load_snapshot
    solo.replica.snapshot_loaded(Snapshot(10, {}, []), solo.now)
    solo.replica.snapshot_stored(20)
    assert solo.replica.log.compacted == 10, "node 3 will go on from the snapshot at 10"


def test_a_node_that_comes_to_join_knocks_at_whoever_is_connected() -> None:
    """The members that it knows from its file may all be gone."""
    joining = Replica(7, (1,), Durable(7, 1), Timing(), Limits(), Random(1), 0.0)
    joining.meet(3, 0.0)
    joining.meet(0, 0.0)
    assert joining.net.peers == (1, 3) and joining.net.members == (1,), "who founds is not changed by that"
    old = Durable(7, 1, entries=[Entry(1, (1, 1), NOOP)], decided=1)
    unfounded = Replica(7, (1, 7), old, Timing(), Limits(), Random(1), 0.0)
    unfounded.meet(3, 0.0)
    assert unfounded.net.peers == (1,), "with data of release 0.1.0 it keeps to those that it knows"
