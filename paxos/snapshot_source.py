"""The other side of catching up: answers a Fetch from the log, or from a snapshot that the driver has loaded."""

from __future__ import annotations

from paxos.effects import Effects
from paxos.limits import Limits
from paxos.log import Log
from paxos.messages import Fetch, Learn, Snapshot, SnapshotPiece
from paxos.routing import Router

SNAPSHOT_ROUND_TRIPS = 10.0


class SnapshotSource:
    def __init__(self, log: Log, router: Router, limits: Limits, effects: Effects, now: float) -> None:
        self._log = log
        self._router = router
        self._limits = limits
        self._effects = effects
        self._pieces: list[SnapshotPiece] = []
        self._asked = now
        self._waiting: dict[int, Fetch] = {}
        self._loading = False

    @property
    def position(self) -> int | None:
        """The position of the snapshot being sent, if any: the log after it must be kept."""
        return self._pieces[0].position if self._pieces else None

    def fetch(self, sender: int, message: Fetch, now: float) -> None:
        """Answers now, or when the stored snapshot is loaded, or not at all if nothing here helps."""
        log = self._log
        if message.start > log.decided_upto:
            return
        if message.start > log.compacted and not message.snapshot:
            operations = log.decided_from(message.start, self._limits.learn_operations, self._limits.piece_bytes)
            self._router.send(sender, Learn(message.start, operations, log.decided_upto))
            return
        self._asked = now
        if self.position is not None and self.position < log.compacted:
            self._pieces = []
        if not self._pieces:
            self._waiting[sender] = message
            self._load()
            return
        known = message.snapshot == self.position and 0 <= message.piece < len(self._pieces)
        self._router.send(sender, self._pieces[message.piece if known else 0])

    def _load(self) -> None:
        if not self._loading:
            self._loading = True
            self._effects.load_snapshot()

    def loaded(self, snapshot: Snapshot, now: float) -> None:
        """Takes the stored snapshot, and answers the requests that waited for it."""
        self._loading = False
        groups: list[list[tuple[bytes, bytes]]] = [[]]
        size = 0
        for row in snapshot.rows:
            if size >= self._limits.piece_bytes:
                groups.append([])
                size = 0
            groups[-1].append(row)
            size += len(row[0]) + len(row[1])
        self._pieces = [
            SnapshotPiece(snapshot.position, number, len(groups), snapshot.sessions, rows, snapshot.configuration)
            for number, rows in enumerate(groups)
        ]
        waiting, self._waiting = self._waiting, {}
        for sender, message in waiting.items():
            self.fetch(sender, message, now)

    def expire(self, now: float, round_trip_s: float) -> None:
        """Drops a snapshot that has not been requested for a while."""
        if now - self._asked > max(self._limits.snapshot_idle_s, SNAPSHOT_ROUND_TRIPS * round_trip_s):
            self._pieces = []
            self._waiting = {}
