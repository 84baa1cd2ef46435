"""Rows of a snapshot, as they come from another node, a disk or a backup."""

from __future__ import annotations

import functools
import hashlib
import tempfile
from pathlib import Path

import msgspec

from kvstore.store import Store
from server import backup
from server.backup import Backup, BackupError
from tests.fuzz.target import Form, Target
from tests.fuzz.targets import operations


def check(data: bytes) -> None:
    _as_backup(data)
    try:
        rows = msgspec.msgpack.decode(data, type=list[tuple[bytes, bytes]])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return
    store = Store()
    try:
        store.load(rows)
    except ValueError as error:
        assert str(error)
        return
    again = Store()
    again.load(rows)
    assert again.digest() == store.digest()
    for position, payload in enumerate(operations.seeds(), 1):
        assert store.apply(position, payload).ok == again.apply(position, payload).ok
    assert again.digest() == store.digest()


def _as_backup(data: bytes) -> None:
    """The body of a file whose checksum is right."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "b"
        path.write_bytes(backup.HEAD + hashlib.sha256(data).digest() + data)
        try:
            backup.read(path)
        except BackupError as error:
            assert str(error)


@functools.cache
def seeds() -> list[bytes]:
    store = Store()
    found = []
    for position, payload in enumerate(operations.seeds(), 1):
        store.apply(position, payload)
        rows = list(store.snapshot())
        found += [msgspec.msgpack.encode(rows), msgspec.msgpack.encode(Backup(position, 7, rows))]
    return found[::3]


TARGET = Target("rows of a snapshot, and backups", check, seeds, Form.MSGPACK, examples=200)
