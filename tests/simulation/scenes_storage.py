"""Stories about damaged files. Nothing simulates those: these stories are told on real ones."""

from __future__ import annotations

import sqlite3
import tempfile
from pathlib import Path

from paxos.ballot import Ballot
from paxos.messages import Entry, Operation, Snapshot
from paxos.output import Persist, VoterStatus
from storage.database import Database
from storage.errors import StorageDamaged
from storage.founding import existing_disks, found
from tests.simulation.stage import OffStage
from tests.simulation.world import Violation

KEY, OTHER_KEY = b"\x31\x41\x59\x26", b"\x31\x41\x59\x27"
FRAME = 24 + 4096
"""Bytes of a page in the write-ahead log."""


class Unnoticed(Violation):
    """Damage to a disk that nobody was told of."""


class Forgotten(Violation):
    """Something that had to be kept is gone, or was made up."""


def changed_bytes() -> None:
    """One byte changes: in the promise, in an accepted operation, in a stored text, in a key, or in the index's copy of
    it."""
    changes = ((b"[7315,", b"[1315,"), (b"accepted", b"acceptee"), (b"stored", b"storee"), (KEY, OTHER_KEY))
    for before, after in changes:
        with tempfile.TemporaryDirectory() as folder:
            path = _closed(Path(folder))
            whole = path.read_bytes()
            parts = whole.split(before)
            if len(parts) != (3 if before == KEY else 2):
                raise OffStage(f"there are {len(parts) - 1} of {before!r}")
            for number in range(1, len(parts)):
                path.write_bytes(before.join(parts[:number]) + after + before.join(parts[number:]))
                _opens(path, f"{before!r} became {after!r}, number {number}")


def lost_row() -> None:
    """The promise is gone as a whole."""
    with tempfile.TemporaryDirectory() as folder:
        path = _closed(Path(folder))
        connection = sqlite3.connect(path)
        connection.execute("DELETE FROM state WHERE name = 'promised'")
        connection.commit()
        connection.close()
        _opens(path, "the promise is gone")


def damaged_write_ahead_log() -> None:
    """A frame in the midst of the log changes: SQLite takes it, and all that follows, for a write that a crash
    interrupted. Behind a damaged header, it takes nothing; the header and the first frame may be damaged together."""
    for place, count in ((16, 8), (13, 48), (32 + 2 * FRAME + 500, 1)):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "node.db"
            database = _made(path)
            log = path.with_name("node.db-wal")
            file, frames = path.read_bytes(), bytearray(log.read_bytes())
            database.close()
            if len(frames) < 32 + 4 * FRAME:
                raise OffStage("the log is too short")
            for number in range(place, place + count):
                frames[number] ^= 0xFF
            path.write_bytes(file)
            log.write_bytes(frames)
            _opens(path, f"byte {place} of the log changed")


def damaged_disk_replaced() -> None:
    """The damaged file is kept as it is, and the new disk knows that it is not the first one."""
    with tempfile.TemporaryDirectory() as folder:
        path = _closed(Path(folder))
        damaged = path.read_bytes().replace(b"[7315,", b"[1315,")
        path.write_bytes(damaged)
        database = Database.open(path, "demo", 1, 1, replace_damaged=True)
        database.close()
        kept = path.with_name("node.db.damaged-1")
        if not kept.exists() or kept.read_bytes() != damaged:
            raise Forgotten("the damaged file is gone")
        if database.durable.voter_status is not VoterStatus.LEARNER:
            raise Forgotten("a disk that replaces a damaged one may found a cluster")


def restored_disks() -> None:
    """The disks of a restored cluster hold the same, and tell themselves from replacements and other clusters."""
    clusters = set()
    for _ in range(2):
        with tempfile.TemporaryDirectory() as folder:
            found(Path(folder), "demo", (1, 2, 3), 5, [(KEY, b"stored")])
            databases = [
                Database.open(path, "demo", pid, 1) for pid, path in enumerate(existing_disks(Path(folder)), 1)
            ]
            contents = [database.load_snapshot() for database in databases]
            for database in databases:
                database.close()
        first = contents[0]
        if contents.count(first) < 3 or (first.position, first.rows) != (5, [(KEY, b"stored")]):
            raise Forgotten("not all disks hold what was restored")
        identities = {pid: database.durable.identity for pid, database in enumerate(databases, 1)}
        if first.configuration is None or first.configuration.members != identities:
            raise Forgotten("the disks do not know each other")
        clusters.add(first.configuration.cluster)
    if len(clusters) < 2:
        raise Forgotten("two clusters have the same id")


def log_that_said_more() -> None:
    """Rows of the log say how far things are decided, and which write they are; they may be cut off."""
    for cut in (None, 6):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "node.db"
            database = _made(path)
            for position in (5, 6):
                entries = [Entry(position, (7315, 2), Operation(1, 1, position, b"accepted"))]
                database.write([Persist(entries=entries, decided=position - 1, stamp=(1, position))])
            if cut is not None:
                database.write([Persist(compacted=cut)])
            database.close()
            database = Database.open(path, "demo", 1, 2)
            database.close()
            held = database.durable
            if (held.decided, held.stamp, bool(held.entries)) != (5, (1, 6), cut is None):
                raise Forgotten(f"what the log said is gone: {held}")


def _made(path: Path) -> Database:
    database = Database.open(path, "demo", 1, 1)
    database.write([Persist(promised=Ballot(7315, 2, 0), voter_status=VoterStatus.VOTER, decided=2)])
    rows = [(KEY, b"stored"), *((b"9%d" % number, b"text" * 100) for number in range(9))]
    database.write([Persist(snapshot=Snapshot(2, {}, rows))])
    for position in (3, 4):
        operation = Operation(1, 1, position, b"accepted" if position == 3 else b"also")
        database.write([Persist(entries=[Entry(position, (7315, 2), operation)])])
    return database


def _closed(folder: Path) -> Path:
    path = folder / "node.db"
    _made(path).close()
    return path


def _opens(path: Path, damage: str) -> None:
    """It must not."""
    try:
        database = Database.open(path, "demo", 1, 2)
    except StorageDamaged:
        return
    database.close()
    raise Unnoticed(damage)
