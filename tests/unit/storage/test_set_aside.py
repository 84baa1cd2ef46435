"""A damaged file is kept, and the node begins with a new disk."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from paxos.output import VoterStatus
from storage.database import Database
from storage.errors import StorageDamaged, StorageError
from tests.unit.storage.disks import fill, make_old


def reopen(path: Path) -> Database:
    return Database.open(path, "demo", 1, 1, replace_damaged=True)


def names(folder: Path) -> list[str]:
    return sorted(found.name for found in folder.iterdir())


def test_one_after_the_other(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    kept: list[bytes] = []
    identities = set()
    for number in (1, 2):
        database = fill(path)
        identities.add(database.durable.identity)
        database.close()
        kept.append(path.read_bytes().replace(b"[7315,", b"[1315,"))
        path.write_bytes(kept[-1])
        database = reopen(path)
        assert database.notice is not None
        assert "its table state: row 'promised'" in database.notice and f"node.db.damaged-{number}" in database.notice
        durable = database.durable
        identities.add(durable.identity)
        assert (durable.voter_status, durable.entries, durable.decided) == (VoterStatus.LEARNER, [], 0)
        assert list(database.rows()) == []
        database.close()
        database = reopen(path)
        assert database.notice is None
        database.close()
        path.unlink()  # nor does a file that was lost afterwards count as the first one
        database = reopen(path)
        assert database.durable.voter_status is VoterStatus.LEARNER
        database.close()
        path.unlink()
    assert len(identities) == 4
    assert [(tmp_path / f"node.db.damaged-{number}").read_bytes() for number in (1, 2)] == kept


def test_with_its_write_ahead_log(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    database = fill(path)
    log = path.with_name(path.name + "-wal")
    contents = path.read_bytes(), bytearray(log.read_bytes())
    database.close()
    contents[1][5000] ^= 1
    path.write_bytes(contents[0])
    log.write_bytes(contents[1])
    reopen(path).close()
    assert names(tmp_path) == ["node.db", "node.db.damaged-1", "node.db.damaged-1-wal", "node.db.lock"]
    assert (tmp_path / "node.db.damaged-1-wal").read_bytes() == contents[1]


def test_a_crash_on_the_way(tmp_path: Path) -> None:
    """The file was moved, its log was not."""
    path = tmp_path / "node.db"
    log = path.with_name(path.name + "-wal")
    log.write_bytes(b"content")
    (tmp_path / "node.db.damaged-1").write_bytes(b"moved")
    reopen(path).close()
    assert (tmp_path / "node.db.damaged-2-wal").read_bytes() == b"content"


def test_not_if_it_may_be_sound(tmp_path: Path) -> None:
    """Checksums that are right, and content that this program does not understand."""
    path = tmp_path / "node.db"
    make_old(path)
    connection = sqlite3.connect(path)
    connection.execute("UPDATE log SET entries = x'c1'")
    connection.commit()
    connection.close()
    for _ in range(2):
        with pytest.raises(StorageDamaged) as found:
            reopen(path)
        assert not found.value.certain and "its table log: row 1" in str(found.value)
    assert names(tmp_path) == ["node.db", "node.db.lock"]


@pytest.mark.parametrize(("cluster", "pid"), [("demo", 2), ("other", 1)])
def test_not_if_it_is_somebody_elses(tmp_path: Path, cluster: str, pid: int) -> None:
    path = tmp_path / "node.db"
    fill(path).close()
    with pytest.raises(StorageError, match="belongs to node 1 of cluster 'demo'"):
        Database.open(path, cluster, pid, 1, replace_damaged=True)
    assert names(tmp_path) == ["node.db", "node.db.lock"]
