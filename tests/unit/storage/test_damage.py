"""A file that is damaged or not this node's: a clear sentence, and not one byte of it changes."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from paxos.ballot import Ballot
from paxos.messages import Entry, Operation, Snapshot, Vouched
from paxos.output import Persist
from storage.database import Database
from storage.errors import StorageError, explain


def make(path: Path) -> bytes:
    """A sound file of node 1 of 'demo', with a few pages of content; returns its bytes."""
    database = Database.open(path, "demo", 1, 1)
    entries = [Entry(position, (1, 1), Operation(1, 1, position, b"p" * 500)) for position in range(1, 101)]
    database.write([Persist(entries=entries, snapshot=Snapshot(1, {}, [(bytes([n]), b"r" * 5000) for n in range(20)]))])
    database.close()
    return path.read_bytes()


def refusal(path: Path, cluster: str = "demo", pid: int = 1) -> str:
    """The sentence with which the file is refused, twice, being left as it is."""
    def content() -> dict[str, bytes]:
        beside = [path, *(path.with_name(path.name + suffix) for suffix in ("-wal", "-journal"))]
        return {one.name: one.read_bytes() for one in beside if one.is_file() and one.stat().st_size > 0}

    before = content()
    sentences = set()
    for _ in range(2):  # the first attempt leaves no lock behind
        with pytest.raises(StorageError) as refused:
            Database.open(path, cluster, pid, 1)
        sentences.add(str(refused.value))
    assert content() == before
    (sentence,) = sentences
    assert str(path) in sentence
    return sentence


def test_of_another_node_or_cluster(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    make(path)
    assert refusal(path, pid=2).endswith("belongs to node 1 of cluster 'demo', not to node 2 of cluster 'demo'")
    assert refusal(path, "other").endswith("belongs to node 1 of cluster 'demo', not to node 1 of cluster 'other'")
    Database.open(path, "demo", 1, 1).close()


def test_no_database(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    path.write_text("Dear diary")
    assert "is not a database of this program; it was left as it is" in refusal(path)


def test_database_of_another_program(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE state (name, value)")
    connection.close()
    assert "is a database of another program; it was left as it is" in refusal(path)


def test_other_format(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    make(path)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    connection.close()
    assert "storage format 99, this program knows formats 1 and 2" in refusal(path)


def test_a_directory(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    path.mkdir()
    assert refusal(path).endswith("it is a directory")


def test_a_file_in_the_way_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(StorageError, match="cannot use"):
        Database.open(tmp_path / "data" / "node.db", "demo", 1, 1)


def test_a_link_to_nothing(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    path.symlink_to(tmp_path / "not mounted" / "node.db")
    assert refusal(path).endswith("it is a link to nothing")


def test_unreadable(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    make(path)
    path.chmod(0)
    if os.access(path, os.R_OK):  # root reads everything; what nobody can read is a link to itself
        path.unlink()
        path.symlink_to(path)
    assert "cannot use" in refusal(path)


def test_what_cannot_be_read_is_not_called_damaged(tmp_path: Path) -> None:
    """Nor is anything promised about it."""
    by_sqlite = sqlite3.OperationalError("disk I/O error")
    by_sqlite.sqlite_errorcode = sqlite3.SQLITE_IOERR_READ
    for error in (by_sqlite, OSError(errno.EIO, "Input/output error")):
        explained = explain(error, tmp_path / "node.db")
        assert type(explained) is StorageError
        assert "node.db: the disk is failing" in str(explained) and "it checks what the disk holds" in str(explained)


@pytest.mark.parametrize("size", [1, 15, 50, 99, 100, 1000, 4095, 4096, 8192, 20_000, -4096, -1])
def test_truncated(tmp_path: Path, size: int) -> None:
    path = tmp_path / "node.db"
    content = make(path)
    path.write_bytes(content[:size])
    sentence = refusal(path)
    assert "left as it is" in sentence and ("is damaged" in sentence or "not a database" in sentence)


@pytest.mark.parametrize("page", range(1, 5))
def test_overwritten_page(tmp_path: Path, page: int) -> None:
    path = tmp_path / "node.db"
    content = bytearray(make(path))
    content[page * 4096 : (page + 1) * 4096] = b"\xa5" * 4096
    path.write_bytes(content)
    assert "is damaged" in refusal(path)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE state SET value = '{' WHERE name = 'promised'",
        "UPDATE state SET value = '[1]' WHERE name = 'promised'",
        "UPDATE state SET value = 'true' WHERE name = 'decided'",
        "UPDATE state SET value = x'00' WHERE name = 'decided'",
        "DELETE FROM state WHERE name = 'identity'",
        "UPDATE log SET entries = x'c1'",
        "UPDATE log SET entries = 5",
        "DROP TABLE log",
    ],
)
def test_content_that_makes_no_sense(tmp_path: Path, statement: str) -> None:
    path = tmp_path / "node.db"
    make(path)
    connection = sqlite3.connect(path)
    connection.execute(statement)
    connection.commit()
    connection.close()
    with pytest.raises(StorageError):
        Database.open(path, "demo", 1, 1)


@pytest.mark.parametrize("spoilt", [
    Persist(promised=Ballot(2**64 - 1, 2, 1)), Persist(remembered={2: Vouched(2, (2**63, 1))}), Persist(decided=2**63),
])
def test_what_a_hostile_frame_once_put_there_is_refused_in_words(tmp_path: Path, spoilt: Persist) -> None:
    """Nothing could outbid it: another disk in its place has caught up in a moment."""
    path = tmp_path / "node.db"
    database = Database.open(path, "demo", 1, 1)
    database.write([spoilt])
    database.close()
    sentence = refusal(path)
    assert "holds what no node of this release stores" in sentence
    assert "left as it is. Once it is moved away" in sentence


def test_empty_file_is_new(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    path.touch()
    Database.open(path, "demo", 1, 1).close()
    assert path.stat().st_size > 0


@pytest.mark.parametrize("suffix", ["-wal", "-journal"])
@pytest.mark.parametrize("lose", [Path.unlink, lambda path: path.write_bytes(b"")])
def test_a_file_that_vanished_from_beside_its_log(tmp_path: Path, suffix: str, lose: Callable[[Path], object]) -> None:
    path = tmp_path / "node.db"
    make(path)
    lose(path)
    path.with_name(path.name + suffix).write_bytes(b"content")
    assert f"but node.db{suffix} beside it is not" in refusal(path)


def test_open_in_a_database_browser(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    make(path)
    browser = sqlite3.connect(path, isolation_level=None)
    browser.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageError, match="open in another program"):
        Database.open(path, "demo", 1, 1)
    browser.close()
    Database.open(path, "demo", 1, 1).close()
