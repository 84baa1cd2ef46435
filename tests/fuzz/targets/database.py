"""A node's file, damaged: it opens with what was written, or says why it does not.

An input is a list of changes: the first byte says of which file, then each eight bytes are one change: what is done,
where (four bytes), and three bytes more.
"""

from __future__ import annotations

import contextlib
import functools
import sqlite3
import tempfile
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path
from random import Random
from typing import NamedTuple
from zlib import crc32

from engine.stored_state import stored_state
from paxos.messages import Snapshot
from paxos.output import Durable, Persist
from storage.database import Database
from storage.errors import StorageError
from storage.ownership import owner_of
from storage.tables import log_checksum
from tests.fuzz.mutation import mutate
from tests.fuzz.target import Form, Target
from tests.unit.storage.disks import content, entry, fill, make_old, put
from tests.unit.storage.test_contract import FOLDER

_CHANGE = 8
_MOST_CHANGES = 12


class Kind(IntEnum):
    FLIP = 0
    OVERWRITE = 1
    CUT = 2
    ROW = 3
    """In a row, with its checksum."""


class _File(NamedTuple):
    main: bytes
    log: bytes
    may_hold: list[tuple[Durable, Snapshot]]
    """Whatever is damaged. The last one is all of it."""
    checked: bool = True
    """It has checksums."""


@functools.cache
def _files() -> list[_File]:
    with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
        path = Path(folder) / "node.db"
        database = fill(path)
        database.close()
        database = Database.open(path, "demo", 1, 1)
        closed = _File(path.read_bytes(), b"", [content(database)])
        log, states = path.with_name(path.name + "-wal"), list[bytes]()
        for position in range(91, 95):
            database.write([Persist(entries=[entry(position, 3000)], decided=position)])
            states.append(log.read_bytes())
        main = path.read_bytes()
        database.close()
        held = [_content(path, main, state) for state in (b"", *states)]
        old = Path(folder) / "old.db"
        whole = make_old(old)
        database = Database.open(old, "demo", 1, 1)
        database.close()
        make_old(old.with_name("new.db"))
        return [closed, _File(main, states[-1], held), _File(old.with_name("new.db").read_bytes(), b"", [whole], False)]


def _content(path: Path, main: bytes, log: bytes) -> tuple[Durable, Snapshot]:
    put(path, main, log)
    database = Database.open(path, "demo", 1, 1)
    try:
        return content(database)
    finally:
        database.close()


class _Change(NamedTuple):
    kind: Kind
    at: int
    value: int


def _changes(data: bytes) -> Iterator[_Change]:
    for begin in range(1, min(len(data) - _CHANGE + 1, _MOST_CHANGES * _CHANGE), _CHANGE):
        one = data[begin : begin + _CHANGE]
        yield _Change(Kind(one[0] % len(Kind)), int.from_bytes(one[1:5], "big"), int.from_bytes(one[5:], "big"))


def check(data: bytes) -> None:
    file = _files()[data[0] % len(_files()) if data else 0]
    changes = list(_changes(data))
    main, log = bytearray(file.main), bytearray(file.log)
    for change in changes:
        _damage(log if change.value % 2 and log else main, change)
    with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
        path = Path(folder) / "node.db"
        put(path, bytes(main), bytes(log))
        rows = [change for change in changes if change.kind is Kind.ROW and not log]
        for change in rows:
            _tamper(path, Random(change.at))
        owner_of(path.parent)
        try:
            database = Database.open(path, "demo", 1, 1)
        except StorageError as error:
            assert str(error) and str(error).isprintable()
            return
        try:
            if not main:
                assert database.durable.identity not in (held.identity for held, _ in file.may_hold)
                return  # a new disk, whose owner has no vote: see paxos/voter_registry.py
            _judge(database, file, changes, trusted=file.checked and not rows)
        finally:
            database.close()
        assert {found.name for found in path.parent.iterdir()} <= {"node.db", "node.db.lock"}


def _judge(database: Database, file: _File, changes: list[_Change], *, trusted: bool) -> None:
    """What opened. `trusted`: nothing was changed together with its checksum."""
    if trusted:
        cut = any(change.kind is Kind.CUT for change in changes)
        held = content(database)
        assert held in (file.may_hold if cut else file.may_hold[-2:]), "it opened with something else"
        return
    try:
        stored_state(database, accepted=True)
    except StorageError as error:
        assert str(error)


def _damage(part: bytearray, change: _Change) -> None:
    if not part:
        return
    at = change.at % len(part)
    match change.kind:
        case Kind.FLIP:
            part[at] ^= 1 << change.value // 2 % 8
        case Kind.OVERWRITE:
            end = min(len(part), at + change.value // 512 % 64 + 1)
            part[at:end] = bytes((change.value // 2 % 256,)) * (end - at)
        case Kind.CUT:
            del part[at:]


def _tamper(path: Path, random: Random) -> None:
    """Changes what a row says, and its checksum with it, if the file is not past that."""
    with contextlib.suppress(sqlite3.Error, UnicodeDecodeError, TypeError, OverflowError, AttributeError):
        connection = sqlite3.connect(path, isolation_level=None)
        try:
            _tamper_with(connection, random)
        finally:
            connection.close()


def _tamper_with(connection: sqlite3.Connection, random: Random) -> None:
    table, key, value, form = random.choice((
        ("state", "name", "value", Form.JSON), ("log", "last", "entries", Form.MSGPACK),
        ("snapshot", "key", "value", Form.MSGPACK),
    ))
    name, old = random.choice(connection.execute(f"SELECT {key}, {value} FROM {table}").fetchall() or [("", b"")])
    changed = mutate(old.encode() if table == "state" else old, form, random)
    new: str | bytes = changed
    if table == "state":
        new = changed.decode(errors="replace")
        checksum = crc32(new.encode(), crc32(name.encode()))
    elif table == "log":
        checksum = log_checksum(name, changed)
    else:
        checksum = crc32(changed, crc32(name))
    has_checksum = any(column[1] == "checksum" for column in connection.execute(f"PRAGMA table_info({table})"))
    also = f", checksum = {checksum}" if has_checksum else ""
    connection.execute(f"UPDATE {table} SET {value} = ?{also} WHERE {key} = ?", (new, name))


def seeds() -> list[bytes]:
    """No change, then one of each kind, of each of the files."""
    none = [bytes((which,)) for which in range(len(_files()))]
    changes = [
        bytes((kind,)) + at.to_bytes(4, "big") + value.to_bytes(3, "big")
        for kind in Kind for at, value in ((5000, 7), (20, 2), (100_000, 700))
    ]
    return [*none, *(which + change for which in none for change in changes), none[0] + b"".join(changes)]


TARGET = Target("a node's file, damaged", check, seeds, examples=150)
