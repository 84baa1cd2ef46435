"""The operation queue of a node: its own users' operations, kept until they are applied here.

Whatever goes wrong on the way (a dead leader, a lost message, a full queue elsewhere) the remedy is the same: resend
everything from the oldest on. `Sessions` makes that harmless.
"""

from __future__ import annotations

from collections import deque
from itertools import islice

from paxos.ballot import NOBODY, Leadership
from paxos.limits import Limits
from paxos.messages import Operation
from paxos.retry import Retry

LEAST_BATCH = 64 * 1024
"""Nothing can overtake what is being sent, so it is no larger than that, unless one operation is."""
GAP_DECAY = 1 / 8
PATIENT_GAPS = 2.0
MOST_GAP = 2.0
SLOWEST = 256 * 1024
"""Bytes a second that the way to the leader and back is taken to carry at least."""


class QueueFull(Exception):
    """The limit of waiting operations is reached."""


class OperationQueue:
    def __init__(self, pid: int, incarnation: int, limits: Limits) -> None:
        self.pid = pid
        self.incarnation = incarnation
        self._limits = limits
        self._waiting: deque[Operation] = deque()
        self.waiting_bytes = 0
        self._first_ticket = 1
        """Tickets of the waiting operations are consecutive from here on; unlike numbers they outlive `restart`."""
        self._number = 0
        self._sent = 0
        """How many of the waiting operations, from the oldest, are in flight to `_leader`."""
        self._sent_bytes = 0
        self._leader = NOBODY
        self._retry = Retry(0.0)
        self._moved = 0.0
        """When something was last sent while nothing was in flight, or done."""
        self._gap = 0.0
        """Seconds that usually pass until something of what is in flight is done."""

    def __len__(self) -> int:
        return len(self._waiting)

    def submit(self, payload: bytes) -> int:
        """Returns the operation's ticket. Raises QueueFull."""
        if len(self._waiting) >= self._limits.queue:
            raise QueueFull(f"{len(self._waiting)} operations are already waiting")
        if self.waiting_bytes + len(payload) > self._limits.queue_bytes:
            raise QueueFull(f"operations of {self.waiting_bytes} bytes are already waiting")
        self.waiting_bytes += len(payload)
        self._number += 1
        self._waiting.append(Operation(self.pid, self.incarnation, self._number, payload))
        return self._first_ticket + len(self._waiting) - 1

    def done(self, incarnation: int, number: int, now: float) -> list[int]:
        """The log has applied everything of this node up to (incarnation, number): returns their tickets."""
        tickets: list[int] = []
        if incarnation != self.incarnation:
            return tickets
        in_flight = self._sent > 0
        while self._waiting and self._waiting[0].number <= number:
            operation = self._waiting.popleft()
            self.waiting_bytes -= len(operation.payload)
            tickets.append(self._first_ticket)
            self._first_ticket += 1
            if self._sent:
                self._sent -= 1
                self._sent_bytes -= len(operation.payload)
        if now > self._moved and in_flight and tickets:
            gap = min(now - self._moved, MOST_GAP)
            self._gap = max(gap, self._gap + (gap - self._gap) * GAP_DECAY)
            self._moved = now
        self._retry.reset(now)
        return tickets

    def give_up(self) -> list[int]:
        """Drops all waiting operations; returns their tickets."""
        tickets = list(range(self._first_ticket, self._first_ticket + len(self._waiting)))
        self._first_ticket += len(self._waiting)
        self._waiting.clear()
        self.waiting_bytes = 0
        self._send_again()
        return tickets

    def restart(self, incarnation: int) -> None:
        """The log, followed operation by operation, knows a later incarnation of this node than its own (a lost disk
        and a clock set back). What waits was not applied, and would count as too old from here on: it goes on under
        this still later incarnation."""
        self.incarnation = incarnation
        self._waiting = deque(
            Operation(self.pid, incarnation, number, operation.payload)
            for number, operation in enumerate(self._waiting, 1)
        )
        self._number = len(self._waiting)
        self._send_again()

    def outgoing(self, leader: Leadership, now: float, retry_s: float) -> list[Operation]:
        """What to send to the leader now: unsent operations, or everything again if the leader is new or silent."""
        if leader == NOBODY:
            self._send_again()
            return []
        if leader != self._leader:
            self._leader = leader
            self._gap = 0.0
            self._moved = now
            self._retry.reset(now)
            self._send_again()
        elif not self._sent:
            # Nothing is in flight: the timeout of what is sent now starts now, not when the queue became empty.
            self._retry.reset(now)
            self._moved = now
        elif self._retry.due(now, retry_s + PATIENT_GAPS * self._gap + self._sent_bytes / SLOWEST):
            self._send_again()
        operations: list[Operation] = []
        size = 0
        for operation in islice(self._waiting, self._sent, self._limits.forward_window):
            if size >= min(self._limits.batch_bytes, LEAST_BATCH) or self._sent_bytes >= self._limits.forward_bytes:
                break
            operations.append(operation)
            size += len(operation.payload)
            self._sent_bytes += len(operation.payload)
            self._sent += 1
        return operations

    def lost(self) -> None:
        """What is in flight is."""
        self._send_again()

    def _send_again(self) -> None:
        self._sent = self._sent_bytes = 0
