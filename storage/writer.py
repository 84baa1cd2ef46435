"""The disk's thread: carries out what group commit (storage/group_commit.py) says, so that the event loop never waits.

It takes the next step as soon as it is free, without waiting for the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
from collections.abc import Callable
from typing import Final, Protocol

from paxos.messages import Snapshot
from storage.errors import StorageError
from storage.group_commit import MAX_BACKLOG, GroupCommit, Writable
from storage.records import Record

SWITCH_INTERVAL_S: Final = 50e-6
"""The interpreter's switch interval: how long the writing thread waits for the GIL. With Python's default of 5 ms every
commit next to a busy event loop takes up to 5 ms longer than the disk needs."""


class Closable(Writable, Protocol):
    def close(self) -> None: ...


class DiskWriter:
    """Owns a database. Must be created and used in the thread of `loop`; all callbacks run there. See
    GroupCommit for what is promised."""

    def __init__(
        self, database: Closable, loop: asyncio.AbstractEventLoop, failed: Callable[[StorageError], None],
        max_backlog: int = MAX_BACKLOG,
    ) -> None:
        """`failed` is called once, at the first failure. Shortens the switch interval of the whole process (see
        SWITCH_INTERVAL_S)."""
        self._database = database
        self._loop = loop
        self._commit = GroupCommit(failed, max_backlog)
        self._wake = threading.Condition()
        self._closed: asyncio.Future[None] = loop.create_future()
        sys.setswitchinterval(min(sys.getswitchinterval(), SWITCH_INTERVAL_S))
        self._thread = threading.Thread(target=self._run, name="storage", daemon=True)
        self._thread.start()

    @property
    def backlog(self) -> int:
        return self._commit.backlog

    @property
    def full(self) -> bool:
        return self._commit.full

    @property
    def commits(self) -> int:
        return self._commit.commits

    def write(self, record: Record | None, done: Callable[[], None]) -> None:
        with self._wake:
            self._commit.write(record, done)
            self._wake.notify()

    def load_snapshot(self, done: Callable[[Snapshot | StorageError], None]) -> None:
        with self._wake:
            self._commit.load_snapshot(done)
            self._wake.notify()

    async def close(self) -> None:
        """Writes what waits, then closes the database."""
        with self._wake:
            self._commit.close()
            self._wake.notify()
        await asyncio.shield(self._closed)

    def _run(self) -> None:
        """The thread, until closed."""
        commit = self._commit
        while True:
            with self._wake:
                while (step := commit.take()) is None and not commit.closed:
                    self._wake.wait()
            if step is None:
                break
            commit.carry_out(step, self._database)
            self._tell(commit.finish, step)
        try:
            self._database.close()
        finally:
            self._tell(self._set_closed)

    def _set_closed(self) -> None:
        if not self._closed.done():
            self._closed.set_result(None)

    def _tell(self, callback: Callable[..., object], *arguments: object) -> None:
        """Calls a function in the event loop."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: nothing is left to notify
            self._loop.call_soon_threadsafe(callback, *arguments)
