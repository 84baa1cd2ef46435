"""The store, and where it is in the order of operations: by revision, and within a batch by number.

The position of an operation is how many were applied up to it, so it is the same on every node, and as dense as in the
log of the embedded engine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from engine.etcd.keys import Batch
from engine.etcd.snapshots import Manifest, Row, Segment, Taken
from engine.interface import OperationId
from kvstore.store import Outcome, Store
from paxos.messages import Operation
from paxos.sessions import Sessions


class Diverged(Exception):
    """This node's conversations are not those of the others."""


class Applied(NamedTuple):
    position: int
    id: OperationId
    outcome: Outcome


class Machine:
    def __init__(self) -> None:
        self.store = Store()
        self.position = 0
        self.revision = -1
        """Everything up to this one is applied; -1: nothing, not even the snapshot."""
        self.applied_bytes = 0
        """Since the last snapshot that this node has seen."""
        self.snapshot_position = 0
        self._sessions = Sessions()
        self._last_keys: dict[int, bytes] = {}

    def last(self, pid: int) -> tuple[int, int]:
        """(incarnation, number) of the last operation of that node."""
        return self._sessions.last(pid)

    def apply(
        self, key: bytes, revision: int, batch: Batch, before: Callable[[int], None] = lambda position: None,
    ) -> Iterator[Applied]:
        """To be exhausted. `before` is called with each position before the operation there is applied. Each operation
        counts once, and after those before it, whatever was put: what puts them sees to that, too
        (engine/etcd/sender.py), but a node does not depend on it. Raises UnknownOperation."""
        self._last_keys[batch.pid] = max(key, self._last_keys.get(batch.pid, b""))
        for number, payload in enumerate(batch.payloads, batch.first):
            if self._sessions.admit(Operation(batch.pid, batch.incarnation, number, payload)):
                before(self.position + 1)
                self.position += 1
                self.applied_bytes += len(payload)
                outcome = self.store.apply(self.position, payload)
                yield Applied(self.position, OperationId(batch.pid, batch.incarnation, number), outcome)
        self.revision = revision

    def install(self, manifest: Manifest, rows: list[tuple[bytes, bytes]]) -> None:
        """Raises ValueError, and Diverged if these are not the rows that were stored."""
        self.store.load(rows)
        if self.store.digest() != manifest.digest:
            raise Diverged(
                "the snapshot in etcd is damaged: its rows do not have its digest. Restore a backup below another "
                "prefix"
            )
        self.position = self.snapshot_position = manifest.position
        self.revision = manifest.revision
        self.applied_bytes = 0
        self._sessions = Sessions(manifest.sessions)
        self._last_keys = {}

    def known(self, manifest: Manifest) -> None:
        """Another node has stored this."""
        if manifest.position > self.snapshot_position:
            self.snapshot_position = manifest.position
            self.applied_bytes = 0

    def take(self, segments: list[Segment] | None) -> Taken:
        """A snapshot of now: what has changed since the last one, which has these segments; everything, if None."""
        changed: list[Row] = [*self.store.changed()]
        rows: list[Row] = changed if segments is not None else [*self.store.snapshot()]
        self.applied_bytes, self.snapshot_position = 0, self.position
        return Taken(
            self.position, self.revision, self._sessions.table(), self.store.digest(), rows, dict(self._last_keys),
            segments or [],
        )
