"""Files to damage: one with all kinds of rows, of pages and of free space in it; and one of release 0.1.0."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import msgspec

from paxos.ballot import Ballot
from paxos.messages import Entry, Operation, Snapshot
from paxos.output import Durable, Persist, VoterStatus
from storage.database import Database
from storage.inspection import APPLICATION_ID
from storage.records import Compaction

SUFFIXES = ("", "-wal", "-shm", "-journal")

OLD_TABLES = """
    PRAGMA page_size = 4096;
    PRAGMA journal_mode = WAL;
    CREATE TABLE state (name TEXT PRIMARY KEY NOT NULL, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE log (number INTEGER PRIMARY KEY, last INTEGER NOT NULL, entries BLOB NOT NULL);
    CREATE TABLE snapshot (key BLOB PRIMARY KEY NOT NULL, value BLOB NOT NULL);
    PRAGMA user_version = 1;
"""


def entry(position: int, size: int = 200) -> Entry:
    return Entry(position, (3, 1), Operation(1, 1, position, bytes([position % 256]) * size))


def fill(path: Path) -> Database:
    """Of node 1 of 'demo'; still open."""
    database = Database.open(path, "demo", 1, 1)
    database.write([Persist(
        promised=Ballot(7315, 2, 0), voter_status=VoterStatus.VOTER, roster={1: 5, 2: 6}, decided=50,
        entries=[entry(position) for position in range(1, 60)],
    )])
    rows = [(b"%04d" % number, b"t" * (40 * number) + b"%04d" % number) for number in range(60)]
    database.write([Persist(snapshot=Snapshot(10, {1: (1, 2)}, rows))])
    database.write([Persist(entries=[entry(position) for position in range(60, 90)], decided=80)])
    changes = [(b"%04d" % number, None if number % 3 == 0 else b"u" * (30 * number)) for number in range(0, 60, 2)]
    database.write([Compaction(40, {1: (1, 2), 2: (3, 4)}, changes), Persist(compacted=30)])
    database.write([Persist(entries=[entry(90, 9000)], decided=80)])
    return database


def content(database: Database) -> tuple[Durable, Snapshot]:
    """All that is stored, but for who this is and how often it was opened."""
    return msgspec.structs.replace(database.durable, incarnation=0, identity=0), database.load_snapshot()


def put(path: Path, main: bytes, log: bytes = b"") -> None:
    """Nothing but these is there."""
    for suffix in SUFFIXES:
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    path.write_bytes(main)
    if log:
        path.with_name(path.name + "-wal").write_bytes(log)


def make_old(path: Path) -> tuple[Durable, Snapshot]:
    """As release 0.1.0 wrote it; returns what is in it."""
    entries = [entry(position) for position in range(3, 8)]
    rows = [(b"a", b"1"), (b"b", b"text" * 1000)]
    connection = sqlite3.connect(path, isolation_level=None)
    connection.executescript(f"{OLD_TABLES} PRAGMA application_id = {APPLICATION_ID};")
    state = {
        "cluster": "demo", "pid": 1, "identity": 77, "incarnation": 5, "standing": "voter", "promised": [7, 2, 0],
        "decided": 6, "released": 2, "snapshot_position": 4, "sessions": {"1": [5, 4]}, "roster": {"1": 77},
    }
    texts = [(name, msgspec.json.encode(value).decode()) for name, value in state.items()]
    connection.executemany("INSERT INTO state VALUES (?, ?)", texts)
    connection.executemany(
        "INSERT INTO log (last, entries) VALUES (?, ?)",
        [(5, msgspec.msgpack.encode(entries[:3])), (7, msgspec.msgpack.encode(entries[3:]))],
    )
    connection.executemany("INSERT INTO snapshot VALUES (?, ?)", rows)
    connection.close()
    durable = Durable(77, 6, VoterStatus.VOTER, Ballot(7, 2, 0), entries, 6, 2, 4, {1: (5, 4)}, {1: 77}, reopened=True)
    return durable, Snapshot(4, {1: (5, 4)}, rows)
