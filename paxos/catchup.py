"""Getting level again: a node that is behind asks for what is decided, piece by piece.

The one who is behind does the asking and the repeating; who answers keeps no record of it. Pieces are bounded, and the
next one is only sent when asked for, so that nothing urgent ever waits behind more than one of them.
"""

from __future__ import annotations

from random import Random

from paxos.connectivity import Connectivity
from paxos.limits import Limits, Timing
from paxos.log import Log
from paxos.messages import Fetch, Learn, Snapshot, SnapshotPiece
from paxos.retry import Retry


class Fetcher:
    """The side that is behind."""

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
        self._waiting = False
        self._eager = False
        self._pieces: list[SnapshotPiece] = []

    def heard_of(self, decided: int) -> None:
        """Somebody knows decisions up to here."""
        self._front = max(self._front, decided)

    def hurry(self, source: int) -> None:
        """`source` refused this node's candidacy because it is behind: don't wait for it to fix itself."""
        self._source = source
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
        wait = max(self._timing.retry_s, 2 * net.round_trip())
        if self._waiting:
            if not self._retry.due(now, wait):
                return None
            self._source = None
        elif not self._eager and now - self._since < net.round_trip() + 2 * self._timing.tick_s:
            # The message that brings the missing decision is probably on its way.
            return None
        if not self._waiting:
            self._retry.reset(now)
        source = self._choose(decided)
        if source is None:
            return None
        self._source, self._waiting = source, True
        if self._pieces and self._pieces[0].position > decided:
            return source, Fetch(decided + 1, self._pieces[0].position, len(self._pieces))
        return source, Fetch(decided + 1, 0, 0)

    def _choose(self, decided: int) -> int | None:
        net = self._net
        ahead = [node for node in net.peers if node in net.fresh and node in net.rows
                 and (net.rows[node].decided > decided or node == self._source) and net.next_hop(node) is not None]
        if not ahead:
            return None
        if self._source in ahead:
            return self._source
        near = [node for node in ahead if net.linked(net.pid, node)]
        return self._random.choice(near or ahead)

    def answered(self) -> None:
        """Something came: go on asking, at once, until level."""
        self._waiting = False
        self._eager = True

    def piece(self, message: SnapshotPiece) -> Snapshot | None:
        """Takes one piece in order; returns the snapshot when it's whole. A piece of another snapshot starts anew."""
        self.answered()
        if self._pieces and self._pieces[0].position != message.position:
            self._pieces = []
        if message.piece != len(self._pieces):
            return None
        self._pieces.append(message)
        if len(self._pieces) < message.pieces:
            return None
        rows = [row for piece in self._pieces for row in piece.rows]
        self._pieces = []
        return Snapshot(message.position, message.sessions, rows)


class Shelf:
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
        if fetch.start > log.released and not fetch.snapshot:
            operations = log.decided_from(fetch.start, self._limits.learn_operations, self._limits.piece_bytes)
            return Learn(fetch.start, operations, log.decided)
        self._asked = now
        if self.position is not None and self.position < log.released:
            self._pieces = []
        if not self._pieces:
            self._waiting[sender] = fetch
            return None
        known = fetch.snapshot == self.position and fetch.piece < len(self._pieces)
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

    def expire(self, now: float) -> None:
        """Forgets a snapshot that nobody has asked for in a while."""
        if now - self._asked > self._limits.snapshot_idle_s:
            self._pieces = []
            self._waiting = {}
