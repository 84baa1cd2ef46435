"""The disk's thread: carries out what group commit (storage/group_commit.py) says, so that the event loop goes on.

It takes the next step as soon as it is free, without waiting for the event loop.

The event loop itself carries out small commits while the disk is quick and the thread has nothing to do: to wake a
thread, and to be woken by it, takes longer than such a commit. That is for nodes that may stand still for a moment
without harm to others (`may_wait`): a commit that takes long is waited for, and those after it are the thread's.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
import time
from collections.abc import Callable
from typing import Final, Protocol

from paxos.messages import Snapshot
from paxos.output import Persist
from storage.errors import StorageError
from storage.group_commit import MAX_BACKLOG, GroupCommit, Step, Writable
from storage.records import Record

SWITCH_INTERVAL_S: Final = 50e-6
"""The interpreter's switch interval: how long the writing thread waits for the GIL. With Python's default of 5 ms every
commit next to a busy event loop takes up to 5 ms longer than the disk needs."""


QUICK_S: Final = 1e-3
"""A disk is quick while commits take less, on average."""
_WEIGHT: Final = 1 / 16
"""Of a commit in the average: one that takes 17 ms ends it, a second is made up for by 66 quick ones."""
SMALL_BYTES: Final = 8 * 1024
"""Larger commits are the thread's: they are those of a busy node, whose event loop has better things to do."""
CHECKPOINT_EVERY: Final = 1000
"""One in so many commits is the thread's in any case: it alone makes checkpoints of the write-ahead log."""


class Closable(Writable, Protocol):
    postpone_checkpoints: bool
    """While on, no write takes longer because it also tidies up."""

    def close(self) -> None: ...


class DiskWriter:
    """Owns a database. Must be created and used in the thread of `loop`; all callbacks run there. See
    GroupCommit for what is promised."""

    def __init__(
        self, database: Closable, loop: asyncio.AbstractEventLoop, failed: Callable[[StorageError], None],
        max_backlog: int = MAX_BACKLOG, clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`failed` is called once, at the first failure. Shortens the switch interval of the whole process (see
        SWITCH_INTERVAL_S). `clock` must be callable from any thread."""
        self._database = database
        self._loop = loop
        self._clock = clock
        self._commit = GroupCommit(failed, max_backlog)
        self._wake = threading.Condition()
        self._closed: asyncio.Future[None] = loop.create_future()
        self.may_wait = False
        """The event loop may wait for a commit that is likely to be quick."""
        self._average_s = 1.0
        """Of the last commits, in seconds; a new disk has to show that it is quick."""
        self._is_threads = False
        """What has gathered is the thread's to carry out."""
        self._under_way = 0
        """Steps that the thread has taken and the event loop has not heard of since."""
        self._due_here = False
        self._since_thread = 0
        """Commits in the event loop since the thread made one."""
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
            if self._is_threads or self._under_way or not self._waits() or not _is_brief(record):
                self._leave_to_thread()
            elif not self._due_here:
                self._due_here = True
                self._loop.call_soon(self._carry_out_here)

    def load_snapshot(self, done: Callable[[Snapshot | StorageError], None]) -> None:
        with self._wake:
            self._commit.load_snapshot(done)
            self._leave_to_thread()

    async def close(self) -> None:
        """Writes what waits, then closes the database."""
        with self._wake:
            self._commit.close()
            self._leave_to_thread()
        await asyncio.shield(self._closed)

    def _leave_to_thread(self) -> None:
        """Everything that waits, in its order. To be called with the lock."""
        self._is_threads = True
        self._wake.notify()

    # ---- In the event loop

    def _waits(self) -> bool:
        """Whether the event loop waits for what has gathered."""
        return (
            self.may_wait and self._average_s < QUICK_S and self._commit.backlog <= SMALL_BYTES
            and self._since_thread < CHECKPOINT_EVERY
        )

    def _carry_out_here(self) -> None:
        """What has gathered in this turn of the event loop, unless it is the thread's by now."""
        self._due_here = False
        with self._wake:
            if not self._is_threads and not self._waits():
                self._leave_to_thread()
            step = None if self._is_threads else self._commit.take()
        if step is not None:
            self._since_thread += 1
            self._database.postpone_checkpoints = True
            begun = self._clock()
            self._commit.carry_out(step, self._database)
            self._measured(self._clock() - begun)
            self._commit.finish(step)

    def _finish(self, step: Step, seconds: float) -> None:
        """The thread has carried this out."""
        with self._wake:
            self._under_way -= 1
            self._is_threads = self._commit.waiting
        self._since_thread = 0
        self._measured(seconds)
        self._commit.finish(step)

    def _measured(self, seconds: float) -> None:
        self._average_s += (seconds - self._average_s) * _WEIGHT

    # ---- The thread

    def _run(self) -> None:
        """Until closed."""
        commit = self._commit
        while True:
            with self._wake:
                while (step := self._take()) is None and not commit.closed:
                    self._wake.wait()
            if step is None:
                break
            self._database.postpone_checkpoints = False
            begun = self._clock()
            commit.carry_out(step, self._database)
            self._tell(self._finish, step, self._clock() - begun)
        try:
            self._database.close()
        finally:
            self._tell(self._set_closed)

    def _take(self) -> Step | None:
        step = self._commit.take() if self._is_threads else None
        if step is not None:
            self._under_way += 1
        return step

    def _set_closed(self) -> None:
        if not self._closed.done():
            self._closed.set_result(None)

    def _tell(self, callback: Callable[..., object], *arguments: object) -> None:
        """Calls a function in the event loop."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: nothing is left to notify
            self._loop.call_soon_threadsafe(callback, *arguments)


def _is_brief(record: Record | None) -> bool:
    """Snapshots and cutting the log take a while, however small the record is."""
    return record is None or (isinstance(record, Persist) and record.snapshot is None and record.compacted is None)
