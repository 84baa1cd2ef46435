"""Group commit: one thread writes to the disk, and whatever gathers while it waits for the disk shares the next sync.

That is what makes a slow disk bearable: the more it is asked, the more goes into one commit.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Final, Protocol, TypeVar

import msgspec

from paxos.output import Persist
from storage.errors import StorageError
from storage.records import Record

MAX_BACKLOG: Final = 64 * 1024 * 1024
_OVERHEAD: Final = 100
"""Bytes that a record or an entry takes besides its payload, roughly."""

SWITCH_INTERVAL_S: Final = 50e-6
"""How long the writing thread waits for its turn in the interpreter before it insists. With Python's own 5 ms every
commit beside a busy event loop takes up to 5 ms more than the disk needs."""

T = TypeVar("T")


class Writable(Protocol):
    """What a GroupCommit needs of a database."""

    def write(self, batch: Sequence[Record]) -> None: ...

    def close(self) -> None: ...


class _Job(msgspec.Struct):
    """Either something to write and whom to tell, or something to call."""

    record: Record | None
    done: Callable[[], None]
    size: int


class GroupCommit:
    """Owns a database from now on. To be made and used in the thread of `loop`; all callbacks run there.

    Records become durable in the order of `submit`. After the first failure nothing is acknowledged any more: what
    the disk then holds is uncertain.
    """

    def __init__(
        self,
        database: Writable,
        loop: asyncio.AbstractEventLoop,
        failed: Callable[[StorageError], None],
        max_backlog: int = MAX_BACKLOG,
    ) -> None:
        """`failed` is called once, at the first failure. `max_backlog`: see `full`. Shortens the switch interval of the
        whole process (see SWITCH_INTERVAL_S)."""
        self._database = database
        self._loop = loop
        self._failed = failed
        self._max_backlog = max_backlog
        self._failure: StorageError | None = None
        self._wake = threading.Condition()
        self._jobs: list[_Job] = []
        self._backlog = 0
        self._closing = False
        self._closed: asyncio.Future[None] = loop.create_future()
        self.commits = 0
        """How many transactions were acknowledged."""
        sys.setswitchinterval(min(sys.getswitchinterval(), SWITCH_INTERVAL_S))
        self._thread = threading.Thread(target=self._work, name="storage", daemon=True)
        self._thread.start()

    @property
    def backlog(self) -> int:
        """About how many bytes wait for the disk."""
        return self._backlog

    @property
    def full(self) -> bool:
        """True while the disk is so far behind that the host should take in nothing that leads to more writes: it
        drops messages, which is legal, until this is false again."""
        return self._backlog > self._max_backlog

    def submit(self, record: Record, done: Callable[[], None]) -> None:
        """Has the record written; calls `done` once it is durable. Returns at once.

        Never refuses: a record left out would be a hole. See `full` for how the host keeps the backlog bounded.
        """
        if self._failure is not None:
            return
        self._put(_Job(record, done, _size(record)))

    def run(self, function: Callable[[], T]) -> asyncio.Future[T]:
        """Calls `function`, for example `database.load_snapshot`, in the writing thread, after everything submitted so
        far is durable. The future fails with what it raises, or with the StorageError if writing has failed."""
        future: asyncio.Future[T] = self._loop.create_future()

        def call() -> None:
            try:
                if self._failure is not None:
                    raise self._failure
                result = function()
            except Exception as error:  # noqa: BLE001 - whatever it is, it is the caller's
                self._tell(_fail, future, error)
            else:
                self._tell(_resolve, future, result)

        if self._closing:
            future.set_exception(StorageError("the storage is closed"))
        else:
            self._put(_Job(None, call, 0))
        return future

    async def close(self) -> None:
        """Writes what waits, then closes the database. Nothing can be submitted from here on."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        await asyncio.shield(self._closed)

    def _put(self, job: _Job) -> None:
        with self._wake:
            if self._closing:
                raise StorageError("the storage is closed")
            self._backlog += job.size
            self._jobs.append(job)
            self._wake.notify()

    def _work(self) -> None:
        """The thread: commits whatever has gathered, until closed."""
        while True:
            with self._wake:
                while not self._jobs and not self._closing:
                    self._wake.wait()
                jobs, self._jobs = self._jobs, []
            if not jobs:
                break
            writes: list[_Job] = []
            for job in jobs:
                if job.record is not None:
                    writes.append(job)
                    continue
                self._commit(writes)
                writes = []
                job.done()
            self._commit(writes)
        try:
            self._database.close()
        finally:
            self._tell(_resolve, self._closed, None)

    def _commit(self, jobs: list[_Job]) -> None:
        if not jobs or self._failure is not None:
            return
        try:
            self._database.write([job.record for job in jobs if job.record is not None])
        except Exception as error:  # noqa: BLE001 - the thread must not die silently, whatever it is
            failure = error if isinstance(error, StorageError) else StorageError(f"cannot write to the disk: {error!r}")
            self._failure = failure
            self._tell(self._failed, failure)
        else:
            self._tell(self._acknowledge, jobs)

    def _acknowledge(self, jobs: list[_Job]) -> None:
        self.commits += 1
        for job in jobs:
            self._backlog -= job.size
            job.done()

    def _tell(self, callback: Callable[..., object], *arguments: object) -> None:
        """Has something called in the event loop."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: there is nobody left to tell
            self._loop.call_soon_threadsafe(callback, *arguments)


def _size(record: Record) -> int:
    size = _OVERHEAD
    if isinstance(record, Persist):
        size += sum(_OVERHEAD + len(entry.operation.payload) for entry in record.entries)
        rows: Sequence[tuple[bytes, bytes | None]] = record.snapshot.rows if record.snapshot is not None else ()
    else:
        rows = record.rows
    return size + sum(_OVERHEAD + len(key) + len(value or b"") for key, value in rows)


def _resolve(future: asyncio.Future[T], result: T) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: asyncio.Future[T], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
