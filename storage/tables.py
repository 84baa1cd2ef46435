"""The tables of a node's file. Every row carries a checksum of all that is in it, which is checked whenever it is read.

    state      name, value, checksum           one row each: who this is, what was promised, how far things are decided;
                                               JSON, to be readable with any database browser
    log        number, last, entries, checksum one row for all accepted operations of a write, with what the write says
                                               besides (`LogRow` as MessagePack; in older rows, a list of Entry alone),
                                               `last` being their highest position; a later row overrides an earlier one
    snapshot   key, value, checksum            the state machine as of `snapshot_position`

A checksum (CRC-32) finds every changed byte of a row; that no row is missing is what SQLite's own integrity check is
for (see storage/inspection.py).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final
from zlib import crc32

import msgspec

from paxos.ballot import BOTTOM, Ballot
from paxos.bounds import OF_NODES, Count, Identity, Pid, Position, Version
from paxos.messages import Configuration, Entry, Roster, SessionTable, Stamp, Vouched
from paxos.output import VoterStatus
from storage.errors import damaged

TABLES: Final = (
    "CREATE TABLE state (name TEXT PRIMARY KEY NOT NULL, value TEXT NOT NULL, checksum INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE log (number INTEGER PRIMARY KEY, last INTEGER NOT NULL, entries BLOB NOT NULL, "
    "checksum INTEGER NOT NULL)",
    "CREATE TABLE snapshot (key BLOB PRIMARY KEY NOT NULL, value BLOB NOT NULL, checksum INTEGER NOT NULL)",
)


class State(msgspec.Struct, kw_only=True, rename={"compacted": "released"}):
    """The rows of `state`. `compacted` keeps the name that it has on disks of release 0.1.0."""

    cluster: str
    pid: int
    identity: Identity
    incarnation: Count
    standing: VoterStatus = VoterStatus.NEW
    promised: Ballot = BOTTOM
    decided: Position = 0
    compacted: Position = 0
    snapshot_position: Position = 0
    sessions: SessionTable = {}
    roster: Roster = {}
    operations_versions: Annotated[dict[Pid, Version], OF_NODES] = {}
    configuration: Configuration | None = None
    remembered: Annotated[dict[Pid, Vouched], OF_NODES] = {}
    stamp: Stamp = (0, 0)
    joins: Identity = 0


class LogRow(msgspec.Struct, omit_defaults=True):
    """What one write accepted. That it moves the watermark and the stamp stands beside it: so a write of operations is
    one row, not one row in each of two tables. The rows of `state` follow with the next write of anything else."""

    entries: list[Entry]
    decided: Position = 0
    stamp: Stamp = (0, 0)


# ---- Reading. All of it raises StorageDamaged, or sqlite3.Error. What is damaged need not be UTF-8, nor even bytes.


def check_schema(connection: sqlite3.Connection, path: Path) -> None:
    found = {sql for sql, in connection.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL")}
    if found != set(TABLES):
        raise damaged(path, "its table sqlite_schema: these are not the tables of a node")


def check_rows(connection: sqlite3.Connection, path: Path) -> None:
    """Reads everything."""
    state = read_state(connection, path)
    read_log(connection, path, state.compacted)
    for _ in snapshot_rows(connection, path):
        continue


def read_state(connection: sqlite3.Connection, path: Path) -> State:
    values: dict[str, bytes] = {}
    for name, value, checksum in connection.execute(
        "SELECT CAST(name AS BLOB), CAST(value AS BLOB), checksum FROM state"
    ):
        if not _is_sound(checksum, name, value):
            raise damaged(path, f"its table state: row {_shown(name)} is not what was written")
        values[name.decode()] = value
    missing = set(State.__struct_encode_fields__) - values.keys()
    if missing:
        raise damaged(path, f"its table state: row '{min(missing)}' is missing")
    return decode_state(values, path)


def decode_state(values: Mapping[str, bytes], path: Path) -> State:
    try:
        rows = {name: msgspec.Raw(value) for name, value in values.items()}
        return msgspec.json.decode(msgspec.json.encode(rows), type=State)
    except msgspec.ValidationError as error:
        detail = f"its table state holds what no node of this release stores: {error}"
        raise damaged(path, detail, certain=False) from error
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise damaged(path, f"its table state: {error}", certain=False) from error


def read_log(connection: sqlite3.Connection, path: Path, compacted: int) -> LogRow:
    """All rows together: every stored entry above `compacted`, by position; the latest watermark and stamp."""
    decoder = msgspec.msgpack.Decoder(list[Entry] | LogRow)
    entries: dict[int, Entry] = {}
    number, decided, stamp = 0, 0, (0, 0)
    try:
        for number, last, content, checksum in connection.execute(
            "SELECT number, last, CAST(entries AS BLOB), checksum FROM log ORDER BY number"
        ):
            if not isinstance(last, int) or not _is_sound(checksum, _position(last), content):
                raise damaged(path, f"its table log: row {number} is not what was written")
            row = decoder.decode(content)
            if isinstance(row, list):
                row = LogRow(row)
            entries.update((entry.position, entry) for entry in row.entries if entry.position > compacted)
            decided, stamp = max(decided, row.decided), max(stamp, row.stamp)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise damaged(path, f"its table log: row {number}: {error}", certain=False) from error
    return LogRow([entries[position] for position in sorted(entries)], decided, stamp)


def snapshot_rows(connection: sqlite3.Connection, path: Path) -> Iterator[tuple[bytes, bytes]]:
    """By key."""
    for key, value, checksum in connection.execute(
        "SELECT CAST(key AS BLOB), CAST(value AS BLOB), checksum FROM snapshot ORDER BY key"
    ):
        if not _is_sound(checksum, key, value):
            raise damaged(path, f"its table snapshot: row {_shown(key)} is not what was written")
        yield key, value


def _is_sound(checksum: object, first: object, second: object) -> bool:
    return isinstance(first, bytes) and isinstance(second, bytes) and checksum == crc32(second, crc32(first))


def _shown(name: object) -> str:
    """Something that may be damaged, for people."""
    if not isinstance(name, bytes):
        return "without a name"
    return f"'{name.decode()}'" if name.replace(b"_", b"").isalpha() else name[:20].hex(" ", 4)


# ---- Writing. All of it raises sqlite3.Error; OverflowError for numbers that do not fit.

_encode = msgspec.msgpack.Encoder().encode


def write_state(connection: sqlite3.Connection, changes: Mapping[str, object]) -> None:
    rows = [(name, msgspec.json.encode(value)) for name, value in changes.items()]
    connection.executemany(
        "INSERT OR REPLACE INTO state VALUES (?, ?, ?)",
        [(name, value.decode(), crc32(value, crc32(name.encode()))) for name, value in rows],
    )


def write_log(connection: sqlite3.Connection, row: LogRow) -> None:
    last = max([entry.position for entry in row.entries])
    content = _encode(row)
    connection.execute(
        "INSERT INTO log (last, entries, checksum) VALUES (?, ?, ?)", (last, content, log_checksum(last, content))
    )


def log_checksum(last: int, content: bytes) -> int:
    return crc32(content, crc32(_position(last)))


def merge_rows(connection: sqlite3.Connection, rows: Sequence[tuple[bytes, bytes | None]]) -> None:
    kept = [(key, value, crc32(value, crc32(key))) for key, value in rows if value is not None]
    if len(kept) < len(rows):
        gone = [(key,) for key, value in rows if value is None]
        connection.executemany("DELETE FROM snapshot WHERE key = ?", gone)
    connection.executemany("INSERT OR REPLACE INTO snapshot VALUES (?, ?, ?)", kept)


def _position(last: int) -> bytes:
    return last.to_bytes(8, "big", signed=True)
