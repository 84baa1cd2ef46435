"""A disk for simulations: what `write` gets is durable at once, and nothing else is. A simulator that wants to lose
writes at a crash keeps them to itself until it lets them reach the disk."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from paxos.messages import Configuration, Entry, Snapshot
from paxos.output import Durable
from storage.records import Compaction, Record


class MemoryDatabase:
    """Keeps the contract of `storage.database.Database`, without a file."""

    def __init__(self, identity: int) -> None:
        self._image = Durable(identity, 0)
        self._entries: dict[int, Entry] = {}
        self._rows: dict[bytes, bytes] = {}

    def write(self, batch: Sequence[Record]) -> None:
        image = self._image
        for record in batch:
            if isinstance(record, Compaction):
                self._take_snapshot(record.position, record.sessions, record.configuration)
                for key, value in record.rows:
                    if value is None:
                        self._rows.pop(key, None)
                    else:
                        self._rows[key] = value
                continue
            kept = (entry for entry in record.entries if entry.position > image.compacted)
            self._entries.update((entry.position, entry) for entry in kept)
            for name in ("promised", "decided", "roster", "voter_status", "incarnation", "identity",
                         "stamp", "joins", "remembered", "operations_versions"):
                value = getattr(record, name)
                if value is not None:
                    setattr(image, name, value)
            compacted = record.compacted or 0
            if record.snapshot is not None:
                snapshot = record.snapshot
                self._take_snapshot(snapshot.position, snapshot.sessions, snapshot.configuration)
                self._rows = dict(record.snapshot.rows)
                compacted = max(compacted, record.snapshot.position)
            if compacted > image.compacted:
                image.compacted = compacted
                self._entries = {position: entry for position, entry in self._entries.items() if position > compacted}

    def reopen(self, now_us: int) -> Durable:
        """What the next process of the node finds. `now_us` as in `Database.open`."""
        image = self._image
        used, stamp = image.incarnation > 0, max(image.stamp, (image.incarnation, 0))
        image.incarnation = max(image.incarnation + 1, now_us)
        entries = [self._entries[position] for position in sorted(self._entries)]
        decided = max(image.decided, image.snapshot_position)
        return msgspec.structs.replace(
            image, entries=entries, decided=decided, sessions=dict(image.sessions), roster=dict(image.roster),
            remembered=dict(image.remembered), reopened=used, stamp=stamp,
        )

    def rows(self) -> list[tuple[bytes, bytes]]:
        return sorted(self._rows.items())

    def load_snapshot(self) -> Snapshot:
        image = self._image
        return Snapshot(image.snapshot_position, dict(image.sessions), self.rows(), image.configuration)

    def _take_snapshot(
        self, position: int, sessions: dict[int, tuple[int, int]], configuration: Configuration | None
    ) -> None:
        self._image.snapshot_position = position
        self._image.configuration = configuration
        self._image.sessions = dict(sessions)
