"""Ordering and exactly-once semantics: ballots, log, sessions, queues, retry."""

from __future__ import annotations

from random import Random

import pytest

from paxos.ballot import BOTTOM, NOBODY, Ballot
from paxos.effects import Effects
from paxos.leader import Leader
from paxos.learner import Learner
from paxos.limits import Limits
from paxos.log import OVERHEAD, Log
from paxos.messages import Accept, Behind, Entry, Operation, Prepare, Promise, Snapshot
from paxos.output import Durable, Output, Persist
from paxos.queue import OperationQueue, QueueFull
from paxos.retry import CEILING, GROWTH, Retry
from paxos.sessions import Sessions
from tests.unit.paxos.roles import acceptor, answer, op


def test_leaderships_are_ordered_by_seq_num_then_pid_never_by_op_num() -> None:
    assert NOBODY < (1, 1) < (1, 2) < (2, 1)
    assert Ballot(1, 2, 9).leadership == Ballot(1, 2, 3).leadership
    assert not acceptor(Ballot(1, 2, 3)).promise(Ballot(1, 2, 9)), "the same leadership is no new promise"
    assert str(Ballot(1, 2, 3)) == "<1,2,3>" and Ballot(1, 2, 3).at(5) == Ballot(1, 2, 5)


# ---- Log


def test_a_decided_position_is_never_overwritten() -> None:
    log = Log()
    log.learn(1, [op(1)])
    assert log.accept((9, 9), 1, [op(7)]) == [] and log.learn(1, [op(8)]) == []
    assert log.get(1) == Entry(1, NOBODY, op(1))


def test_what_is_decided_replaces_another_acceptance() -> None:
    log = Log()
    log.accept((1, 1), 1, [op(7)])
    assert log.learn(1, [op(1)]) == [Entry(1, NOBODY, op(1))] and log.decided_upto == 1


def test_a_lesson_behind_a_gap_is_not_taken() -> None:
    log = Log()
    assert log.learn(3, [op(3)]) == [] and log.decided_upto == log.last == 0
    log.learn(1, [op(1)])
    assert [entry.position for entry in log.learn(1, [op(1), op(2), op(3)])] == [2, 3]


def test_the_same_acceptance_twice_is_stored_once() -> None:
    log = Log()
    assert len(log.accept((1, 1), 1, [op(1), op(2)])) == 2 and log.accept((1, 1), 2, [op(2)]) == []


def test_open_bytes_are_what_lies_above_the_watermark() -> None:
    """Any sequence of changes: accepted, replaced, decided, learned, skipped, reopened."""
    log = Log()

    def held() -> int:
        return sum(len(e.operation.payload) + OVERHEAD for e in log.entries_from(log.decided_upto + 1))

    log.accept((1, 1), 1, [op(1), op(22), op(333), op(4444), op(5), op(6)])
    assert log.open_bytes == held() > 0
    log.accept((2, 1), 2, [op(10_000)])
    assert log.open_bytes == held()
    log.decide((1, 1), 1)
    assert log.decided_upto == 1 and log.open_bytes == held()
    log.learn(2, [op(2), op(3)])
    assert log.open_bytes == held()
    assert Log(log.entries_from(1), 3).open_bytes == held()
    log.jump(5)
    assert log.decided_upto == 5 and log.open_bytes == held() == OVERHEAD + len(op(6).payload)


def test_a_log_found_on_disk_knows_what_was_released_before() -> None:
    log = Log([Entry(position, NOBODY, op(position)) for position in (4, 5, 6, 8)], 6)
    assert (log.compacted, log.decided_upto, log.last, log.blank) == (3, 6, 8, False)
    assert (Log([], 9).compacted, Log([], 9).last) == (9, 9)


def test_a_reader_of_the_log_gets_a_bounded_share_but_at_least_one() -> None:
    log = Log()
    log.learn(1, [Operation(1, 1, number, b"x" * 100) for number in range(1, 11)])
    assert [len(log.decided_from(*asked)) for asked in ((1, 4, 9999), (1, 99, 150), (1, 99, 1), (9, 99, 9999))] == [
        4, 2, 1, 2]


# ---- Bounds of the acceptor


def test_a_promise_is_bounded_in_operations_and_in_bytes() -> None:
    """A node far behind is refused, and catches up in pieces, instead of being sent half the log in one Promise."""
    log = Log()
    log.learn(1, [Operation(1, 1, number, b"x" * 100) for number in range(1, 11)])
    size = 100 + OVERHEAD
    for limits in (Limits(lag=4), Limits(lag_bytes=4 * size)):
        one = acceptor(log=log, limits=limits)
        assert isinstance(answer(one, Prepare(Ballot(1, 1, 7)))[0], Promise)
        assert answer(one, Prepare(Ballot(1, 1, 6)))[0] == Behind(Ballot(1, 1, 6), 10)


def test_an_acceptor_far_behind_stores_only_so_much_ahead() -> None:
    far = acceptor(limits=Limits(horizon=5))
    assert answer(far, Accept(Ballot(1, 1, 6), [op(6)], 0)) == (None, Persist())
    assert far.promised == BOTTOM and answer(far, Accept(Ballot(1, 1, 5), [op(5)], 0))[0] is not None
    log = Log()
    heavy = acceptor(log=log, limits=Limits(horizon_bytes=50))
    for position, taken in ((1, True), (2, True), (3, False)):
        reply, _ = answer(heavy, Accept(Ballot(1, 1, position), [op(position)], 0))
        assert (reply is not None) == taken
    log.decide((1, 1), 1)
    assert answer(heavy, Accept(Ballot(1, 1, 3), [op(3)], 0))[0] is not None


# ---- Sessions


def test_operations_of_a_node_count_once_and_in_order() -> None:
    sessions = Sessions()
    offered = [(1, 1, 2), (1, 1, 1), (1, 1, 1), (1, 1, 3), (1, 1, 2), (2, 1, 1), (1, 3, 2), (1, 3, 1), (1, 1, 3),
               (1, 2, 1), (1, 3, 2)]
    counted = [who for who in offered if sessions.admit(Operation(*who, b""))]
    assert counted == [(1, 1, 1), (1, 1, 2), (2, 1, 1), (1, 3, 1), (1, 3, 2)]
    assert sessions.last(1) == (3, 2) and Sessions(sessions.table()).table() == sessions.table()


def test_an_operation_precedes_only_what_can_still_come() -> None:
    sessions = Sessions({1: (5, 3)})
    cases = {(5, 3): False, (5, 4): False, (5, 5): True, (4, 9): False, (6, 1): True, (6, 2): True}
    assert {case: sessions.precedes(Operation(1, *case, b"")) for case in cases} == cases


# ---- The queue of a node's own operations


def queue(**limits: int) -> OperationQueue:
    return OperationQueue(2, 1, Limits(**limits))


def test_a_queue_sends_each_once_to_a_leader_and_all_again_to_a_new_or_silent_one() -> None:
    own = queue()
    own.submit(b"a")
    assert [o.number for o in own.outgoing((1, 1), 0.0, 1.0)] == [1]
    own.submit(b"b")
    assert [o.number for o in own.outgoing((1, 1), 0.5, 1.0)] == [2]
    assert own.outgoing((1, 1), 0.9, 1.0) == [] and own.outgoing(NOBODY, 0.9, 1.0) == []
    assert [o.number for o in own.outgoing((2, 3), 0.9, 1.0)] == [1, 2], "a new leader knows nothing of them"
    assert own.outgoing((2, 3), 1.8, 1.0) == []
    assert [o.number for o in own.outgoing((2, 3), 2.0, 1.0)] == [1, 2], "silent for too long"


def test_what_is_submitted_after_a_quiet_time_is_not_sent_twice_at_once() -> None:
    """The timeout of a request starts when it is sent, not when the last one was answered."""
    own = queue()
    own.outgoing((1, 1), 0.0, 1.0)
    own.submit(b"a")
    assert len(own.outgoing((1, 1), 50.0, 1.0)) == 1 and own.outgoing((1, 1), 50.1, 1.0) == []
    assert len(own.outgoing((1, 1), 51.1, 1.0)) == 1


def test_the_forward_window_is_bounded_in_operations_and_in_bytes() -> None:
    few, heavy = queue(forward_window=3), queue(forward_bytes=250)
    for own in (few, heavy):
        for _ in range(9):
            own.submit(b"x" * 100)
        assert [o.number for o in own.outgoing((1, 1), 0.0, 1.0)] == [1, 2, 3]
        assert own.outgoing((1, 1), 0.1, 1.0) == []
        own.done(1, 1, 0.2)
        assert [o.number for o in own.outgoing((1, 1), 0.3, 1.0)] == [4], "one more fits"


def test_a_queue_is_bounded_and_tickets_return_in_order() -> None:
    own = queue(queue=2)
    tickets = [own.submit(b"a"), own.submit(b"b")]
    with pytest.raises(QueueFull):
        own.submit(b"c")
    assert own.done(7, 2, 0.0) == [], "of another incarnation"
    assert own.done(1, 2, 0.0) == tickets and len(own) == 0 and own.done(1, 2, 0.0) == []


def test_after_a_restart_of_the_queue_what_waits_goes_on_under_a_later_incarnation_with_the_same_tickets() -> None:
    own = queue()
    own.submit(b"a")
    second = own.submit(b"b")
    own.outgoing((1, 1), 0.0, 1.0)
    own.done(1, 1, 0.0)
    own.restart(9)
    assert own.outgoing((1, 1), 0.1, 1.0) == [Operation(2, 9, 1, b"b")]
    assert own.done(9, 1, 0.2) == [second]


def installed(own: OperationQueue, snapshot: Snapshot) -> Output:
    """What comes of it when the node that these operations wait at installs a snapshot."""
    effects = Effects(2)
    Learner(2, Log(), own, Durable(1, 1), Random(1), effects).install(snapshot, 0.0)
    return effects.take()


def test_a_snapshot_that_knows_a_later_incarnation_gives_up_what_waits() -> None:
    """Whether it was applied before the later one began can't be told: it must be reported, and never sent again."""
    own = queue()
    tickets = [own.submit(b"a"), own.submit(b"b")]
    out = installed(own, Snapshot(5, {2: (8, 3)}, []))
    assert out.outcome_unknown == tickets and len(own) == 0 and own.outgoing((1, 1), 9.0, 1.0) == []
    assert own.incarnation > 8 and out.persist is not None and out.persist.incarnation == own.incarnation
    assert own.submit(b"c") not in tickets
    assert own.outgoing((1, 1), 9.0, 1.0) == [Operation(2, own.incarnation, 1, b"c")]


def test_a_snapshot_answers_what_it_contains_and_keeps_the_rest_waiting() -> None:
    own = queue()
    first, second = own.submit(b"a"), own.submit(b"b")
    out = installed(own, Snapshot(5, {2: (1, 1)}, []))
    assert out.outcome_unknown == [first] and len(own) == 1 and own.done(1, 2, 0.0) == [second]


# ---- The leader's queue


def leader(**limits: int) -> Leader:
    return Leader((1, 1), 2, Limits(**limits), 0, [], Sessions())


def proposed(source: Leader) -> list[tuple[int, int, int]]:
    return [(o.pid, o.incarnation, o.number) for batch in source.propose() for o in batch.operations]


def test_operations_that_overtook_others_wait_for_them() -> None:
    taker = leader()
    taker.offer([op(3), op(2), op(1, pid=3)])
    assert proposed(taker) == [(3, 1, 1)]
    taker.offer([op(1), op(3)])
    assert proposed(taker) == [(2, 1, 1), (2, 1, 2), (2, 1, 3)]


def test_early_operations_of_earlier_incarnations_are_dropped() -> None:
    """They must not take the place of the present one's, nor come between them."""
    taker = leader(forward_window=2)
    taker.offer([op(2, incarnation=1), op(3, incarnation=1)])
    taker.offer([op(2, incarnation=5), op(3, incarnation=5)])
    taker.offer([op(4, incarnation=1)])
    taker.offer([op(1, incarnation=5)])
    assert proposed(taker) == [(2, 5, 1), (2, 5, 2), (2, 5, 3)]


def test_a_leader_keeps_only_so_many_early_ones_and_so_long_a_queue() -> None:
    taker = leader(forward_window=2)
    taker.offer(op(number) for number in (4, 3, 2, 1))
    assert proposed(taker) == [(2, 1, 1)]
    full = leader(queue=2)
    full.offer(op(number) for number in (1, 2, 3))
    assert full.queued == 2
    proposed(full)
    full.offer([op(3)])
    assert full.queued == 1, "what did not fit is welcome when it is sent again"


def test_what_was_inherited_or_done_is_not_proposed_again() -> None:
    taker = Leader((1, 1), 2, Limits(), 7, [op(3)], Sessions({2: (1, 2)}))
    taker.offer([op(2), op(3), op(4)])
    assert proposed(taker) == [(2, 1, 3), (2, 1, 4)]


def test_batches_are_bounded_in_operations_and_in_bytes() -> None:
    by_count, by_size = leader(batch_operations=2), leader(batch_bytes=250)
    for taker, sizes in ((by_count, [2, 2, 1]), (by_size, [3, 2])):
        taker.offer(Operation(1, 1, number, b"x" * 100) for number in range(1, 6))
        assert [len(batch.operations) for batch in taker.propose()] == sizes


def test_retry_waits_longer_each_time_up_to_a_bound_and_is_patient_anew_after_progress() -> None:
    retry, now, waits = Retry(0.0), 0.0, []
    for _ in range(12):
        since = now
        while not retry.due(now, 1.0):
            now += 0.01
        waits.append(now - since)
    assert waits[:2] == pytest.approx([1.0, GROWTH], abs=0.02) and waits[-1] == pytest.approx(CEILING, abs=0.02)
    retry.reset(now)
    assert not retry.due(now + 0.9, 1.0) and retry.due(now + 1.1, 1.0)
