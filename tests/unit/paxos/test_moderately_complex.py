"""The invariants of van Renesse and Altinbuken's *Paxos Made Moderately Complex* (ACM Computing Surveys, 2015): R1-R5
of replicas, A1-A5 of acceptors, C1-C2 of leaders' commanders (all in section 2), and the changes of section 4.
Their ballot is a leadership here, their slot a position, their pvalue an Entry, their slot_out the applied position."""

from __future__ import annotations

from collections import defaultdict
from random import Random

import pytest

from kvstore.operations import Create
from kvstore.store import Outcome
from paxos.ballot import Ballot, Leadership, ballot
from paxos.candidate import Candidate
from paxos.leader import Leader
from paxos.limits import Limits
from paxos.log import Log
from paxos.messages import (
    Accept,
    Accepted,
    AnyMessage,
    Behind,
    Confirm,
    Confirmed,
    Decide,
    Learn,
    Operation,
    Prepare,
    Promise,
    ReadReply,
    ReadRequest,
    Snapshot,
    SnapshotPiece,
)
from paxos.output import Applied, Persist
from paxos.sessions import Sessions
from storage.records import Compaction
from tests.simulation.world import Node, Observer, World
from tests.unit.paxos.roles import acceptor, answer, op
from tests.unit.paxos.test_replica import Solo, kinds

LIMITS = Limits()


def stir(seed: int) -> list[Prepare | Accept]:
    """Sixty messages of competing leaders, including late ones."""
    random = Random(seed)
    messages: list[Prepare | Accept] = []
    for number in range(60):
        told = Ballot(number // 10 + random.randint(1, 3), random.randint(1, 3), random.randint(1, 5))
        value = Operation(told.pid, told.seq_num, told.op_num, b"")
        messages.append(Prepare(told) if random.random() < 0.3 else Accept(told, [value], 0))
    return messages


@pytest.mark.parametrize("seed", range(5))
def test_a1_an_acceptor_adopts_only_higher_ballots(seed: int) -> None:
    """A1. A change is reported exactly when it happens, for it must be stored."""
    one = acceptor()
    for message in stir(seed):
        before = one.promised.leadership
        _, stored = answer(one, message)
        after = one.promised.leadership
        assert after >= before and (stored.promised is not None) == (after > before)


@pytest.mark.parametrize("seed", range(5))
def test_a2_a_pvalue_is_accepted_only_under_the_ballot_that_was_adopted(seed: int) -> None:
    """A2."""
    one = acceptor()
    count = 0
    for message in stir(seed):
        reply, stored = answer(one, message)
        count += len(stored.entries)
        assert all(entry.leadership == one.promised.leadership for entry in stored.entries)
        if isinstance(message, Accept):
            assert isinstance(reply, Accepted) == (message.ballot.leadership == one.promised.leadership)
    assert count > 5


@pytest.mark.parametrize("seed", range(5))
def test_a3_what_was_accepted_stays_but_for_state_reduction(seed: int) -> None:
    """A3, as changed by state reduction: of each slot the pvalue with the highest ballot is kept, and shown."""
    one = acceptor()
    best: dict[int, Leadership] = {}
    for message in stir(seed):
        if answer(one, message)[1].entries:
            best[message.ballot.op_num] = message.ballot.leadership
    shown, _ = answer(one, Prepare(Ballot(99, 1, 1)))
    assert isinstance(shown, Promise)
    assert {entry.position: entry.leadership for entry in shown.entries} == best


class Witness(Observer):
    """Notes every pvalue that is proposed or stored, and what is applied where."""

    def __init__(self) -> None:
        self.proposed: dict[tuple[Leadership, int], set[Operation]] = defaultdict(set)
        self.stored_: dict[tuple[Leadership, int], set[Operation]] = defaultdict(set)
        self.decisions: dict[int, set[Operation]] = defaultdict(set)
        self.out: dict[tuple[int, int], list[int]] = defaultdict(list)

    def sent(self, world: World, node: Node, to: int, message: AnyMessage) -> None:
        if isinstance(message, Accept):
            for position, operation in enumerate(message.operations, message.ballot.op_num):
                self.proposed[message.ballot.leadership, position].add(operation)

    def stored(self, world: World, node: Node, item: Persist | Compaction) -> None:
        for entry in item.entries if isinstance(item, Persist) else []:
            if entry.leadership[0]:
                self.stored_[entry.leadership, entry.position].add(entry.operation)

    def applied(self, world: World, node: Node, applied: Applied, outcome: Outcome) -> None:
        self.decisions[applied.position].add(applied.operation)
        self.out[node.pid, node.incarnation].append(applied.position)


@pytest.fixture(scope="module")
def turmoil() -> Witness:
    """Three nodes whose leaders die in the middle of their work, again and again."""
    witness = Witness()
    world = World(11, (1, 2, 3), observers=[witness])
    world.weather.loss = world.weather.duplicate = 0.05
    world.start()
    for number in range(12):
        world.run_until(lambda: any(n.up and n.replica.leader for n in world.nodes.values()), 5.0)
        for node in world.nodes.values():
            if node.up:
                for name in range(3):
                    node.submit(Create(f"c{number}-{node.pid}-{name}"), lambda applied, outcome: None)
        world.run(0.004 * (number % 4))
        leader = next(n for n in world.nodes.values() if n.up and n.replica.leader)
        leader.crash()
        world.run(1.0)
        leader.start()
        world.run(0.5)
    return witness


def test_a4_c1_a_ballot_has_at_most_one_command_for_a_slot(turmoil: Witness) -> None:
    """A4 and C1: the same at all acceptors and in all Accepts, however often they are sent or their sender crashed."""
    assert len({leadership for leadership, _ in turmoil.proposed}) >= 5
    assert all(len(commands) == 1 for commands in turmoil.proposed.values())
    assert len(turmoil.stored_) > 30 and all(len(commands) == 1 for commands in turmoil.stored_.values())


def test_r1_no_two_commands_are_decided_for_one_slot(turmoil: Witness) -> None:
    """R1."""
    assert len(turmoil.decisions) > 30
    assert all(len(commands) == 1 for commands in turmoil.decisions.values())


def test_r2_r4_replicas_carry_out_decisions_in_order_and_never_go_back(turmoil: Witness) -> None:
    """R2, R3 and R4, for each start of each node."""
    assert all(positions == sorted(set(positions)) for positions in turmoil.out.values())


@pytest.mark.parametrize("seed", range(40))
def test_a5_c2_what_a_majority_accepted_is_what_every_later_ballot_proposes(seed: int) -> None:
    """A5 and C2: random quorums, random losses, leaders that stop half-way; a chosen value stays chosen."""
    random = Random(seed)
    cluster = {pid: acceptor() for pid in range(1, 6)}
    chosen: dict[int, Operation] = {}
    for seq_num in range(1, 25):
        pid = random.randint(1, 5)
        candidate, inheritance = Candidate(Ballot(seq_num, pid, 1), 3, LIMITS, 0.0), None
        for asked in random.sample(sorted(cluster), 3):
            reply, _ = answer(cluster[asked], Prepare(candidate.ballot))
            assert isinstance(reply, Promise)
            inheritance = candidate.promised(asked, reply)
        assert inheritance is not None
        leader = Leader(candidate.ballot.leadership, 3, LIMITS, 0, inheritance.open, Sessions())
        leader.offer(Operation(pid, seq_num, number, b"") for number in range(1, random.randint(1, 3)))
        for batch in leader.propose():
            votes = [asked for asked in cluster if random.random() < 0.5
                     and isinstance(answer(cluster[asked], leader.accept_message(batch))[0], Accepted)]
            for position, operation in enumerate(batch.operations, batch.first):
                assert chosen.get(position, operation) == operation
                if len(votes) >= 3:
                    chosen[position] = operation
    assert chosen


def test_r3_a_command_decided_in_two_slots_is_carried_out_once() -> None:
    """perform(): a command may be decided again; only its first slot counts."""
    solo = Solo()
    out = solo.hear(2, Learn(1, [op(1), op(1), op(2), op(1)], 4))
    assert [applied.position for applied in out.apply] == [1, 3] and solo.replica.applied == 4


def test_r2_nothing_is_carried_out_behind_a_missing_slot() -> None:
    """R2: everything before slot_out is decided; a gap stops it, whatever lies behind."""
    solo = Solo()
    solo.hear(2, Accept(Ballot(1, 2, 2), [op(2)], 0))
    assert not solo.hear(2, Decide(Ballot(1, 2, 2))).apply and solo.replica.applied == 0
    out = solo.hear(2, Learn(1, [op(1)], 2))
    assert [applied.position for applied in out.apply] == [1]


def test_r4_neither_an_old_snapshot_nor_an_old_lesson_turns_slot_out_back() -> None:
    """R4."""
    solo = Solo()
    solo.hear(2, Learn(1, [op(1), op(2), op(3)], 3))
    for late in (SnapshotPiece(2, 0, 1, {}, []), SnapshotPiece(3, 0, 1, {}, []), Learn(1, [op(9)], 1)):
        out = solo.hear(2, late)
        assert out.install is None and not out.apply and solo.replica.applied == 3
    assert solo.replica.sessions.last(2) == (1, 3)


def test_r5_only_so_many_slots_are_proposed_ahead_of_what_is_decided() -> None:
    """R5: the WINDOW is the pipeline of Accepts here."""
    leader = Leader((1, 1), 2, Limits(batch_operations=2, pipeline=3), 0, [], Sessions())
    leader.offer(op(number) for number in range(1, 20))
    assert [batch.last for batch in leader.propose()] == [2, 4, 6] and not leader.propose()
    assert leader.queued == 13
    for pid in (1, 2):
        leader.accepted(pid, Accepted(Ballot(1, 1, 1), 2))
    assert [batch.first for batch in leader.propose()] == [7]


def test_4_a_promise_sends_one_pvalue_a_slot_and_only_from_the_slot_asked_for() -> None:
    """State reduction: decided slots below the proposer's own watermark travel no more."""
    one = acceptor()
    for seq_num in (1, 2, 3):
        answer(one, Accept(Ballot(seq_num, 1, 1), [op(seq_num), op(9), op(8)], 0))
    shown, _ = answer(one, Prepare(Ballot(4, 1, 3)))
    assert isinstance(shown, Promise)
    assert [(entry.position, entry.leadership) for entry in shown.entries] == [(3, (3, 1))]


def test_4_behind_a_snapshot_the_log_is_gone_and_who_needs_it_is_told() -> None:
    """Garbage collection: a leader that asks below the cut must learn first, and is promised nothing."""
    log = Log()
    log.learn(1, [op(number) for number in range(1, 11)])
    log.release(6)
    one = acceptor(log=log)
    assert len(log) == 4 and log.get(6) is None
    assert answer(one, Prepare(Ballot(1, 1, 6)))[0] == Behind(Ballot(1, 1, 6), 10)
    assert isinstance(answer(one, Prepare(Ballot(1, 1, 7)))[0], Promise)


def test_4_a_snapshot_keeps_what_was_carried_out_from_being_carried_out_again() -> None:
    """Garbage collection: the state of a replica includes which commands it has performed."""
    solo = Solo()
    configuration = solo.replica.configuration
    out = solo.hear(2, SnapshotPiece(5, 0, 1, {2: (1, 3)}, [(b"k", b"v")], configuration))
    assert out.install == Snapshot(5, {2: (1, 3)}, [(b"k", b"v")], configuration)
    out = solo.hear(2, Learn(6, [op(3), op(4)], 7))
    assert [applied.position for applied in out.apply] == [7]


def test_4_a_restarted_replica_carries_out_again_what_its_disk_knows_as_decided() -> None:
    """State on disk: without a word from the others."""
    world = World(2, (1, 2, 3))
    world.start()
    world.run(2.0)
    for number in range(3):
        world.nodes[1].submit(Create(f"c{number}"), lambda applied, outcome: None)
    world.run(3.0)
    node = world.nodes[3]
    digest = node.store.digest()
    node.crash()
    world.weather.cut = {(one, other) for one in world.pids for other in world.pids}
    node.start()
    assert node.store.digest() == digest and node.replica.applied == 3


def test_4_the_leader_is_its_own_acceptor_without_a_message_on_the_network() -> None:
    """Colocation: what it says to itself never goes by the network; a refusal there ends it."""
    solo = Solo()
    leadership = solo.lead()
    solo.replica.submit(b"x")
    out = solo.take()
    assert (1, Accepted(ballot(leadership, 1), 1, 101)) in out.send_after_persist
    assert 1 not in {to for to, _ in out.send_now}


def test_4_a_read_writes_nothing_and_needs_a_quorum_each_time_for_there_are_no_leases() -> None:
    """Read-only commands: leases would rest on clocks. So each round asks a quorum anew, a late answer
    to an older round does not serve a newer one, and the log does not grow."""
    solo = Solo(members=(1, 2, 3, 4, 5))
    asked = solo.campaign()
    solo.written(solo.take())
    for pid in (2, 3):
        out = solo.hear(pid, Promise(asked, [], 0))
    for count in (1, 2):
        out = solo.hear(4, ReadRequest((9, count)))
        confirm = next(message for _, message in out.send_now if isinstance(message, Confirm))
        assert confirm.count == count and out.persist is None
        strange = ballot((asked.seq_num - 1, asked.pid), 1)
        for pid, reply in ((2, Confirmed(confirm.ballot, count - 1)), (2, Confirmed(strange, count)),
                            (3, Confirmed(confirm.ballot, count)), (3, Confirmed(confirm.ballot, count))):
            assert ReadReply not in kinds(solo.hear(pid, reply).send_now)
        assert (4, ReadReply((9, count), 0)) in solo.hear(5, Confirmed(confirm.ballot, count)).send_now
    assert solo.replica.log.last == 0
