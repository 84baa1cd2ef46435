"""Files of release 0.1.0 (format 1) have the same tables without checksums: they get them when they are opened."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Final
from zlib import crc32

import msgspec

from storage.tables import TABLES, decode_state, log_checksum, write_state

OLD_VERSION: Final = 1
_NAMES: Final = ("state", "log", "snapshot")


def migrate(connection: sqlite3.Connection, path: Path, version: int) -> None:
    """Within the transaction that is open: a crash leaves the old file or the new one. What is wrong in the old file
    cannot be seen unless it makes no sense. Raises StorageDamaged, sqlite3.Error."""
    connection.create_function("row_checksum", 2, lambda key, value: crc32(value, crc32(key)), deterministic=True)
    connection.create_function("log_checksum", 2, log_checksum, deterministic=True)
    for name in _NAMES:
        connection.execute(f"ALTER TABLE {name} RENAME TO old_{name}")
    for table in TABLES:
        connection.execute(table)
    rows: Iterable[tuple[str, bytes]] = connection.execute("SELECT name, CAST(value AS BLOB) FROM old_state")
    write_state(connection, msgspec.to_builtins(decode_state(dict(rows), path)))
    connection.execute("INSERT INTO log SELECT number, last, entries, log_checksum(last, entries) FROM old_log")
    connection.execute("INSERT INTO snapshot SELECT key, value, row_checksum(key, value) FROM old_snapshot")
    for name in _NAMES:
        connection.execute(f"DROP TABLE old_{name}")
    connection.execute(f"PRAGMA user_version = {version}")
