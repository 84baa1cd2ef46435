"""The disks of a cluster that begins with a snapshot: equal, complete, and known to each other; or none at all."""

from __future__ import annotations

import resource
from collections.abc import Sequence
from pathlib import Path

import pytest

from paxos.messages import Configuration
from paxos.output import VoterStatus
from storage.database import Database
from storage.errors import StorageError, StorageFull, StorageLocked
from storage.founding import existing_disks, found, hold_disks
from storage.records import Record

ROWS = [(b"a", b"1"), (b"b", b"2")]


def test_all_are_voters_with_the_same_snapshot(tmp_path: Path) -> None:
    found(tmp_path / "data", "demo", [1, 2, 5], 40, ROWS)
    disks = existing_disks(tmp_path / "data")
    assert [disk.name for disk in disks] == ["node-1.db", "node-2.db", "node-5.db"]
    databases = [Database.open(disk, "demo", pid, 7) for disk, pid in zip(disks, (1, 2, 5), strict=True)]
    roster = {pid: database.durable.identity for pid, database in zip((1, 2, 5), databases, strict=True)}
    assert len(set(roster.values())) == 3
    for database in databases:
        durable = database.durable
        assert (durable.voter_status, durable.roster) == (VoterStatus.VOTER, roster)
        assert (durable.decided, durable.compacted, durable.snapshot_position) == (40, 40, 40)
        assert (durable.entries, durable.sessions, durable.incarnation) == ([], {}, 7)
        assert list(database.rows()) == ROWS
        database.close()
    configurations = [database.durable.configuration for database in databases]
    assert configurations[0] is not None
    assert configurations == [Configuration(1, configurations[0].cluster, roster, 41)] * 3
    found(tmp_path / "other", "demo", [1], 40, ROWS)
    other = Database.open(tmp_path / "other" / "node-1.db", "demo", 1, 7)
    founding = other.durable.configuration
    assert founding is not None and founding.cluster != configurations[0].cluster, "each founding is another cluster"
    other.close()
    assert {path.suffix for path in (tmp_path / "data").iterdir()} <= {".db", ".lock"}


def test_a_failure_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rename, renamed = Path.rename, []

    def fail_at_the_third(path: Path, target: Path) -> Path:
        if target.suffix == ".db" and target.parent == tmp_path:
            renamed.append(target)
            if len(renamed) == 3:
                raise OSError("no")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", fail_at_the_third)
    with pytest.raises(StorageError):
        found(tmp_path, "demo", [1, 2, 3], 40, ROWS)
    assert len(renamed) == 3 and list(tmp_path.iterdir()) == []


def test_a_disk_that_is_full_when_the_files_are_completed_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The write-ahead log still has room, the file that it belongs to has not: SQLite says nothing of that at close."""
    write, (most, hard) = Database.write, resource.getrlimit(resource.RLIMIT_FSIZE)

    def write_and_be_full(database: Database, batch: Sequence[Record]) -> None:
        write(database, batch)
        resource.setrlimit(resource.RLIMIT_FSIZE, (65_536, hard))

    monkeypatch.setattr(Database, "write", write_and_be_full)
    try:
        with pytest.raises(StorageFull):
            found(tmp_path, "demo", [1], 40, [(bytes([number]), bytes(10_000)) for number in range(100)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
    assert list(tmp_path.iterdir()) == []


def test_no_node_starts_while_its_disk_is_made(tmp_path: Path) -> None:
    found(tmp_path, "demo", [3], 40, ROWS)
    with hold_disks(tmp_path, [1, 2]):
        for pid in (1, 2, 3):
            with pytest.raises(StorageLocked):
                Database.open(tmp_path / f"node-{pid}.db", "demo", pid, 1)
    node = Database.open(tmp_path / "node-2.db", "demo", 2, 1)
    with pytest.raises(StorageLocked):
        hold_disks(tmp_path, [1, 2])
    Database.open(tmp_path / "node-1.db", "demo", 1, 1).close()
    node.close()


def test_what_counts_as_a_disk(tmp_path: Path) -> None:
    for name in ("node-1.db", "node-2.db-wal", "node-3.db.damaged-1", "node-4.db.lock", "node-5.sock", "history-1"):
        (tmp_path / name).touch()
    assert [path.name for path in existing_disks(tmp_path)] == ["node-1.db", "node-2.db-wal", "node-3.db.damaged-1"]
