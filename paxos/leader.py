"""Phase 2 of one leadership: a Leader batches operations into Accepts, keeps several in flight, counts who accepted.

Votes are kept by sender, for one leadership: one that comes twice, late, or for another leadership cannot be counted.
(Lamport, *Paxos Made Simple*, sections 2.2 and 3; the commanders of van Renesse and Altinbuken's *Paxos Made Moderately
Complex*.)
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Sequence

from paxos.ballot import Leadership, ballot
from paxos.configuration import is_stop_sign
from paxos.limits import Limits
from paxos.messages import Accept, Accepted, Operation
from paxos.reads import ReadIndex
from paxos.sessions import Sessions


class Batch:
    """The operations of one Accept, and the nodes that have accepted them."""

    __slots__ = ("first", "operations", "voters")

    def __init__(self, first: int, operations: list[Operation]) -> None:
        self.first = first
        self.operations = operations
        self.voters: set[int] = set()

    @property
    def last(self) -> int:
        return self.first + len(self.operations) - 1


class Leader:
    """Phase 2 of one leadership."""

    def __init__(
        self, leadership: Leadership, quorum: int, limits: Limits, decided_upto: int, inherited: Sequence[Operation],
        sessions: Sessions,
    ) -> None:
        self.leadership = leadership
        self.decided_upto = decided_upto
        self.announced_upto = 0
        """The watermark that all others were told, by an Accept or a Decide."""
        self.owners: set[int] = set()
        """Nodes with operations that became decided and of which they were not told: their users wait."""
        self.next = decided_upto + 1
        self.barrier = decided_upto + len(inherited)
        """Everything acknowledged under earlier leaderships is at or below this position."""
        self.read_index = ReadIndex(quorum)
        self._quorum = quorum
        self._limits = limits
        self._inherited: deque[Operation] = deque(inherited)
        self._queue: deque[Operation] = deque()
        self._seen = Sessions(sessions.table())
        for operation in inherited:
            self._seen.admit(operation)
        self._early: dict[int, dict[int, Operation]] = {}
        """By node and number: operations of its present incarnation that overtook an older one on the way here."""
        self._flying: dict[int, Batch] = {}
        self._stop_sign: Operation | None = None
        """To be proposed behind what is inherited, once there is room."""
        self._stops_at: int | None = None
        """The position of a stop-sign that was proposed: nothing is proposed behind it."""

    @property
    def stopping(self) -> bool:
        """True once a stop-sign is proposed: the leadership ends with it."""
        return self._stops_at is not None

    @property
    def stopped(self) -> bool:
        """True once a stop-sign is decided."""
        return self._stops_at is not None and self.decided_upto >= self._stops_at

    def stop(self, stop_sign: Operation | None) -> None:
        """Proposes this as soon as there is room behind what is inherited, and nothing behind it. Until then it may be
        replaced, or withdrawn (None): a disk that it names may be gone again."""
        if not self.stopping:
            self._stop_sign = stop_sign

    def waiting(self) -> list[Operation]:
        """Operations that were offered and not proposed."""
        return list(self._queue)

    @property
    def settled(self) -> bool:
        """True once everything that was acknowledged under earlier leaderships is known to be decided."""
        return self.decided_upto >= self.barrier

    @property
    def pending(self) -> bool:
        """True if there is something to propose."""
        return self._stops_at is None and bool(self._inherited or self._queue or self._stop_sign)

    @property
    def queued(self) -> int:
        return len(self._queue) + len(self._inherited)

    def offer(self, operations: Iterable[Operation]) -> None:
        """Adds operations to the queue, in their node's order and each once. What does not fit (a duplicate, a
        full queue) is dropped: its node resends it until it is applied."""
        bound = self._limits.queue
        for operation in operations:
            if len(self._queue) >= bound:
                return
            if operation.pid == 0:
                continue  # No node's own: only leaders propose these.
            if self._seen.admit(operation):
                self._queue.append(operation)
                if self._early:
                    self._take_early(operation)
            elif self._seen.precedes(operation):
                self._keep_early(operation)

    def _keep_early(self, operation: Operation) -> None:
        early = self._early.setdefault(operation.pid, {})
        incarnation = next(iter(early.values())).incarnation if early else operation.incarnation
        if incarnation < operation.incarnation:
            early.clear()
        if incarnation <= operation.incarnation and len(early) < self._limits.forward_window:
            early[operation.number] = operation

    def _take_early(self, operation: Operation) -> None:
        early = self._early.get(operation.pid, {})
        number = operation.number + 1
        while number in early and self._seen.admit(early[number]):
            self._queue.append(early.pop(number))
            number += 1

    def propose(self, batch_bytes: float = math.inf) -> list[Batch]:
        """New batches of about so many bytes at most, as many as fit into the pipeline; what waits meanwhile makes the
        next batch larger."""
        batches: list[Batch] = []
        size = min(batch_bytes, self._limits.batch_bytes)
        while len(self._flying) < self._limits.pipeline and (operations := self._next_operations(size)):
            batch = Batch(self.next, operations)
            self._flying[batch.first] = batch
            self.next = batch.last + 1
            batches.append(batch)
        return batches

    def _next_operations(self, batch_bytes: float) -> list[Operation]:
        """Of the next batch: what is inherited, then a stop-sign if there is one, else what was offered."""
        operations: list[Operation] = []
        if self._stops_at is not None:
            return operations
        if not self._inherited and self._stop_sign is not None:
            self._stops_at = self.next
            return [self._stop_sign]
        source = self._inherited or self._queue
        size = 0
        while source and size < batch_bytes and len(operations) < self._limits.batch_operations:
            operation = source.popleft()
            size += len(operation.payload)
            operations.append(operation)
            if is_stop_sign(operation):
                self._stops_at = self.next + len(operations) - 1
                break
        return operations

    def accept_message(self, batch: Batch) -> Accept:
        return Accept(ballot(self.leadership, batch.first), batch.operations, self.decided_upto)

    def accepted(self, sender: int, message: Accepted) -> int:
        """Counts one vote; returns how many positions it made decided."""
        batch = self._flying.get(message.ballot.op_num)
        if batch is None or message.ballot.leadership != self.leadership or message.count != len(batch.operations):
            return 0
        batch.voters.add(sender)
        before = self.decided_upto
        while (batch := self._flying.get(self.decided_upto + 1)) is not None and len(batch.voters) >= self._quorum:
            self.decided_upto = batch.last
            self.owners.update([operation.pid for operation in batch.operations])
            del self._flying[batch.first]
        return self.decided_upto - before
