"""The node's disk: one SQLite file. See storage/writer.py for how writes are gathered.

Tables:

    state      name, value    one row each: who this is, what was promised, how far things are decided; JSON, to be
                              readable with any database browser
    log        number, last, entries    one row for all accepted operations of a write (paxos.messages.Entry as
                              MessagePack), `last` being their highest position; a later row overrides an earlier one
    snapshot   key, value     the state machine as of `snapshot_position`

Every write is one transaction, appended to the write-ahead log and synced before `write` returns. It takes few calls of
SQLite however much it holds: each call gives up the interpreter, and getting it back from a busy event loop takes time.
"""

from __future__ import annotations

import contextlib
import secrets
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from paxos.ballot import BOTTOM, Ballot
from paxos.messages import Configuration, Entry, Snapshot, Vouched
from paxos.output import Durable, Persist, VoterStatus
from storage.errors import StorageError, damaged, explain
from storage.inspection import APPLICATION_ID, VERSION, is_new, make_folder, sync_folder
from storage.lock import Lock
from storage.records import Compaction, Record

_SCHEMA: Final = (
    "PRAGMA page_size = 4096",
    "BEGIN EXCLUSIVE",
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {VERSION}",
    "CREATE TABLE state (name TEXT PRIMARY KEY NOT NULL, value TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE log (number INTEGER PRIMARY KEY, last INTEGER NOT NULL, entries BLOB NOT NULL)",
    "CREATE TABLE snapshot (key BLOB PRIMARY KEY NOT NULL, value BLOB NOT NULL)",
)

_SETTINGS: Final = (
    "PRAGMA locking_mode = EXCLUSIVE",  # nobody else may change what this node promised while it runs
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",  # in WAL mode: the log is synced by every commit
    "PRAGMA wal_autocheckpoint = 4000",  # pages of 4 KiB: seldom enough for throughput, often enough to stay small
    "PRAGMA secure_delete = OFF",  # where it is on, releasing the log writes all of it once more, as zeros
    "PRAGMA journal_size_limit = 33554432",  # a huge transaction's WAL shrinks to this many bytes at the next turn
)

_BUSY_SECONDS: Final = 1.0


class _State(msgspec.Struct, kw_only=True, rename={"compacted": "released"}):
    """The rows of `state`. `compacted` keeps the name that it has on disks of release 0.1.0."""

    cluster: str
    pid: int
    identity: int
    incarnation: int
    standing: VoterStatus = VoterStatus.NEW
    promised: Ballot = BOTTOM
    decided: int = 0
    compacted: int = 0
    snapshot_position: int = 0
    sessions: dict[int, tuple[int, int]] = {}
    roster: dict[int, int] = {}
    configuration: Configuration | None = None
    remembered: dict[int, Vouched] = {}


class Database:
    """Made by `open`. Used by one thread at a time. After a failed write nothing can be written any more: what the
    disk holds is then uncertain, and only opening it again tells."""

    def __init__(
        self, path: Path, cluster: str, connection: sqlite3.Connection, lock: Lock, durable: Durable
    ) -> None:
        self.path = path
        self.cluster = cluster
        """The name of the cluster whose node's it is."""
        self.durable = durable
        """What was found at open."""
        self._connection = connection
        self._lock = lock
        self._compacted = durable.compacted
        self._failed = False

    @classmethod
    def open(cls, path: Path, cluster: str, pid: int, now_us: int, *, background: bool = False) -> Database:
        """Opens the file of node `pid` of `cluster`, or creates it, and begins a new incarnation: `now_us` (the time of
        day in microseconds) or one more than the last one, whichever is larger.

        Raises StorageLocked if another process uses it (`background` is what such a process will be told about this
        one), and StorageError if it is damaged or not this node's; it is then left as it is.
        """
        make_folder(path.parent)
        lock = Lock(path, background)
        try:
            if is_new(path):
                _create(path, cluster, pid)
            connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
            try:
                _run(connection, _SETTINGS)
                durable = _begin(path, connection, cluster, pid, now_us)
            except BaseException:
                connection.close()
                raise
        except (sqlite3.Error, OSError) as error:
            lock.release()
            raise explain(error, path) from error
        except BaseException:
            lock.release()
            raise
        return cls(path, cluster, connection, lock, durable)

    def write(self, batch: Sequence[Record]) -> None:
        """Writes all of the batch, in its order, whole or not at all; durable on return. Raises StorageError."""
        if self._failed:
            raise StorageError(f"an earlier write to {self.path} failed; start this node again")
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            self._write(batch)
            self._connection.execute("COMMIT")
        except BaseException as error:
            self._failed = True
            if self._connection.in_transaction:
                with contextlib.suppress(sqlite3.Error):  # the first error is the one to tell
                    self._connection.execute("ROLLBACK")
            if isinstance(error, sqlite3.Error):
                raise explain(error, self.path) from error
            if isinstance(error, OverflowError):
                raise StorageError(f"cannot write to {self.path}: a number in it is too large") from error
            raise

    def rows(self) -> list[tuple[bytes, bytes]]:
        """The rows of the stored snapshot, by key. Raises StorageError."""
        try:
            return self._connection.execute("SELECT key, value FROM snapshot ORDER BY key").fetchall()
        except sqlite3.Error as error:
            raise explain(error, self.path) from error

    def load_snapshot(self) -> Snapshot:
        """The stored snapshot. Raises StorageError."""
        rows = self.rows()
        try:
            state = _read_state(self._connection, self.path)
        except sqlite3.Error as error:
            raise explain(error, self.path) from error
        return Snapshot(state.snapshot_position, state.sessions, rows, state.configuration)

    def close(self) -> None:
        """Lets go of the file. Everything written is durable already. May be called twice."""
        with contextlib.suppress(sqlite3.Error):  # tidies up; if the disk is full, the next start does it
            self._connection.close()
        self._lock.release()

    def _write(self, batch: Sequence[Record]) -> None:
        """Repeated changes of one thing are written once."""
        state: dict[str, object] = {}
        entries: list[Entry] = []
        compacted = self._compacted
        for record in batch:
            if isinstance(record, Compaction):
                self._merge_rows(record.rows)
                state.update(_of_snapshot(record))
                continue
            entries += record.entries
            state.update(_changes(record))
            if record.snapshot is not None:
                snapshot = record.snapshot
                self._connection.execute("DELETE FROM snapshot")
                self._merge_rows(snapshot.rows)
                state.update(_of_snapshot(snapshot))
                compacted = max(compacted, snapshot.position)
            compacted = max(compacted, record.compacted or 0)
        if entries:
            last = max(entry.position for entry in entries)
            self._connection.execute(
                "INSERT INTO log (last, entries) VALUES (?, ?)", (last, msgspec.msgpack.encode(entries))
            )
        if compacted > self._compacted:
            self._connection.execute("DELETE FROM log WHERE last <= ?", (compacted,))
            state["released"] = self._compacted = compacted
        if state:
            _write_state(self._connection, state)

    def _merge_rows(self, rows: Iterable[tuple[bytes, bytes | None]]) -> None:
        gone: list[tuple[bytes]] = []
        kept: list[tuple[bytes, bytes]] = []
        for key, value in rows:
            if value is None:
                gone.append((key,))
            else:
                kept.append((key, value))
        if gone:
            self._connection.executemany("DELETE FROM snapshot WHERE key = ?", gone)
        self._connection.executemany("INSERT OR REPLACE INTO snapshot VALUES (?, ?)", kept)


def _changes(persist: Persist) -> dict[str, object]:
    changes = {
        "promised": persist.promised, "decided": persist.decided, "roster": persist.roster,
        "standing": persist.voter_status, "incarnation": persist.incarnation,
        "identity": persist.identity, "remembered": persist.remembered,
    }
    return {name: value for name, value in changes.items() if value is not None}


def _of_snapshot(snapshot: Snapshot | Compaction) -> dict[str, object]:
    return {
        "snapshot_position": snapshot.position, "sessions": snapshot.sessions, "configuration": snapshot.configuration,
    }


def _create(path: Path, cluster: str, pid: int) -> None:
    """A crash at any point of this leaves nothing at `path`, or a complete file."""
    making = path.with_name(path.name + ".new")
    for suffix in ("", "-journal", "-wal", "-shm"):
        making.with_name(making.name + suffix).unlink(missing_ok=True)
    with contextlib.closing(sqlite3.connect(making, isolation_level=None)) as connection:
        _run(connection, _SCHEMA)
        state = _State(cluster=cluster, pid=pid, identity=secrets.randbelow(2**63 - 1) + 1, incarnation=0)
        _write_state(connection, msgspec.to_builtins(state))
        # The switch to WAL belongs here: a crash within it leaves a file that has to be repaired by writing to it.
        _run(connection, ("COMMIT", "PRAGMA journal_mode = WAL"))
    making.replace(path)
    sync_folder(path.parent)


def _run(connection: sqlite3.Connection, statements: Iterable[str]) -> None:
    for statement in statements:
        connection.execute(statement).fetchall()


def _begin(path: Path, connection: sqlite3.Connection, cluster: str, pid: int, now_us: int) -> Durable:
    """Checks whose file this is, and begins an incarnation."""
    connection.execute("BEGIN IMMEDIATE")
    state = _read_state(connection, path)
    if (state.cluster, state.pid) != (cluster, pid):
        raise StorageError(
            f"{path} belongs to node {state.pid} of cluster '{state.cluster}', not to node {pid} of cluster '{cluster}'"
        )
    incarnation = max(state.incarnation + 1, now_us)
    _write_state(connection, {"incarnation": incarnation})
    connection.execute("COMMIT")
    return Durable(
        identity=state.identity,
        incarnation=incarnation,
        voter_status=state.standing,
        promised=state.promised,
        entries=_read_entries(path, connection, state.compacted),
        decided=max(state.decided, state.snapshot_position),
        compacted=state.compacted,
        snapshot_position=state.snapshot_position,
        sessions=state.sessions,
        roster=state.roster,
        configuration=state.configuration,
        remembered=state.remembered,
        reopened=state.incarnation > 0,
    )


def _read_entries(path: Path, connection: sqlite3.Connection, compacted: int) -> list[Entry]:
    """Every stored entry above `compacted`, by position."""
    decoder = msgspec.msgpack.Decoder(list[Entry])
    entries: dict[int, Entry] = {}
    try:
        for row in connection.execute("SELECT entries FROM log ORDER BY number"):
            entries.update((entry.position, entry) for entry in decoder.decode(row[0]) if entry.position > compacted)
    except (msgspec.MsgspecError, TypeError) as error:
        raise damaged(path, f"its log: {error}") from error
    return [entries[position] for position in sorted(entries)]


def _read_state(connection: sqlite3.Connection, path: Path) -> _State:
    rows = connection.execute("SELECT name, value FROM state").fetchall()
    try:
        values = {name: msgspec.Raw(str(value).encode()) for name, value in rows}
        return msgspec.json.decode(msgspec.json.encode(values), type=_State)
    except msgspec.MsgspecError as error:
        raise damaged(path, f"its table of state: {error}") from error


def _write_state(connection: sqlite3.Connection, changes: dict[str, object]) -> None:
    connection.executemany(
        "INSERT OR REPLACE INTO state VALUES (?, ?)",
        [(name, msgspec.json.encode(value).decode()) for name, value in changes.items()],
    )
