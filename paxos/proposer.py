"""The proposer, in its two phases: a Candidate gathers promises, a Leader gets operations accepted.

Quorums are sets of sender ids, kept for one leadership each: a vote that comes twice, late, or for another leadership
cannot be counted. (Lamport, *Paxos Made Simple*, sections 2.2 and 3; van Renesse and Altinbuken, *Paxos Made
Moderately Complex*, section 2.3, scouts and commanders.)
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from paxos.ballot import Ballot, Leadership, ballot
from paxos.limits import Limits
from paxos.messages import NOOP, Accept, Accepted, Entry, Operation, Promise
from paxos.retry import Retry
from paxos.sessions import Sessions


class Inheritance:
    """What a quorum's promises oblige a new leader to: learn what is decided, propose again what may be."""

    def __init__(self, start: int, promises: Iterable[Promise]) -> None:
        promises = list(promises)
        best = max(promises, key=lambda promise: promise.decided)
        self.start = start
        self.decided: list[Operation] = [e.operation for e in best.entries if e.position <= best.decided]
        """Decided operations from `start` on, without gaps: who knows a decision holds all before it."""
        self.first_open = max(start, best.decided + 1)
        highest: dict[int, Entry] = {}
        for promise in promises:
            for entry in promise.entries:
                held = highest.get(entry.position)
                if held is None or entry.leadership > held.leadership:
                    highest[entry.position] = entry
        last = max(highest, default=0)
        self.open: list[Operation] = [
            highest[position].operation if position in highest else NOOP
            for position in range(self.first_open, last + 1)
        ]
        """For each open position the operation of the highest leadership; gaps are filled with no-ops."""


class Candidate:
    """Phase 1 of one leadership, from position `ballot.op_num` on."""

    def __init__(self, ballot: Ballot, quorum: int) -> None:
        self.ballot = ballot
        self.promises: dict[int, Promise] = {}
        self._quorum = quorum

    def restart(self, op_num: int) -> None:
        """Having caught up, asks again from a later position: earlier answers spoke about another one."""
        self.ballot = self.ballot.at(op_num)
        self.promises = {}

    def promised(self, sender: int, message: Promise) -> Inheritance | None:
        """Counts one promise; with a quorum, returns what the new leader inherits."""
        if message.ballot != self.ballot or not _shows_all_decided(message):
            return None
        self.promises[sender] = message
        if len(self.promises) < self._quorum:
            return None
        return Inheritance(self.ballot.op_num, self.promises.values())


def _shows_all_decided(message: Promise) -> bool:
    """A promise that knows decisions without showing them would leave its reader with a hole in the log."""
    start = message.ballot.op_num
    shown = sum(entry.position <= message.decided for entry in message.entries)
    return shown >= message.decided - start + 1


class Batch:
    """Operations that travel in one Accept, and who has accepted them."""

    __slots__ = ("first", "operations", "retry", "voters")

    def __init__(self, first: int, operations: list[Operation], retry: Retry) -> None:
        self.first = first
        self.operations = operations
        self.voters: set[int] = set()
        self.retry = retry

    @property
    def last(self) -> int:
        return self.first + len(self.operations) - 1


class Leader:
    """Phase 2 of one leadership: batches the queue into Accepts, keeps several in flight, counts who accepted."""

    def __init__(
        self, leadership: Leadership, quorum: int, limits: Limits, decided: int, inherited: Sequence[Operation],
        sessions: Sessions,
    ) -> None:
        self.leadership = leadership
        self.decided = decided
        self.next = decided + 1
        self.barrier = decided + len(inherited)
        """Everything acknowledged under earlier leaderships lies at or below this position."""
        self._quorum = quorum
        self._limits = limits
        self._inherited: deque[Operation] = deque(inherited)
        self._queue: deque[Operation] = deque()
        self._seen = Sessions(sessions.table())
        for operation in inherited:
            self._seen.admit(operation)
        self._early: dict[int, dict[int, Operation]] = {}
        """By node and number: operations of its present life that overtook an older one on the way here."""
        self._flying: dict[int, Batch] = {}

    @property
    def settled(self) -> bool:
        """True once everything that was acknowledged under earlier leaderships is known to be decided."""
        return self.decided >= self.barrier

    @property
    def queued(self) -> int:
        return len(self._queue) + len(self._inherited)

    def offer(self, operations: Iterable[Operation]) -> None:
        """Takes operations into the queue, in their node's order and each once. What does not fit (a repetition, a
        full queue) is left out: its node sends it again until it is applied."""
        bound = self._limits.queue
        for operation in operations:
            if len(self._queue) >= bound:
                return
            if self._seen.admit(operation):
                self._queue.append(operation)
                if self._early:
                    self._take_early(operation)
            elif self._seen.precedes(operation):
                self._keep_early(operation)

    def _keep_early(self, operation: Operation) -> None:
        early = self._early.setdefault(operation.pid, {})
        life = next(iter(early.values())).incarnation if early else operation.incarnation
        if life < operation.incarnation:
            early.clear()
        if life <= operation.incarnation and len(early) < self._limits.forward_window:
            early[operation.number] = operation

    def _take_early(self, operation: Operation) -> None:
        early = self._early.get(operation.pid, {})
        number = operation.number + 1
        while number in early and self._seen.admit(early[number]):
            self._queue.append(early.pop(number))
            number += 1

    def propose(self, now: float) -> list[Batch]:
        """New batches, as many as the pipeline has room for; what waits meanwhile makes the next batch larger."""
        batches: list[Batch] = []
        while (self._inherited or self._queue) and len(self._flying) < self._limits.pipeline:
            source = self._inherited or self._queue
            operations: list[Operation] = []
            room = self._limits.batch_bytes
            while source and room > 0 and len(operations) < self._limits.batch_operations:
                operation = source.popleft()
                room -= len(operation.payload)
                operations.append(operation)
            batch = Batch(self.next, operations, Retry(now))
            self._flying[batch.first] = batch
            self.next = batch.last + 1
            batches.append(batch)
        return batches

    def overdue(self, now: float, retry_s: float) -> list[Batch]:
        """Batches in flight for too long, to be sent again."""
        return [batch for batch in self._flying.values() if batch.retry.due(now, retry_s)]

    def accept_message(self, batch: Batch) -> Accept:
        return Accept(ballot(self.leadership, batch.first), batch.operations, self.decided)

    def accepted(self, sender: int, message: Accepted) -> int:
        """Counts one vote; returns how many positions it made decided."""
        batch = self._flying.get(message.ballot.op_num)
        if batch is None or message.ballot.leadership != self.leadership or message.count != len(batch.operations):
            return 0
        batch.voters.add(sender)
        before = self.decided
        while (batch := self._flying.get(self.decided + 1)) is not None and len(batch.voters) >= self._quorum:
            self.decided = batch.last
            del self._flying[batch.first]
        return self.decided - before
