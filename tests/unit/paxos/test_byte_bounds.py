"""What a node holds is bounded in bytes as well as in number: at the bound it still fits, one byte more does not."""

from __future__ import annotations

from random import Random

import pytest

from paxos.ballot import ballot
from paxos.candidate import Candidate
from paxos.limits import Limits
from paxos.log import OVERHEAD, Log
from paxos.messages import Operation
from paxos.queue import OperationQueue, QueueFull


def operation(number: int, size: int) -> Operation:
    return Operation(1, 1, number, bytes(size))


def log_of(sizes: list[int]) -> Log:
    log = Log()
    log.learn(1, [operation(number, size) for number, size in enumerate(sizes, 1)])
    return log


def test_the_tail_of_the_log_is_kept_up_to_its_size() -> None:
    log = log_of([100] * 10)
    each = 100 + OVERHEAD
    assert log.tail(10, 4, 100 * each) == 6, "as many operations as are wanted"
    assert log.tail(10, 4, 3 * each) == 7, "exactly what fits"
    assert log.tail(10, 4, 3 * each - 1) == 8
    assert log.tail(10, 4, 0) == 10, "nothing fits"
    assert log.tail(10, 0, 100 * each) == 10
    log.release(8)
    assert log.tail(10, 4, 100 * each) == 8, "what is gone is not there to be kept"
    assert log.tail(5, 4, 100 * each) <= log.compacted, "a snapshot older than the log cuts nothing"


@pytest.mark.parametrize("seed", range(20))
def test_the_log_knows_its_size_whatever_happens_to_it(seed: int) -> None:
    random = Random(seed)
    log = Log()
    for turn in range(60):
        first = log.decided_upto + random.randint(1, 3)
        operations = [operation(number, random.randint(0, 50)) for number in range(random.randint(1, 5))]
        match random.randrange(5):
            case 0 | 1:
                log.accept((turn, 1), first, operations)
            case 2:
                log.decide((turn - 1, 1), first + 2)
            case 3:
                log.learn(log.decided_upto + random.randint(-2, 1), operations) if log.decided_upto > 3 else None
            case _:
                if random.random() < 0.3:
                    log.jump(log.decided_upto + random.randint(0, 3))
                else:
                    log.release(min(log.decided_upto, log.compacted + 2))
        entries = log.entries_from(1)
        assert log.bytes == sum(len(entry.operation.payload) + OVERHEAD for entry in entries)
        held = [entry for entry in entries if entry.position > log.decided_upto]
        assert log.open_bytes == sum(len(entry.operation.payload) + OVERHEAD for entry in held)


def test_own_operations_wait_up_to_their_size() -> None:
    queue = OperationQueue(1, 1, Limits(queue_bytes=100))
    queue.submit(bytes(60))
    with pytest.raises(QueueFull, match="operations of 60 bytes are already waiting"):
        queue.submit(bytes(41))
    queue.submit(bytes(40))
    queue.restart(2)
    with pytest.raises(QueueFull):
        queue.submit(b"x")
    queue.done(2, 1, 0.0)
    queue.submit(bytes(60))
    queue.give_up()
    queue.submit(bytes(100))
    assert queue.waiting_bytes == 100


def test_what_waits_at_a_candidate_is_bounded_even_if_it_is_sent_again_and_again() -> None:
    candidate = Candidate(ballot((1, 1)), 2, Limits(queue=5, queue_bytes=100), 0.0)
    for _ in range(3):
        candidate.offer([operation(1, 30), operation(2, 30)])
    assert [each.number for each in candidate.held] == [1, 2, 1]
    candidate.offer([operation(3, 10), operation(4, 0), operation(5, 0), operation(6, 0)])
    assert len(candidate.held) == 5, "and in number"
