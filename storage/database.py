"""The node's disk: one SQLite file. See storage/tables.py for what is in it, storage/writer.py for how writes are
gathered.

Every write is one transaction, appended to the write-ahead log and synced before `write` returns. It takes few calls of
SQLite however much it holds: each call gives up the interpreter, and getting it back from a busy event loop takes time.
The usual one, of operations that were accepted, is one statement and one row.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from paxos.messages import Snapshot
from paxos.output import Durable, Persist, VoterStatus
from storage.errors import StorageDamaged, StorageError, explain, shown
from storage.inspection import APPLICATION_ID, VERSION, is_new, make_folder, sync_folder
from storage.lock import Lock
from storage.migration import OLD_VERSION, migrate
from storage.records import Compaction, Record
from storage.set_aside import had_damage, set_aside
from storage.tables import (
    TABLES,
    LogRow,
    State,
    merge_rows,
    read_log,
    read_state,
    snapshot_rows,
    write_log,
    write_state,
)

_SCHEMA: Final = (
    "PRAGMA page_size = 4096",
    "BEGIN EXCLUSIVE",
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {VERSION}",
    *TABLES,
)

CHECKPOINT_PAGES: Final = 4000
"""Of 4 KiB in the write-ahead log: seldom enough for throughput, often enough to stay small."""

_CACHE: Final = "PRAGMA cache_size = -8192"
"""KiB: the index pages that a snapshot of a large store changes are not read anew."""
_CACHE_WHILE_READING: Final = "PRAGMA cache_size = -512"
"""For reading everything once: such pages would only take the place of those that are needed again."""

_SETTINGS: Final = (
    "PRAGMA locking_mode = EXCLUSIVE",  # nobody else may change what this node promised while it runs
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",  # in WAL mode: the log is synced by every commit
    "PRAGMA fullfsync = ON",  # on macOS, where a sync otherwise stops short of the disk's own cache
    "PRAGMA checkpoint_fullfsync = ON",
    f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}",
    _CACHE_WHILE_READING,
    "PRAGMA secure_delete = OFF",  # where it is on, releasing the log writes all of it once more, as zeros
    "PRAGMA journal_size_limit = 33554432",  # a huge transaction's WAL shrinks to this many bytes at the next turn
)

_BUSY_SECONDS: Final = 1.0


class Database:
    """Made by `open`. Used by one thread at a time. After a failed write nothing can be written any more: what the
    disk holds is then uncertain, and only opening it again tells."""

    def __init__(
        self, path: Path, cluster: str, connection: sqlite3.Connection, durable: Durable, lock: Lock
    ) -> None:
        self.path = path
        self.cluster = cluster
        """The name of the cluster whose node's it is."""
        self.durable = durable
        """What was found at open."""
        self.notice: str | None = None
        """What users should know about the opening."""
        self._connection = connection
        self._lock = lock
        self._compacted = durable.compacted
        self._said: dict[str, object] = {}
        """What rows of the log say and those of `state` do not yet: it goes there before any of the log is cut."""
        self._failed = False
        self.postpone_checkpoints = self._postponing = False
        """While on, what is in the write-ahead log stays there, so that no write takes longer for it."""

    @classmethod
    def open(
        cls, path: Path, cluster: str, pid: int, now_us: int, *, background: bool = False, replace_damaged: bool = False
    ) -> Database:
        """Opens the file of node `pid` of `cluster`, or creates it, and begins a new incarnation: `now_us` (the time of
        day in microseconds) or one more than the last one, whichever is larger.

        Raises StorageLocked if another process uses it (`background` is what such a process will be told about this
        one), StorageDamaged, and StorageError for anything else, for example if it is not this node's; it is then left
        as it is. With `replace_damaged`, a file that is certainly damaged is set aside, and a new one created.
        """
        make_folder(path.parent)
        lock = Lock(path, background)
        try:
            try:
                return cls(path, cluster, *_open(path, cluster, pid, now_us), lock)
            except StorageDamaged as damage:
                if not replace_damaged or not damage.certain:
                    raise
                kept = set_aside(path)
                database = cls(path, cluster, *_open(path, cluster, pid, now_us), lock)
                database.notice = (
                    f"{path} was damaged ({damage.detail}); it is kept as {kept.name}. This node begins with an empty "
                    "disk, as after the loss of a disk: it gets the conversations from the other nodes"
                )
                return database
        except (sqlite3.Error, OSError) as error:
            lock.release()
            raise explain(error, path) from error
        except BaseException:
            lock.release()
            raise

    def write(self, batch: Sequence[Record]) -> None:
        """Writes all of the batch, in its order, whole or not at all; durable on return. Raises StorageError."""
        if self._failed:
            raise StorageError(f"an earlier write to {self.path} failed; start this node again")
        row, state, rest = self._sorted(batch)
        try:
            if self.postpone_checkpoints != self._postponing:
                self._set_checkpoints()
            if row.entries and not state and not rest:
                write_log(self._connection, row)
            else:
                self._connection.execute("BEGIN IMMEDIATE")
                self._write(row, state, rest)
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

    def _set_checkpoints(self) -> None:
        self._postponing = self.postpone_checkpoints
        pages = 0 if self._postponing else CHECKPOINT_PAGES
        self._connection.execute(f"PRAGMA wal_autocheckpoint = {pages}").fetchall()

    def rows(self) -> Iterator[tuple[bytes, bytes]]:
        """The rows of the stored snapshot, by key, read one by one: there may be many. Raises StorageError;
        StorageDamaged if they are not as written."""
        try:
            self._connection.execute(_CACHE_WHILE_READING)
            yield from snapshot_rows(self._connection, self.path)
            self._connection.execute(_CACHE)
        except sqlite3.Error as error:
            raise explain(error, self.path) from error

    def load_snapshot(self) -> Snapshot:
        """The stored snapshot. Raises StorageError."""
        rows = list(self.rows())
        try:
            state = read_state(self._connection, self.path)
        except sqlite3.Error as error:
            raise explain(error, self.path) from error
        return Snapshot(state.snapshot_position, state.sessions, rows, state.configuration)

    def checkpoint(self) -> None:
        """Has all of the write-ahead log in the file itself. Raises StorageError if it does not get there."""
        try:
            busy, _, _ = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.Error as error:
            raise explain(error, self.path) from error
        if busy:
            raise StorageError(f"{self.path} is open in another program")

    def close(self) -> None:
        """Lets go of the file. Everything written is durable already. May be called twice."""
        with contextlib.suppress(sqlite3.Error):  # tidies up; if the disk is full, the next start does it
            self._connection.close()
        self._lock.release()

    def _sorted(self, batch: Sequence[Record]) -> tuple[LogRow, dict[str, object], list[Record]]:
        """A row of the log, changed rows of `state`, and the records of which anything else is to be written.
        Repeated changes of one thing are written once."""
        row, state, rest = LogRow([]), dict[str, object](), list[Record]()
        for record in batch:
            if isinstance(record, Compaction):
                rest.append(record)
                continue
            row.entries += record.entries
            row.decided = record.decided or row.decided
            row.stamp = record.stamp or row.stamp
            state.update(_changes(record))
            if record.snapshot is not None or record.compacted is not None:
                rest.append(record)
        if row.decided:
            self._said["decided"] = row.decided
        if row.stamp > (0, 0):
            self._said["stamp"] = row.stamp
        return row, state, rest

    def _write(self, row: LogRow, state: dict[str, object], rest: Sequence[Record]) -> None:
        compacted = self._compacted
        for record in rest:
            snapshot = record if isinstance(record, Compaction) else record.snapshot
            if snapshot is not None:
                if snapshot is not record:
                    self._connection.execute("DELETE FROM snapshot")
                    compacted = max(compacted, snapshot.position)
                merge_rows(self._connection, snapshot.rows)
                state.update(_of_snapshot(snapshot))
            if isinstance(record, Persist):
                compacted = max(compacted, record.compacted or 0)
        if row.entries:
            write_log(self._connection, row)
        if compacted > self._compacted:
            self._connection.execute("DELETE FROM log WHERE last <= ?", (compacted,))
            state["released"] = self._compacted = compacted
        write_state(self._connection, self._said | state)
        self._said = {}


def _changes(persist: Persist) -> dict[str, object]:
    """But for what a row of the log may say."""
    changes = {
        "promised": persist.promised, "roster": persist.roster, "standing": persist.voter_status,
        "incarnation": persist.incarnation, "operations_versions": persist.operations_versions,
        "identity": persist.identity, "joins": persist.joins, "remembered": persist.remembered,
    }
    return {name: value for name, value in changes.items() if value is not None}


def _of_snapshot(snapshot: Snapshot | Compaction) -> dict[str, object]:
    return {
        "snapshot_position": snapshot.position, "sessions": snapshot.sessions, "configuration": snapshot.configuration,
    }


def _open(path: Path, cluster: str, pid: int, now_us: int) -> tuple[sqlite3.Connection, Durable]:
    """To be called by who has the lock. Raises StorageError, sqlite3.Error, OSError."""
    if is_new(path):
        _create(path, cluster, pid)
    connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        _run(connection, _SETTINGS)
        durable = _begin(path, connection, cluster, pid, now_us)
        connection.execute(_CACHE)
        return connection, durable
    except BaseException:
        connection.close()
        raise


def _create(path: Path, cluster: str, pid: int) -> None:
    """A crash at any point of this leaves nothing at `path`, or a complete file."""
    making = path.with_name(path.name + ".new")
    for suffix in ("", "-journal", "-wal", "-shm"):
        making.with_name(making.name + suffix).unlink(missing_ok=True)
    # SQLite gives what it puts beside a file the mode of the file.
    os.close(os.open(making, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    with contextlib.closing(sqlite3.connect(making, isolation_level=None)) as connection:
        _run(connection, _SCHEMA)
        status = VoterStatus.LEARNER if had_damage(path) else VoterStatus.NEW
        identity = secrets.randbelow(2**63 - 1) + 1
        state = State(cluster=cluster, pid=pid, identity=identity, incarnation=0, standing=status)
        write_state(connection, msgspec.to_builtins(state))
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
    if connection.execute("PRAGMA user_version").fetchone() == (OLD_VERSION,):
        migrate(connection, path, VERSION)
    state = read_state(connection, path)
    log = read_log(connection, path, state.compacted)
    if (state.cluster, state.pid) != (cluster, pid):
        raise StorageError(
            f"{path} belongs to node {state.pid} of cluster '{shown(state.cluster)}', not to node {pid} of cluster "
            f"'{cluster}'"
        )
    incarnation = max(state.incarnation + 1, now_us)
    decided, stamp = max(state.decided, log.decided), max(state.stamp, log.stamp)
    write_state(connection, {"incarnation": incarnation, "decided": decided, "stamp": stamp})
    connection.execute("COMMIT")
    # So that the write-ahead log holds nothing of an earlier process from now on: see storage/wal.py.
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return Durable(
        identity=state.identity,
        incarnation=incarnation,
        voter_status=state.standing,
        promised=state.promised,
        entries=log.entries,
        decided=max(decided, state.snapshot_position),
        compacted=state.compacted,
        snapshot_position=state.snapshot_position,
        sessions=state.sessions,
        roster=state.roster,
        operations_versions=state.operations_versions,
        configuration=state.configuration,
        remembered=state.remembered,
        stamp=stamp,
        joins=state.joins,
        reopened=state.incarnation > 0,
    )
