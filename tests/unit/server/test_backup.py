"""Backups are read as they were written, or refused in a sentence."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
import pytest

from kvstore.operations import Candidate, Choose, Create, Query, StoreOperation
from kvstore.payloads import encode
from kvstore.store import Store
from server import backup
from server.backup import HEAD, Backup, BackupError


def full_store() -> Store:
    store = Store()
    operations: tuple[StoreOperation, ...] = (
        Create("c1"), Query("c1", "why?"), Candidate("c1", 1, 2, "so", None), Candidate("c1", 1, 12, None, "no"),
        Create("c2"), Choose("c1", 2), Query("c1", "and?"), Query("c2", "open?"),
    )
    for position, operation in enumerate(operations, 1):
        assert store.apply(position, encode(operation)).ok
    return store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    backup.write(path, Backup(8, 1000, full_store().snapshot()), force=False)
    return path


def test_it_is_whole(path: Path) -> None:
    read = backup.read(path)
    assert (read.position, read.at) == (8, 1000)
    store = Store()
    store.load(read.rows)
    assert store.digest() == full_store().digest()
    assert read.rows == full_store().changed() == sorted(read.rows)
    assert path.stat().st_mode & 0o777 == 0o600


def test_any_changed_byte_is_noticed(path: Path) -> None:
    whole = path.read_bytes()
    for offset in range(len(whole)):
        path.write_bytes(whole[:offset] + bytes([whole[offset] ^ 1]) + whole[offset + 1 :])
        with pytest.raises(BackupError, match=r"is damaged|is no backup|of format"):
            backup.read(path)
    for length in (0, 10, len(HEAD), len(HEAD) + 32, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(BackupError):
            backup.read(path)


@pytest.mark.parametrize("body", [b"", b"\xc1", msgspec.msgpack.encode(Backup(1, 1, [(b"odd", b"odd")]))])
def test_content_that_makes_no_sense(path: Path, body: bytes) -> None:
    path.write_bytes(HEAD + hashlib.sha256(body).digest() + body)
    with pytest.raises(BackupError, match="does not know"):
        backup.read(path)


def test_other_files(path: Path, tmp_path: Path) -> None:
    with pytest.raises(BackupError, match="cannot read"):
        backup.read(tmp_path / "missing")
    path.write_bytes(path.read_bytes().replace(b"backup 1", b"backup 7"))
    with pytest.raises(BackupError, match="a backup of format 7; this program knows format 1"):
        backup.read(path)


def test_nothing_is_overwritten_unless_wanted(path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(BackupError, match="--force overwrites it"):
        backup.write(path, Backup(9, 1000, []), force=False)
    assert path.read_bytes() == before
    backup.write(path, Backup(9, 1000, []), force=True)
    assert backup.read(path).position == 9


def test_a_backup_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(BackupError, match="cannot write"):
        backup.write(tmp_path / "missing" / "file", Backup(1, 1, []), force=False)
    (tmp_path / "folder").mkdir()
    with pytest.raises(BackupError, match="cannot write"):
        backup.write(tmp_path / "folder", Backup(1, 1, []), force=True)
    assert [found.name for found in tmp_path.iterdir()] == ["folder"]
