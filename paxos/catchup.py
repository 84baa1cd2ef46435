"""Catching up: a node that is behind asks another for what is decided, piece by piece (see also snapshot_source.py).

The node that is behind does the asking and the repeating. Each piece that arrives is acknowledged by asking for what
comes after it; the source sends as many pieces ahead as the link takes (see pace.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from paxos.connectivity import Connectivity
from paxos.learner import Learner
from paxos.limits import Timing
from paxos.log import Log
from paxos.messages import Fetch, Operation, Row, Snapshot, SnapshotPiece
from paxos.retry import Retry
from paxos.routing import Router

PATIENCE = 8
"""In the middle of a snapshot, requests to its source may fail this often before another source is tried afresh."""
FIRST_S = 1.0
"""A first piece may take so long, before anything was measured."""
PATIENT_GAPS = 3.0
GAP_DECAY = 1 / 8
MOST_EARLY = 32
MOST_EARLY_BYTES = 8 * 1024 * 1024
"""Pieces of the log that overtook others are kept up to this number and size."""
MOST_PIECES_EARLY = 64
"""So far ahead a piece of a snapshot may be: no source sends more than Limits.pieces ahead."""


class CatchUp:
    """At most one request is unanswered; only progress, or patience at its end, lets the next one go: an answer that
    comes twice must not ask twice."""

    def __init__(
        self, net: Connectivity, log: Log, learner: Learner, router: Router, readable: Callable[[Sequence[Row]], bool],
        timing: Timing, random: Random, now: float,
    ) -> None:
        self._net = net
        self._log = log
        self._learner = learner
        self._router = router
        self._readable = readable
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
        self._asked = now
        self._gap = FIRST_S / PATIENT_GAPS
        """Seconds that a piece usually takes: on a thin link much longer than a round trip."""
        self._eager = False
        self._stream = 0
        self._broken = True
        """The next request begins a stream: nothing of the last one is on its way any more."""
        self.cluster = 0
        """That of whoever sent what is being taken in."""
        self._kept_of = 0
        """The cluster from which all is that is kept in the next two."""
        self._early: dict[int, tuple[Sequence[Operation], int]] = {}
        """Pieces of the log that overtook others, by their first position, and their sizes."""
        self._pieces: dict[int, SnapshotPiece] = {}
        """Of one snapshot, by number; all before `_next_piece` are there."""
        self._next_piece = 0

    @property
    def is_behind(self) -> bool:
        return self._log.decided_upto < max(self._front, self._net.front())

    @property
    def snapshot_of(self) -> int:
        """The cluster from which it is taking a snapshot, piece by piece; 0 if from none."""
        return self._kept_of if self._pieces else 0

    def heard_of(self, upto: int) -> None:
        """Some node knows decisions up to here."""
        self._front = max(self._front, upto)

    def asked(self, node: int) -> bool:
        """True if it is this node that was asked last: what is decided is believed from nobody else."""
        return node == self._source

    def keep_only(self, cluster: int) -> None:
        """Forgets what it keeps of another cluster: it must not be mixed with what comes of this one, even if it came
        from the same node, in whose place there may be another disk."""
        if cluster != self._kept_of:
            self._kept_of = cluster
            self._early = {}
            self._drop_pieces()

    def hurry(self, source: int) -> None:
        """`source` refused this node's candidacy because it is behind: don't wait for that to change by itself. A
        source that is being already in use is kept: half a snapshot cannot be continued elsewhere."""
        if not self._waiting and not self._pieces:
            self._change_source(source)
        self._eager = True

    def learn(self, start: int, operations: Sequence[Operation], now: float) -> None:
        """Takes operations from `start` on that are decided for sure."""
        if self._learner.learn(start, operations, now):
            self._progressed(now)

    def take_lesson(self, start: int, operations: Sequence[Operation], now: float) -> None:
        """The same, from the source; what has overtaken others waits for them."""
        self.keep_only(self.cluster)
        if start > self._log.decided_upto + 1:
            self._keep_early(start, operations)
            return
        self.learn(start, operations, now)
        while early := [first for first in self._early if first <= self._log.decided_upto + 1]:
            for first in sorted(early):
                self._learner.learn(first, self._early.pop(first)[0], now)

    def _keep_early(self, start: int, operations: Sequence[Operation]) -> None:
        size = sum([len(operation.payload) for operation in operations])
        if len(self._early) < MOST_EARLY and size + sum(held for _, held in self._early.values()) <= MOST_EARLY_BYTES:
            self._early[start] = operations, size

    def _progressed(self, now: float) -> None:
        """What was asked for came: the next is asked for at once, until nothing is missing."""
        if self._waiting:
            gap = now - self._asked
            self._gap = max(gap, self._gap + (gap - self._gap) * GAP_DECAY)
        self._waiting = False
        self._eager = True
        self._unanswered = 0

    def take_piece(self, piece: SnapshotPiece, now: float) -> bool:
        """Takes the pieces of a snapshot, and installs it when it is whole. The first piece of another one starts over;
        any other stray piece is late or duplicated, and is ignored. False if the state machine cannot read what has
        come: it is not taken, and another source is asked."""
        if piece.position <= self._log.decided_upto:
            return True
        self.keep_only(self.cluster)
        if piece.piece == 0 and (not self._pieces or self._pieces[0].position != piece.position):
            self._drop_pieces()
        elif not self._pieces or piece.position != self._pieces[0].position:
            return True
        pieces = self._pieces[0].pieces if self._pieces else piece.pieces
        upto = min(max(pieces, 1), self._next_piece + MOST_PIECES_EARLY)
        if piece.piece in self._pieces or not 0 <= piece.piece < upto:
            return True
        self._pieces[piece.piece] = piece
        if piece.piece == self._next_piece:
            while self._next_piece in self._pieces:
                self._next_piece += 1
            self._progressed(now)
        if self._next_piece >= pieces:
            rows = [row for number in range(self._next_piece) for row in self._pieces[number].rows]
            self._drop_pieces()
            if not self._readable(rows):
                self._change_source(None)
                return False
            self._learner.install(Snapshot(piece.position, piece.sessions, rows, piece.configuration), now)
        return True

    def _drop_pieces(self) -> None:
        self._pieces = {}
        self._next_piece = 0

    def request(self, now: float) -> None:
        """Asks for what is missing, if it's time to."""
        if not self._is_time(now):
            return
        missing = self._log.decided_upto + 1
        if self._pieces and self._pieces[0].position < missing:
            self._drop_pieces()
        source = self._choose()
        self._waiting = source is not None
        self._asked = now
        if source is None:
            self._front = self._log.decided_upto  # Who said that there was more is not there any more.
            return
        if self._broken:
            self._broken = False
            self._stream += 1
        snapshot = self._pieces[0].position if self._pieces else 0
        self._router.send(source, Fetch(missing, snapshot, self._next_piece, self._stream))

    def _is_time(self, now: float) -> bool:
        net, decided_upto = self._net, self._log.decided_upto
        front = max(self._front, net.front())
        if decided_upto > self._decided_upto or decided_upto >= front:
            self._decided_upto, self._since = decided_upto, now
        if decided_upto >= front:
            self._waiting = self._eager = False
            self._broken = True
            if self._pieces or self._early:
                self._early = {}
                self._drop_pieces()
            return False
        if self._waiting:
            late = self._retry.due(now, max(self._timing.retry_s, 2 * net.round_trip()) + PATIENT_GAPS * self._gap)
            if late:
                self._unanswered += 1
                self._broken = True
            return late
        if not self._eager and now - self._since < net.round_trip() + 2 * self._timing.tick_s:
            # The message with the missing decision is probably on its way.
            return False
        if not self._pieces and self._is_coming(decided_upto + 1, now):
            return False
        self._retry.reset(now)
        return True

    def _is_coming(self, missing: int, now: float) -> bool:
        """A leader says that it is sending what is missing here, or the word that what is held here is decided: if that
        was asked for as well, it would come twice."""
        held = self._log.get(missing)
        for leadership, first in self._net.underway(now):
            accepted = held is not None and held.leadership == leadership
            if accepted if first is None else first <= (self._log.last + 1 if accepted else missing):
                return True
        return False

    def _choose(self) -> int | None:
        """Keeps the same source: another has a different snapshot, and the pieces received so far would be wasted. As
        long as it answers it need not be heard otherwise: on a thin link a piece may hold up its heartbeats."""
        if not self._broken:
            return self._source
        net, decided_upto = self._net, self._log.decided_upto
        ahead = [node for node in net.peers if node in net.fresh and node in net.states
                 and (net.states[node].decided_upto > decided_upto or node == self._source)
                 and net.next_hop(node) is not None]
        if self._source in ahead and self._unanswered <= (PATIENCE if self._pieces else 0):
            return self._source
        near = [node for node in ahead if net.linked(net.pid, node) and node != self._source]
        self._change_source(self._random.choice(near or ahead) if ahead else None)
        self._drop_pieces()
        return self._source

    def _change_source(self, source: int | None) -> None:
        if source != self._source:
            self._early = {}
        self._source, self._unanswered = source, 0
        self._broken = True
