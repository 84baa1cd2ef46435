"""Linearizable reads that write nothing.

The reader asks the leader for a position that covers everything acknowledged before; the leader answers once
a quorum has confirmed that it knows of no higher leadership; the reader waits until it has applied that position.
(The read index of Ongaro's dissertation, section 6.4, applied to Multi-Paxos: a new leader must include the
positions it inherited, since it doesn't know which of them were acknowledged.)
"""

from __future__ import annotations

from collections import deque

from paxos.ballot import NOBODY, Leadership
from paxos.messages import Confirmed
from paxos.retry import Retry


class Reads:
    """The reader's side: tickets that wait for a position, then for that position to be applied."""

    def __init__(self, incarnation: int) -> None:
        self._incarnation = incarnation
        self._last = 0
        self._unplaced: deque[int] = deque()
        self._placed: deque[tuple[int, int]] = deque()
        """(ticket, the position to be applied first)"""
        self._asked = 0
        self._leader = NOBODY
        self._retry = Retry(0.0)

    def __len__(self) -> int:
        return len(self._unplaced) + len(self._placed)

    def open(self) -> int:
        self._last += 1
        self._unplaced.append(self._last)
        return self._last

    def abandon(self, ticket: int) -> None:
        """This ticket is no longer awaited."""
        if ticket in self._unplaced:
            self._unplaced.remove(ticket)
        self._placed = deque(pair for pair in self._placed if pair[0] != ticket)

    def outgoing(self, leader: Leadership, now: float, retry_s: float) -> tuple[int, int] | None:
        """The ticket to send to the leader, if a request is due: one answer serves every older ticket too. What waits
        long for its position is asked again like what has none: the log may never get to where a leader said."""
        if leader == NOBODY or not len(self):
            return None
        newest = self._unplaced[-1] if self._unplaced else self._placed[-1][0]
        if newest > self._asked or leader != self._leader:
            self._retry.reset(now)
        elif not self._retry.due(now, retry_s):
            return None
        self._asked, self._leader = newest, leader
        return self._incarnation, newest

    def lost(self) -> None:
        """What was asked last is."""
        self._asked = 0

    def asked(self, node: int) -> bool:
        """True if it is this leader whose answer is awaited."""
        return node == self._leader[1]

    def placed(self, ticket: tuple[int, int], position: int) -> None:
        """The leader's answer. It was requested after every ticket up to this one was opened, so it covers all, and
        of two answers each is enough; one to an earlier incarnation of this node is late, and may be older than what
        was acknowledged since."""
        incarnation, number = ticket
        if incarnation != self._incarnation:
            return
        self._placed = deque((one, min(position, was) if one <= number else was) for one, was in self._placed)
        while self._unplaced and self._unplaced[0] <= number:
            self._placed.append((self._unplaced.popleft(), position))

    def ready(self, applied: int) -> list[int]:
        """Tickets that the applied state can now answer."""
        if not self._placed:
            return []
        ready = [ticket for ticket, position in self._placed if position <= applied]
        if ready:
            self._placed = deque(pair for pair in self._placed if pair[1] > applied)
        return ready


class ReadIndex:
    """The leader's side: requests queue up while one round of confirmations runs; the next round serves them."""

    def __init__(self, quorum: int) -> None:
        self.count = 0
        """Of the rounds begun."""
        self.running = False
        self.retry = Retry(0.0)
        self._quorum = quorum
        self._waiting: dict[int, tuple[int, int]] = {}
        self._serving: dict[int, tuple[int, int]] = {}
        self._position = 0
        self._voters: set[int] = set()

    def ask(self, sender: int, ticket: tuple[int, int]) -> None:
        self._waiting[sender] = max(ticket, self._waiting.get(sender, ticket))

    def start(self, position: int, now: float) -> bool:
        """Starts a round if requests are waiting and none is running. `position` covers everything acknowledged by now:
        it must be determined no earlier than this call."""
        if self.running or not self._waiting:
            return False
        self._serving, self._waiting = self._waiting, {}
        self._position = position
        self._voters = set()
        self.count += 1
        self.running = True
        self.retry.reset(now)
        return True

    def confirmed(self, sender: int, message: Confirmed) -> list[tuple[int, tuple[int, int], int]]:
        """Counts one confirmation; with a quorum, the (node, ticket, position) to be answered."""
        if not self.running or message.count != self.count:
            return []
        self._voters.add(sender)
        if len(self._voters) < self._quorum:
            return []
        self.running = False
        return [(node, ticket, self._position) for node, ticket in self._serving.items()]
