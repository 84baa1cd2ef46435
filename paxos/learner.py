"""The learner: what is decided goes to the state machine, in order, each operation once.

Its state follows from the decided log alone, except for the tickets of this node's own users.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from paxos.ballot import Leadership
from paxos.configuration import following, is_stop_sign
from paxos.effects import Effects
from paxos.log import Log
from paxos.messages import Configuration, Operation, Snapshot, SnapshotPiece
from paxos.output import Applied, Durable
from paxos.queue import OperationQueue
from paxos.sessions import Sessions

INCARNATION_BITS = 30
"""Of the random part of an incarnation that follows a known one, so that no two of a node are ever the same."""


class Learner:
    def __init__(
        self, pid: int, log: Log, queue: OperationQueue, durable: Durable, random: Random, effects: Effects
    ) -> None:
        self._pid = pid
        self._log = log
        self._queue = queue
        self._random = random
        self._effects = effects
        self.applied = durable.snapshot_position
        """Everything up to here has been applied, or is contained in a snapshot that was installed."""
        self.sessions = Sessions(durable.sessions)
        self.configuration: Configuration | None = durable.configuration
        """The one that governs what comes behind `applied`; None before the cluster is founded."""

    def decide(self, leadership: Leadership, upto: int, now: float) -> None:
        """The leader of `leadership` knows everything up to `upto` as decided (see Log.decide)."""
        if self._log.decide(leadership, upto):
            self.advance(now)

    def learn(self, start: int, operations: Sequence[Operation], now: float) -> bool:
        """Takes operations from `start` on that are decided for sure; true if any was new. They go to the disk together
        with the watermark that covers them, which `Replica.take_output` adds (see Log.learn)."""
        entries = self._log.learn(start, operations)
        if entries:
            self._effects.to_persist().entries.extend(entries)
            self.advance(now)
        return bool(entries)

    def advance(self, now: float) -> None:
        """Applies what has become decided."""
        fresh: list[Applied] = []
        while self.applied < self._log.decided_upto:
            self.applied += 1
            entry = self._log.get(self.applied)
            assert entry is not None, "every position from compacted to decided_upto is held"
            operation = entry.operation
            if is_stop_sign(operation):
                self.configuration = following(self.configuration, operation, self.applied)
            if operation.is_noop or not self.sessions.admit(operation):
                continue
            ticket = 0
            if operation.pid == self._pid:
                tickets = self._queue.done(operation.incarnation, operation.number, now)
                ticket = tickets[-1] if tickets else 0
            fresh.append(Applied(self.applied, operation, ticket))
        self._effects.apply(fresh)
        self._outlive()

    def leads_on(self, piece: SnapshotPiece) -> bool:
        """True if a snapshot with this piece can be what comes of the log that is known here: in the same cluster, in
        the same or a later configuration, and without any operation undone."""
        own, named = self.configuration, piece.configuration
        if named is not None and (not named.members or 0 in named.members or named.since > piece.position + 1):
            return False
        if own is not None and (
            named is None or named.cluster != own.cluster or named.number < own.number
            or (named.number == own.number and named != own)
        ):
            return False
        return all(last <= piece.sessions.get(pid, (0, 0)) for pid, last in self.sessions.table().items())

    def install(self, snapshot: Snapshot, now: float) -> None:
        """Jumps to a snapshot ahead of what was applied."""
        self._log.jump(snapshot.position)
        self.applied = snapshot.position
        self.sessions = Sessions(snapshot.sessions)
        self.configuration = snapshot.configuration
        self._effects.install(snapshot)
        incarnation, number = self.sessions.last(self._pid)
        self._effects.outcome_unknown(self._queue.done(incarnation, number, now))
        if incarnation > self._queue.incarnation:
            # Whether what waits was applied before the operations of the later incarnation can't be told.
            self._effects.outcome_unknown(self._queue.give_up())
        self.advance(now)

    def _outlive(self) -> None:
        """The log knows a later incarnation of this node than its own (a lost disk and a clock set back): it takes one
        above that. Further on in the log there may be more that were lost with a disk, hence the random part."""
        incarnation, _ = self.sessions.last(self._pid)
        if incarnation > self._queue.incarnation:
            self._queue.restart(incarnation + 1 + self._random.getrandbits(INCARNATION_BITS))
            self._effects.to_persist().incarnation = self._queue.incarnation
