"""A simulated node's disk: what is on it, and the group commit of one process on virtual time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from paxos.messages import Entry, Snapshot
from paxos.output import Durable
from storage.errors import StorageDamaged, StorageError
from storage.group_commit import Commit, GroupCommit, Step
from storage.memory import MemoryDatabase
from storage.records import Record

if TYPE_CHECKING:
    from tests.simulation.process import Process


class Disk(MemoryDatabase):
    """Can be looked at from outside."""

    unreadable = 0
    """How many of the next attempts to read the snapshot fail."""
    damaged = False
    """The snapshot is not what was written."""

    tampered = False
    """What is in the snapshot was changed, checksums and all."""

    def tamper(self, written: bytes, instead: bytes) -> None:
        """Changes a text in the snapshot, so that no checksum tells."""
        changed = {key: value.replace(written, instead) for key, value in self._rows.items()}
        assert changed != self._rows, "it is not in the snapshot"
        self._rows, self.tampered = changed, True

    @property
    def image(self) -> Durable:
        """Without the entries."""
        return self._image

    @property
    def entries(self) -> Mapping[int, Entry]:
        return self._entries


class InjectedFailure(StorageError):
    """Of a commit, or a read, that was made to fail."""


class InjectedDamage(StorageDamaged):
    """Of the snapshot."""

    def __init__(self) -> None:
        super().__init__(Path("disk"), "its table snapshot", certain=True)


class ProcessDisk:
    """The driver's disk: storage.GroupCommit as it is, and instead of the thread that runs it, virtual time. What has
    not been carried out when the process dies is lost."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._commit = GroupCommit(process.disk_failed)
        self._contents = _Contents(process)
        self._busy = False
        self.waiting = 0
        """Writes that are not on the disk."""

    @property
    def full(self) -> bool:
        return self._commit.full

    def write(self, record: Record | None, done: Callable[[], None]) -> None:
        self._process.passes("before the write")
        self._commit.write(record, done)
        self.waiting += 1
        self._start()

    def load_snapshot(self, done: Callable[[Snapshot | StorageError], None]) -> None:
        self._contents.asked.append(self._process.node.replica.log.compacted)
        self._commit.load_snapshot(done)
        self._start()

    def _start(self) -> None:
        if not self._busy:
            self._busy = True
            self._process.world.at(0.0, self._take)

    def _take(self) -> None:
        """The disk begins with what has gathered."""
        step = self._commit.take() if self._process.alive else None
        if step is None:
            self._busy = False
            return
        world = self._process.world
        delay = world.weather.slow_disks.get(self._process.node.pid, world.weather.fsync)
        if isinstance(step, Commit):
            delay *= 0.5 + world.random.random()
            if all(write.record is None for write in step.writes):
                delay = 0.0
        delay = max(delay, self._process.node.stalled_until - world.now)
        world.at(delay, partial(self._process.do, partial(self._complete, step)))

    def _complete(self, step: Step) -> None:
        """The disk has done it, goes on with the next, and tells the process."""
        if isinstance(step, Commit):
            self._process.passes("before the commit")
        self._commit.carry_out(step, self._contents)
        self._take()
        if isinstance(step, Commit):
            self.waiting -= len(step.writes)
            self._process.passes("committed")
        with self._process.releasing():
            self._commit.finish(step)


class _Contents:
    """What group commit writes to and reads from."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._disk = process.node.disk
        self.asked: deque[int] = deque()
        """What the log had lost when a snapshot was asked for that is not read yet."""

    def write(self, batch: Sequence[Record]) -> None:
        """One record after the other: the process may die between any two."""
        process = self._process
        failing = process.node.takes_failure()
        kept = process.world.random.randint(0, len(batch)) if failing else len(batch)
        for record in batch[:kept]:
            self._disk.write([record])
            self._tell("stored", record)
            process.passes("part of the commit")
        if failing:
            process.node.disk_failed = True
            raise InjectedFailure("the disk is full")

    def load_snapshot(self) -> Snapshot:
        compacted = self.asked.popleft()
        if self._disk.unreadable:
            self._disk.unreadable -= 1
            raise InjectedFailure("the snapshot cannot be read")
        if self._disk.damaged:
            raise InjectedDamage
        snapshot = self._disk.load_snapshot()
        self._tell("loaded", snapshot, compacted)
        return snapshot

    def _tell(self, hook: str, *what: object) -> None:
        for told in self._process.world.watching(hook, self._process.node):
            try:
                told(self._process.world, self._process.node, *what)
            except Exception as error:
                self._process.finding = error  # group commit takes it for a failure of the disk
                raise
