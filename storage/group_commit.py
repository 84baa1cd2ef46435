"""Group commit: whatever gathers while the disk is busy shares the next commit; it is acknowledged when it is durable,
in order.

So a slow disk stays usable: the higher the load, the more records share one commit. Only the order of things
is decided here; who lets time pass is storage/writer.py with a thread, or a simulator.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import msgspec

from paxos.messages import Snapshot
from paxos.output import Persist
from storage.errors import StorageError
from storage.records import Record

MAX_BACKLOG: Final = 64 * 1024 * 1024
_OVERHEAD: Final = 100
"""The approximate overhead in bytes of a record or an entry besides its payload."""

Loaded = Callable[[Snapshot | StorageError], None]


class Writable(Protocol):
    """What group commit needs of a database."""

    def write(self, batch: Sequence[Record]) -> None:
        """Durable on return, whole. Raises StorageError; then nothing can be said of what it holds."""

    def load_snapshot(self) -> Snapshot:
        """Raises StorageError."""


class _Write(msgspec.Struct):
    record: Record | None
    done: Callable[[], None]
    size: int


class Commit(msgspec.Struct):
    """What becomes durable together."""

    writes: list[_Write]
    error: StorageError | None = None


class Load(msgspec.Struct):
    """A reading of the stored snapshot."""

    done: Loaded
    result: Snapshot | StorageError | None = None


Step = Commit | Load
"""What the disk does in one go."""


class GroupCommit:
    """Things for one disk to do, one after the other, in the order in which they were asked for.

    Who asks calls `write` and `load_snapshot`, and `finish` with each step that was carried out, in their order. Who
    works for the disk calls `take` and `carry_out`; that may be another thread, if `write`, `load_snapshot`, `close`
    and `take` exclude each other. After the first failure nothing is written or acknowledged any more: what the disk
    then holds is uncertain.
    """

    def __init__(self, failed: Callable[[StorageError], None], max_backlog: int = MAX_BACKLOG) -> None:
        """`failed` is called once, by `finish`, at the first failure. `max_backlog`: see `full`."""
        self._failed = failed
        self._max_backlog = max_backlog
        self._steps: deque[Step] = deque()
        self._failure: StorageError | None = None
        self._failure_told = False
        self.backlog = 0
        """About how many bytes wait to be durable."""
        self.closed = False
        """Nothing can be asked for any more; what was, is still carried out."""
        self.commits = 0
        """How many were acknowledged."""

    @property
    def full(self) -> bool:
        """True while the disk is so far behind that nothing should be taken in that leads to more writes: messages are
        dropped, which is legal, until this is false again."""
        return self.backlog > self._max_backlog

    @property
    def waiting(self) -> bool:
        """There is something to be carried out."""
        return bool(self._steps)

    def write(self, record: Record | None, done: Callable[[], None]) -> None:
        """Has the record written; `done` is called once it and all earlier ones are durable. None: only all earlier
        ones. Raises StorageError if closed.

        Never refuses for lack of room: a record left out would be a hole. See `full` for how the backlog stays bounded.
        """
        self._check_open()
        if self._failure is not None:
            return
        write = _Write(record, done, _size(record))
        self.backlog += write.size
        last = self._steps[-1] if self._steps else None
        if isinstance(last, Commit):
            last.writes.append(write)
        else:
            self._steps.append(Commit([write]))

    def load_snapshot(self, done: Loaded) -> None:
        """Has the snapshot read as it is after everything that was asked for so far, and before everything that will
        be. Raises StorageError if closed."""
        self._check_open()
        self._steps.append(Load(done))

    def close(self) -> None:
        self.closed = True

    def _check_open(self) -> None:
        if self.closed:
            raise StorageError("the storage is closed")

    # ---- For the disk

    def take(self) -> Step | None:
        """What is to be carried out next: all that has gathered, up to the next read. None if there is nothing."""
        return self._steps.popleft() if self._steps else None

    def carry_out(self, step: Step, database: Writable) -> None:
        """Never raises: whatever goes wrong is a failure of the disk."""
        try:
            if self._failure is not None:
                raise self._failure
            if isinstance(step, Load):
                step.result = database.load_snapshot()
            elif records := [write.record for write in step.writes if write.record is not None]:
                database.write(records)
        except Exception as error:  # noqa: BLE001 - a thread must not die silently, whatever it is
            if isinstance(error, StorageError):
                problem = error
            else:
                problem = StorageError(f"cannot use the disk: {error!r}")
                problem.__cause__ = error
            if isinstance(step, Load):
                step.result = problem
            else:
                self._failure = step.error = problem

    # ---- For who asks

    def finish(self, step: Step) -> None:
        """Tells what came of a step that was carried out."""
        if isinstance(step, Load):
            assert step.result is not None, "it was carried out"
            step.done(step.result)
        elif step.error is None:
            self.commits += 1
            for write in step.writes:
                self.backlog -= write.size
                write.done()
        elif not self._failure_told:
            self._failure_told = True
            self._failed(step.error)


def _size(record: Record | None) -> int:
    size = _OVERHEAD
    if isinstance(record, Persist):
        size += sum(_OVERHEAD + len(entry.operation.payload) for entry in record.entries)
        rows: Sequence[tuple[bytes, bytes | None]] = record.snapshot.rows if record.snapshot is not None else ()
    else:
        rows = record.rows if record is not None else ()
    return size + sum(_OVERHEAD + len(key) + len(value or b"") for key, value in rows)
