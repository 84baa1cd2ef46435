"""Getting level again: a node that is behind asks for what is decided, piece by piece.

The one who is behind does the asking and the repeating. Pieces are bounded, and the next one is only asked for when the
last has come, so that nothing urgent ever waits behind more than one of them.
"""

from __future__ import annotations

from random import Random

from paxos.connectivity import Connectivity
from paxos.limits import Limits, Timing
from paxos.log import Log
from paxos.messages import Fetch, Learn, Snapshot, SnapshotPiece
from paxos.retry import Retry

PATIENCE = 8
"""In the middle of a snapshot its source is asked so often in vain before another is tried from the beginning."""
SNAPSHOT_ROUND_TRIPS = 10.0


class CatchUp:
    """The side that is behind. At most one request is under way; only progress, or patience at its end, lets the next
    one go: an answer that comes twice must not ask twice."""

    def __init__(self, connectivity: Connectivity, timing: Timing, random: Random, now: float) -> None:
        self._net = connectivity
        self._timing = timing
        self._random = random
        self._retry = Retry(now)
        self._decided = 0
        self._since = now
        """When the watermark moved last, or this node was level."""
        self._front = 0
        self._source: int | None = None
        self._silent = 0
        """How often the source was asked in vain."""
        self._waiting = False
        self._eager = False
        self._pieces: list[SnapshotPiece] = []

    def heard_of(self, decided: int) -> None:
        """Somebody knows decisions up to here."""
        self._front = max(self._front, decided)

    def hurry(self, source: int) -> None:
        """`source` refused this node's candidacy because it is behind: don't wait for it to fix itself. Whoever is
        asked already is kept: half a snapshot is of no use to another."""
        if not self._waiting and not self._pieces:
            self._source, self._silent = source, 0
        self._eager = True

    def request(self, decided: int, now: float) -> tuple[int, Fetch] | None:
        """Whom to ask for what, if it's time to ask."""
        net = self._net
        front = max([self._front, *(net.rows[node].decided for node in net.fresh if node in net.rows)])
        if decided > self._decided or decided >= front:
            self._decided, self._since = decided, now
        if decided >= front:
            self._waiting = self._eager = False
            self._pieces = []
            return None
        if self._waiting:
            if not self._retry.due(now, max(self._timing.retry_s, 2 * net.round_trip())):
                return None
            self._silent += 1
        elif not self._eager and now - self._since < net.round_trip() + 2 * self._timing.tick_s:
            # The message that brings the missing decision is probably on its way.
            return None
        else:
            self._retry.reset(now)
        if self._pieces and self._pieces[0].position <= decided:
            self._pieces = []
        self._source = self._choose(decided)
        self._waiting = self._source is not None
        if self._source is None:
            return None
        if self._pieces:
            return self._source, Fetch(decided + 1, self._pieces[0].position, len(self._pieces))
        return self._source, Fetch(decided + 1, 0, 0)

    def _choose(self, decided: int) -> int | None:
        """Keeps to its source: another one has another snapshot, and all that came of this one would be in vain."""
        net = self._net
        ahead = [node for node in net.peers if node in net.fresh and node in net.rows
                 and (net.rows[node].decided > decided or node == self._source) and net.next_hop(node) is not None]
        if self._source in ahead and self._silent <= (PATIENCE if self._pieces else 0):
            return self._source
        near = [node for node in ahead if net.linked(net.pid, node) and node != self._source]
        self._silent = 0
        self._pieces = []
        return self._random.choice(near or ahead) if ahead else None

    def progressed(self) -> None:
        """What was asked for came: ask for the next at once, until level."""
        self._waiting = False
        self._eager = True
        self._silent = 0

    def piece(self, message: SnapshotPiece, decided: int) -> Snapshot | None:
        """Takes one piece in order; returns the snapshot when it's whole. The first piece of another snapshot starts
        anew; any other stray piece is late or doubled, and means nothing."""
        if message.position <= decided:
            return None
        if message.piece == 0 and (not self._pieces or self._pieces[0].position != message.position):
            self._pieces = []
        elif not self._pieces or message.position != self._pieces[0].position or message.piece != len(self._pieces):
            return None
        self._pieces.append(message)
        self.progressed()
        if len(self._pieces) < message.pieces:
            return None
        rows = [row for piece in self._pieces for row in piece.rows]
        self._pieces = []
        return Snapshot(message.position, message.sessions, rows)


class SnapshotSource:
    """The side that is ahead: answers from the log, or from a snapshot that the host has loaded."""

    def __init__(self, limits: Limits, now: float) -> None:
        self._limits = limits
        self._pieces: list[SnapshotPiece] = []
        self._asked = now
        self._waiting: dict[int, Fetch] = {}

    @property
    def position(self) -> int | None:
        """The position of the snapshot that is being handed out, if one is: the log behind it must be kept."""
        return self._pieces[0].position if self._pieces else None

    def answer(self, sender: int, fetch: Fetch, log: Log, now: float) -> Learn | SnapshotPiece | None:
        """The answer to a Fetch; None if the snapshot must be loaded first (see `needs_snapshot`) or nothing helps."""
        if fetch.start > log.decided:
            return None
        if fetch.start > log.compacted and not fetch.snapshot:
            operations = log.decided_from(fetch.start, self._limits.learn_operations, self._limits.piece_bytes)
            return Learn(fetch.start, operations, log.decided)
        self._asked = now
        if self.position is not None and self.position < log.compacted:
            self._pieces = []
        if not self._pieces:
            self._waiting[sender] = fetch
            return None
        known = fetch.snapshot == self.position and 0 <= fetch.piece < len(self._pieces)
        return self._pieces[fetch.piece if known else 0]

    @property
    def needs_snapshot(self) -> bool:
        return bool(self._waiting) and not self._pieces

    def load(self, snapshot: Snapshot) -> dict[int, Fetch]:
        """Takes a stored snapshot to hand out; returns the requests that waited for it."""
        groups: list[list[tuple[bytes, bytes]]] = [[]]
        room = self._limits.piece_bytes
        for row in snapshot.rows:
            if room <= 0:
                groups.append([])
                room = self._limits.piece_bytes
            groups[-1].append(row)
            room -= len(row[0]) + len(row[1])
        self._pieces = [
            SnapshotPiece(snapshot.position, number, len(groups), snapshot.sessions, rows)
            for number, rows in enumerate(groups)
        ]
        waiting, self._waiting = self._waiting, {}
        return waiting

    def expire(self, now: float, round_trip_s: float) -> None:
        """Forgets a snapshot that nobody has asked for in a while."""
        if now - self._asked > max(self._limits.snapshot_idle_s, SNAPSHOT_ROUND_TRIPS * round_trip_s):
            self._pieces = []
            self._waiting = {}
