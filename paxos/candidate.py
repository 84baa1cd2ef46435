"""Phase 1 of one leadership: a Candidate gathers promises, and what a quorum of them obliges the new leader to.

Promises are kept by sender, for one ballot: one that comes twice, late, or for another ballot cannot be counted.
(Lamport, *Paxos Made Simple*, sections 2.2 and 3; the scout of van Renesse and Altinbuken's *Paxos Made Moderately
Complex*.)
"""

from __future__ import annotations

from collections.abc import Iterable

from paxos.ballot import Ballot
from paxos.limits import Limits
from paxos.messages import NOOP, Entry, Operation, Promise
from paxos.retry import Retry


class Inheritance:
    """What a new leader must do after a quorum's promises: learn what is decided, propose again what may be."""

    def __init__(self, start: int, promises: Iterable[Promise]) -> None:
        promises = list(promises)
        best = max(promises, key=lambda promise: promise.decided_upto)
        self.start = start
        self.decided: list[Operation] = [e.operation for e in best.entries if e.position <= best.decided_upto]
        """Decided operations from `start` on, without gaps: a node that knows a decision holds all before it."""
        self.first_open = max(start, best.decided_upto + 1)
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

    def __init__(self, ballot: Ballot, quorum: int, limits: Limits, now: float) -> None:
        self.ballot = ballot
        self.promises: dict[int, Promise] = {}
        self.held: list[Operation] = []
        """Operations forwarded to this node, for when it leads."""
        self._held_bytes = 0
        self.retry = Retry(now)
        """Of its Prepare."""
        self._quorum = quorum
        self._limits = limits

    def offer(self, operations: Iterable[Operation]) -> None:
        """What does not fit is left out: its node sends it again until it is applied."""
        limits = self._limits
        for operation in operations:
            if len(self.held) >= limits.queue or self._held_bytes + len(operation.payload) > limits.queue_bytes:
                return
            self.held.append(operation)
            self._held_bytes += len(operation.payload)

    def restart(self, op_num: int) -> None:
        """Prepares again from a later position after catching up: earlier promises were for another position."""
        self.ballot = self.ballot.at(op_num)
        self.promises = {}

    def promised(self, sender: int, message: Promise) -> Inheritance | None:
        """Counts one promise; with a quorum, returns what the new leader inherits."""
        if message.ballot != self.ballot or not _shows_all_decided(message):
            return None
        if not self._is_sound(message):
            return None
        self.promises[sender] = message
        if len(self.promises) < self._quorum:
            return None
        return Inheritance(self.ballot.op_num, self.promises.values())

    def _is_sound(self, message: Promise) -> bool:
        """What an acceptor shows are different positions in order, those that it knows as decided without a gap, and
        none further ahead than it would store. It has accepted none of them under a higher leadership than it promises
        here. Anything else could not have been stored, and might not be bearable: gaps are filled."""
        start, upto, leadership = self.ballot.op_num, message.decided_upto, self.ballot.leadership
        expected = start
        for entry in message.entries:
            in_order = entry.position == expected if expected <= upto else entry.position >= expected
            if not in_order or entry.leadership > leadership:
                return False
            expected = entry.position + 1
        return expected <= max(upto + 1, start) + 2 * self._limits.horizon


def _shows_all_decided(message: Promise) -> bool:
    """A promise that knows decisions without including them would leave a gap in the reader's log."""
    start = message.ballot.op_num
    shown = sum(entry.position <= message.decided_upto for entry in message.entries)
    return shown >= message.decided_upto - start + 1
