"""Catching up: a node that is behind asks another for what is decided, piece by piece (see also snapshot_source.py).

The node that is behind does the asking and the repeating. Pieces are bounded, and the next one is only asked for when
the previous one has arrived, so that nothing urgent ever waits behind more than one of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from paxos.connectivity import Connectivity
from paxos.learner import Learner
from paxos.limits import Timing
from paxos.log import Log
from paxos.messages import Fetch, Operation, Snapshot, SnapshotPiece
from paxos.retry import Retry
from paxos.routing import Router

PATIENCE = 8
"""In the middle of a snapshot, requests to its source may fail this often before another source is tried afresh."""


class CatchUp:
    """At most one request is under way; only progress, or patience at its end, lets the next one go: an answer that
    comes twice must not ask twice."""

    def __init__(
        self, net: Connectivity, log: Log, learner: Learner, router: Router, timing: Timing, random: Random, now: float
    ) -> None:
        self._net = net
        self._log = log
        self._learner = learner
        self._router = router
        self._timing = timing
        self._random = random
        self._retry = Retry(now)
        self._decided_upto = 0
        self._since = now
        """When the watermark moved last, or this node knew as much as anybody."""
        self._front = 0
        self._source: int | None = None
        self._unanswered = 0
        """How many requests to the source were not answered."""
        self._waiting = False
        self._eager = False
        self._pieces: list[SnapshotPiece] = []

    def heard_of(self, upto: int) -> None:
        """Some node knows decisions up to here."""
        self._front = max(self._front, upto)

    def hurry(self, source: int) -> None:
        """`source` refused this node's candidacy because it is behind: don't wait for that to change by itself. A
        source that is being already in use is kept: half a snapshot cannot be continued elsewhere."""
        if not self._waiting and not self._pieces:
            self._source, self._unanswered = source, 0
        self._eager = True

    def learn(self, start: int, operations: Sequence[Operation], now: float) -> None:
        """Takes operations from `start` on that are decided for sure."""
        if self._learner.learn(start, operations, now):
            self._progressed()

    def _progressed(self) -> None:
        """What was asked for came: the next is asked for at once, until nothing is missing."""
        self._waiting = False
        self._eager = True
        self._unanswered = 0

    def take_piece(self, piece: SnapshotPiece, now: float) -> None:
        """Takes the pieces of a snapshot in order, and installs it when it is whole. The first piece of another one
        starts over; any other stray piece is late or duplicated, and is ignored."""
        if piece.position <= self._log.decided_upto:
            return
        if piece.piece == 0 and (not self._pieces or self._pieces[0].position != piece.position):
            self._pieces = []
        elif not self._pieces or piece.position != self._pieces[0].position or piece.piece != len(self._pieces):
            return
        self._pieces.append(piece)
        self._progressed()
        if len(self._pieces) >= piece.pieces:
            rows = [row for each in self._pieces for row in each.rows]
            self._pieces = []
            self._learner.install(Snapshot(piece.position, piece.sessions, rows, piece.configuration), now)

    def request(self, now: float) -> None:
        """Asks for what is missing, if it's time to."""
        if not self._is_time(now):
            return
        missing = self._log.decided_upto + 1
        if self._pieces and self._pieces[0].position < missing:
            self._pieces = []
        source = self._source = self._choose()
        self._waiting = source is not None
        if source is not None:
            snapshot = self._pieces[0].position if self._pieces else 0
            self._router.send(source, Fetch(missing, snapshot, len(self._pieces)))

    def _is_time(self, now: float) -> bool:
        net, decided_upto = self._net, self._log.decided_upto
        front = max([self._front, *(net.states[node].decided_upto for node in net.fresh if node in net.states)])
        if decided_upto > self._decided_upto or decided_upto >= front:
            self._decided_upto, self._since = decided_upto, now
        if decided_upto >= front:
            self._waiting = self._eager = False
            self._pieces = []
            return False
        if self._waiting:
            late = self._retry.due(now, max(self._timing.retry_s, 2 * net.round_trip()))
            if late:
                self._unanswered += 1
            return late
        if not self._eager and now - self._since < net.round_trip() + 2 * self._timing.tick_s:
            # The message with the missing decision is probably on its way.
            return False
        self._retry.reset(now)
        return True

    def _choose(self) -> int | None:
        """Keeps the same source: another has a different snapshot, and the pieces received so far would be wasted."""
        net, decided_upto = self._net, self._log.decided_upto
        ahead = [node for node in net.peers if node in net.fresh and node in net.states
                 and (net.states[node].decided_upto > decided_upto or node == self._source)
                 and net.next_hop(node) is not None]
        if self._source in ahead and self._unanswered <= (PATIENCE if self._pieces else 0):
            return self._source
        near = [node for node in ahead if net.linked(net.pid, node) and node != self._source]
        self._unanswered = 0
        self._pieces = []
        return self._random.choice(near or ahead) if ahead else None
