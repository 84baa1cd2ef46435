"""The other side of catching up: answers Fetches from the log, or from a snapshot that the driver has loaded.

Pieces are sent ahead of what was asked for, as many as the link takes. Who asks acknowledges each by asking for what
comes after it, so that nothing is sent twice within a stream.
"""

from __future__ import annotations

from collections import deque

from paxos.connectivity import Connectivity
from paxos.effects import Effects
from paxos.limits import Limits
from paxos.log import Log
from paxos.messages import Fetch, Learn, Snapshot, SnapshotPiece
from paxos.pace import Pace
from paxos.routing import Router

SNAPSHOT_ROUND_TRIPS = 10.0


class _Stream:
    """What is on its way to one node: positions of the log (`snapshot` is 0), or pieces of a snapshot."""

    def __init__(self, number: int, snapshot: int, first: int, most: int, pace: Pace) -> None:
        self.number = number
        self.snapshot = snapshot
        self.pace = pace
        self.next = first
        """What was not sent yet begins here."""
        self._flying: deque[tuple[int, int, float]] = deque()
        """Of each piece where the next one begins, its size, and when it was sent."""
        self._in_flight = 0
        self._most = most

    def acknowledged(self, upto: int, now: float) -> None:
        """Everything before `upto` has arrived."""
        while self._flying and self._flying[0][0] <= upto:
            _, size, sent = self._flying.popleft()
            self._in_flight -= size
            self.pace.answered(size, sent, now)
        self.next = max(self.next, upto)

    @property
    def idle(self) -> bool:
        return not self._flying

    def has_room(self, round_s: float) -> bool:
        return not self._flying or (len(self._flying) < self._most and self._in_flight < self.pace.window(round_s))

    def sent(self, upto: int, size: int, now: float) -> None:
        self._flying.append((upto, size, now))
        self._in_flight += size
        self.next = upto


class SnapshotSource:
    def __init__(
        self, net: Connectivity, log: Log, router: Router, limits: Limits, effects: Effects, now: float
    ) -> None:
        self._net = net
        self._log = log
        self._router = router
        self._limits = limits
        self._effects = effects
        self._pieces: list[SnapshotPiece] = []
        self._sizes: list[int] = []
        self._streams: dict[int, _Stream] = {}
        """To each node; what is known of a link's pace outlasts a stream."""
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
            self._send_log(sender, message, now)
            return
        self._asked = now
        if self.position is not None and self.position < log.compacted:
            self._pieces = []
        if not self._pieces:
            self._waiting[sender] = message
            self._load()
        else:
            self._send_snapshot(sender, message, now)

    def _send_log(self, sender: int, message: Fetch, now: float) -> None:
        log, limits = self._log, self._limits
        stream = self._stream(sender, message, 0, message.start, now)
        size = int(min(limits.piece_bytes, stream.pace.piece()))
        round_s = self._net.round_trip(sender)
        while stream.next <= log.decided_upto and stream.has_room(round_s):
            operations = log.decided_from(stream.next, limits.learn_operations, size)
            self._router.send(sender, Learn(stream.next, operations, log.decided_upto))
            upto = stream.next + len(operations)
            stream.sent(upto, sum([len(operation.payload) for operation in operations]), now)
            if not message.stream:
                break

    def _send_snapshot(self, sender: int, message: Fetch, now: float) -> None:
        """Only the first piece until it has arrived: who asks takes no other before that."""
        pieces = self._pieces
        position = pieces[0].position
        known = message.snapshot == position and 0 <= message.piece < len(pieces)
        stream = self._stream(sender, message, position, message.piece if known else 0, now)
        round_s = self._net.round_trip(sender)
        while stream.next < len(pieces) and stream.has_room(round_s) and (known or stream.idle):
            self._router.send(sender, pieces[stream.next])
            stream.sent(stream.next + 1, self._sizes[stream.next], now)
            if not message.stream:
                break

    def _stream(self, sender: int, message: Fetch, snapshot: int, first: int, now: float) -> _Stream:
        """The one that this request goes on with, or a new one."""
        stream = self._streams.get(sender)
        if (
            stream is None or not message.stream or stream.number != message.stream or stream.snapshot != snapshot
            or first > stream.next
        ):
            pace = stream.pace if stream is not None else Pace()
            stream = self._streams[sender] = _Stream(message.stream, snapshot, first, self._limits.pieces, pace)
        else:
            stream.acknowledged(first, now)
        return stream

    def _load(self) -> None:
        if not self._loading:
            self._loading = True
            self._effects.load_snapshot()

    def loaded(self, snapshot: Snapshot, now: float) -> None:
        """Takes the stored snapshot, and answers the requests that waited for it."""
        self._loading = False
        self._asked = now  # The time that a slow disk took is not theirs who wait.
        groups: list[list[tuple[bytes, bytes]]] = [[]]
        self._sizes = [0]
        for row in snapshot.rows:
            if self._sizes[-1] >= self._limits.piece_bytes:
                groups.append([])
                self._sizes.append(0)
            groups[-1].append(row)
            self._sizes[-1] += len(row[0]) + len(row[1])
        self._pieces = [
            SnapshotPiece(snapshot.position, number, len(groups), snapshot.sessions, rows, snapshot.configuration)
            for number, rows in enumerate(groups)
        ]
        waiting, self._waiting = self._waiting, {}
        for sender, message in waiting.items():
            self.fetch(sender, message, now)

    def expire(self, now: float, round_trip_s: float) -> None:
        """Drops a snapshot that has not been requested for a while."""
        idle = now - self._asked > max(self._limits.snapshot_idle_s, SNAPSHOT_ROUND_TRIPS * round_trip_s)
        if idle and not self._loading:
            self._pieces = []
            self._waiting = {}
