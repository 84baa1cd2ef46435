"""The learner: hands on what is decided, in order, each operation once.

All that is here follows from the decided log alone, except for the tickets of this node's own users.
"""

from __future__ import annotations

from random import Random

from paxos.log import Log
from paxos.messages import Snapshot
from paxos.output import Applied, Durable, Output
from paxos.queue import OperationQueue
from paxos.sessions import Sessions

NAME_BITS = 30
"""Of the random part of a life's name that follows another one's: so that no two lives take the same."""


class Learner:
    def __init__(self, pid: int, log: Log, durable: Durable, queue: OperationQueue, random: Random) -> None:
        self._pid = pid
        self._log = log
        self._queue = queue
        self._random = random
        self.applied = durable.snapshot_position
        """Everything up to here has been handed on, or is contained in a snapshot that was."""
        self.sessions = Sessions(durable.sessions)

    def advance(self, out: Output, now: float) -> None:
        """Puts what has become decided into `out`."""
        while self.applied < self._log.decided:
            self.applied += 1
            entry = self._log.get(self.applied)
            assert entry is not None, "every position from compacted to decided is held"
            operation = entry.operation
            if operation.is_noop or not self.sessions.admit(operation):
                continue
            ticket = 0
            if operation.pid == self._pid:
                tickets = self._queue.done(operation.incarnation, operation.number, now)
                ticket = tickets[-1] if tickets else 0
            out.apply.append(Applied(self.applied, operation, ticket))
        self._check_life(out)

    def install(self, snapshot: Snapshot, out: Output, now: float) -> None:
        """Jumps to a snapshot ahead of what was applied. What `out` was about to apply is contained in it."""
        self._log.jump(snapshot.position)
        self.applied = snapshot.position
        self.sessions = Sessions(snapshot.sessions)
        persist = out.to_persist()
        persist.snapshot = snapshot
        persist.entries = [entry for entry in persist.entries if entry.position > snapshot.position]
        out.install = snapshot
        out.outcome_unknown += [applied.ticket for applied in out.apply if applied.ticket]
        incarnation, number = self.sessions.last(self._pid)
        out.outcome_unknown += self._queue.done(incarnation, number, now)
        if incarnation > self._queue.incarnation:
            # Sent under an older name: whether it was applied before the later life's operations can't be told.
            out.outcome_unknown += self._queue.give_up()
        out.apply = []
        self.advance(out, now)

    def _check_life(self, out: Output) -> None:
        incarnation, _ = self.sessions.last(self._pid)
        if incarnation > self._queue.incarnation:
            # Further on in the log there may be a life that was here before, too, and whose name was lost with a disk.
            self._queue.reborn(incarnation + 1 + self._random.getrandbits(NAME_BITS))
            out.to_persist().incarnation = self._queue.incarnation


