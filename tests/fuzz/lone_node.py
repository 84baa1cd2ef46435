"""A node's driver and state machine, alone with what a target tells it: its disk is memory and always ready."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from random import Random

import msgspec

from engine.driver import Diverged, ReplicaDriver
from kvstore.payloads import UnknownOperation
from kvstore.store import Outcome, Store
from net.frames import MAX_PAYLOAD
from paxos.messages import AnyMessage, Snapshot
from paxos.output import Applied, Divergence, Persist
from paxos.replica import Status
from storage.errors import StorageError
from storage.memory import MemoryDatabase
from storage.records import Record
from storage.tables import LogRow, log_checksum
from tests.fuzz.recording import LIMITS, ME
from tests.simulation.world import SIM_TIMING

_DECLARED = (UnknownOperation, Diverged)
"""Why a node may stop: it would do harm."""
_MOST_SENT = 20_000


class LoneNode:
    """The driver's transport, disk and listener."""

    def __init__(self, database: MemoryDatabase, now: float = 0.0) -> None:
        self.now = now
        self.full = False
        self.sent: list[tuple[int, AnyMessage]] = []
        self.failure: Exception | None = None
        self._deferred: deque[Callable[[], None]] = deque()
        self._database = database
        store = Store()
        store.load(database.rows())
        found = database.reopen(1_000_000_000_000 + int(now * 1e6))
        durable = msgspec.structs.replace(found, reopened=False)  # as if the others had vouched for it: it votes
        self.driver = ReplicaDriver(
            ME, (1, 2, 3), durable, timing=SIM_TIMING, limits=LIMITS,
            random=Random(1), clock=lambda: self.now, transport=self, disk=self, machine=store, listener=self,
            defer=self._deferred.append,
        )
        self.driver.start()
        self.settle()

    def receive(self, sender: int, message: AnyMessage, cluster: int) -> None:
        self.driver.receive(sender, message, cluster)
        self.settle()

    def ticks(self, count: int, seconds: float) -> None:
        for _ in range(count):
            self.now += seconds
            self.driver.tick()
            self.settle()

    def settle(self) -> None:
        """Everything that follows from it; and what must hold whatever it was."""
        steps = 0
        while self._deferred:
            self._deferred.popleft()()
            steps += 1
            assert steps < 10_000, "it goes round in circles"
        if self.failure is not None and not isinstance(self.failure, _DECLARED):
            raise AssertionError("a message stopped the node") from self.failure
        assert len(self.sent) < _MOST_SENT
        log = self.driver.replica.log
        assert log.bytes <= 2 * (LIMITS.horizon_bytes + LIMITS.hold_bytes) and len(log) <= 4 * LIMITS.horizon

    # ---- Transport

    def send(self, to: int, message: AnyMessage) -> None:
        assert len(msgspec.msgpack.encode(message)) <= MAX_PAYLOAD
        self.sent.append((to, message))

    def flush(self) -> None:
        """It is gone already."""

    def on_odd(self, node: int, why: str) -> None:
        """What was odd is no secret."""
        assert why.isprintable()

    # ---- Disk

    def write(self, record: Record | None, done: Callable[[], None]) -> None:
        if record is not None:
            _encode(record)
            self._database.write([record])
        self._deferred.append(done)

    def load_snapshot(self, done: Callable[[Snapshot | StorageError], None]) -> None:
        snapshot = self._database.load_snapshot()
        self._deferred.append(lambda: done(snapshot))

    # ---- Listener

    def on_applied(self, applied: Applied, outcome: Outcome, live: bool) -> None:
        """Nobody waits for it."""

    def on_outcome_unknown(self, ticket: int) -> None:
        """Nobody waits for it."""

    def on_read_ready(self, ticket: int) -> None:
        """Nobody waits for it."""

    def on_installed(self, snapshot: Snapshot) -> None:
        """Nobody waits for it."""

    def on_status(self, status: Status) -> None:
        """Nobody looks."""

    def on_stranger(self, node: int, cluster: int) -> None:
        """Nobody looks."""

    def on_diverged(self, divergence: Divergence) -> None:
        """Nobody looks."""

    def on_failed(self, error: Exception) -> None:
        self.failure = error


def _encode(record: Record) -> None:
    """As storage/tables.py does, which a number that is too large would stop."""
    if isinstance(record, Persist) and record.entries:
        row = LogRow(record.entries, record.decided or 0, record.stamp or (0, 0))
        log_checksum(max(entry.position for entry in record.entries), msgspec.msgpack.encode(row))
    msgspec.json.encode(msgspec.structs.replace(record, **_without_bytes(record)))


def _without_bytes(record: Record) -> dict[str, Sequence[object] | None]:
    return {"entries": [], "snapshot": None} if isinstance(record, Persist) else {"rows": []}
