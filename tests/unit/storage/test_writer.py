"""The disk's thread: acknowledged means durable, in order, and the event loop never waits for the disk."""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from pathlib import Path

import pytest

from paxos.messages import Entry, Operation, Snapshot
from paxos.output import Persist
from storage.database import Database
from storage.errors import StorageError, StorageFull
from storage.records import Compaction, Record
from storage.writer import CHECKPOINT_EVERY, SWITCH_INTERVAL_S, DiskWriter


class SlowDisk:
    """Writes only while its gate is open; fails on demand."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.begun = threading.Event()
        self.writes: list[list[Record]] = []
        self.threads: list[bool] = []
        """Of each write: not in the event loop."""
        self.takes_s = 0.0
        self.now = 0.0
        self.postpone_checkpoints = False
        self.error: Exception | None = None
        self.closed = False

    def write(self, batch: Sequence[Record]) -> None:
        self.begun.set()
        assert self.gate.wait(10)
        if self.error is not None:
            raise self.error
        self.now += self.takes_s
        self.writes.append(list(batch))
        self.threads.append(threading.current_thread() is not threading.main_thread())
        assert self.postpone_checkpoints is not self.threads[-1]

    def load_snapshot(self) -> Snapshot:
        """At a position that tells how many records have been written."""
        return Snapshot(sum(map(len, self.writes)), {}, [])

    def close(self) -> None:
        self.closed = True


class Bench:
    """A DiskWriter on a slow disk, and what it has acknowledged."""

    def __init__(self, max_backlog: int = 1_000_000) -> None:
        self.disk = SlowDisk()
        self.failures: list[StorageError] = []
        self.done: list[int] = []
        self.on_done: Callable[[], None] = lambda: None
        self.writer = DiskWriter(
            self.disk, asyncio.get_running_loop(), self.failures.append, max_backlog, clock=lambda: self.disk.now
        )

    def submit(self, *numbers: int) -> None:
        for number in numbers:
            self.writer.write(persist(number), lambda number=number: self._acknowledged(number))  # type: ignore[misc]

    def _acknowledged(self, number: int) -> None:
        self.done.append(number)
        self.on_done()

    def load(self) -> asyncio.Future[Snapshot | StorageError]:
        """What `load_snapshot` tells."""
        loaded: asyncio.Future[Snapshot | StorageError] = asyncio.get_running_loop().create_future()
        self.writer.load_snapshot(loaded.set_result)
        return loaded

    async def commits(self, count: int, takes_s: float) -> list[bool]:
        """So many one after the other, each of which takes so long: which of them the thread carried out."""
        self.disk.takes_s = takes_s
        before = len(self.disk.threads)
        for number in range(count):
            stored = asyncio.Event()
            self.writer.write(persist(number), stored.set)
            await stored.wait()
        return self.disk.threads[before:]

    async def begun(self) -> None:
        """Waits until the disk is busy with a write."""
        await asyncio.to_thread(self.disk.begun.wait, 10)

    def written(self) -> list[list[int | None]]:
        return [[record.decided for record in batch if isinstance(record, Persist)] for batch in self.disk.writes]

    def flat(self) -> list[int | None]:
        return [number for write in self.written() for number in write]


def persist(number: int, size: int = 0) -> Persist:
    return Persist(entries=[Entry(number, (1, 1), Operation(1, 1, number, b"p" * size))], decided=number)


def in_loop(test: Callable[[], Coroutine[object, object, None]]) -> Callable[[], None]:
    def run() -> None:
        asyncio.run(asyncio.wait_for(test(), 30))

    run.__name__ = test.__name__
    return run


async def drained(bench: Bench) -> None:
    """Everything submitted so far has been written and acknowledged."""
    await bench.load()


@in_loop
async def test_acknowledged_in_order_and_only_once_written() -> None:
    bench = Bench()
    written_first: list[bool] = []
    bench.on_done = lambda: written_first.append(bench.done[-1] in bench.flat())
    for number in range(1, 101):
        bench.submit(number)
        await asyncio.sleep(0)
    await drained(bench)
    assert bench.done == list(range(1, 101)) and all(written_first)
    assert bench.flat() == bench.done
    await bench.writer.close()


@in_loop
async def test_what_gathers_during_a_commit_shares_the_next_one_and_the_loop_goes_on() -> None:
    bench = Bench()
    bench.disk.gate.clear()
    bench.submit(1)
    await bench.begun()
    for number in range(2, 51):
        bench.submit(number)
        await asyncio.sleep(0)  # the event loop runs while the disk is blocked
    assert bench.done == [] and bench.writer.backlog > 0
    bench.disk.gate.set()
    await drained(bench)
    assert bench.done == list(range(1, 51))
    assert bench.written() == [[1], list(range(2, 51))]
    assert bench.writer.commits == 2 and bench.writer.backlog == 0
    await bench.writer.close()


@in_loop
async def test_after_a_failure_nothing_is_acknowledged() -> None:
    bench = Bench()
    bench.submit(1)
    await drained(bench)
    bench.disk.begun.clear()
    bench.disk.gate.clear()
    bench.disk.error = StorageFull("full")
    bench.submit(2)
    await bench.begun()
    bench.submit(3)
    reading = bench.load()
    bench.disk.gate.set()
    assert isinstance(await reading, StorageFull)
    bench.disk.error = None  # the disk is fine again, but what it holds is uncertain
    bench.submit(4)
    assert isinstance(await bench.load(), StorageFull)
    assert bench.done == [1] and bench.written() == [[1]]
    assert [str(error) for error in bench.failures] == ["full"]
    await bench.writer.close()
    assert bench.disk.closed and bench.done == [1] and len(bench.failures) == 1


@in_loop
async def test_an_unforeseen_error_is_a_failure_too() -> None:
    bench = Bench()
    bench.disk.error = ZeroDivisionError("oops")
    bench.submit(1)
    assert "ZeroDivisionError('oops')" in str(await bench.load())
    assert len(bench.failures) == 1 and bench.done == []
    await bench.writer.close()


def failing() -> Snapshot:
    raise StorageError("cannot read")


@in_loop
async def test_small_commits_of_a_quick_disk_are_waited_for_until_one_takes_long() -> None:
    bench = Bench()
    assert all(await bench.commits(200, takes_s=0.0001))  # nobody said that this node may stand still
    bench.writer.may_wait = True
    assert not any(await bench.commits(CHECKPOINT_EVERY, takes_s=0.0001))
    assert await bench.commits(3, takes_s=0.0001) == [True, False, False]  # one may make a checkpoint
    assert await bench.commits(3, takes_s=1.0) == [False, True, True]
    after = await bench.commits(300, takes_s=0.0001)
    assert all(after[:60]) and not any(after[200:])
    assert all((await bench.commits(100, takes_s=0.002))[50:])  # never long, but not quick either
    await bench.writer.close()


@in_loop
async def test_what_takes_a_while_is_the_threads_and_the_order_stays() -> None:
    bench = Bench()
    bench.writer.may_wait = True
    await bench.commits(200, takes_s=0.0001)
    bench.disk.writes.clear()
    bench.disk.threads.clear()
    large, cut, snapshot = persist(2, size=10_000), Persist(decided=3, compacted=1), Compaction(1, {}, [])
    records: list[Record] = [persist(1), large, persist(5), cut, persist(7), snapshot, persist(9)]
    for number, record in enumerate(records, 1):
        bench.writer.write(record, partial(bench.done.append, number))
        if number % 2 == 0:
            await drained(bench)  # a read is the thread's, too, and with it all that waits before it
    bench.submit(8)
    bench.writer.may_wait = False
    await drained(bench)
    assert bench.done == list(range(1, 9)) and all(bench.disk.threads)
    bench.writer.may_wait = True
    bench.submit(9)
    bench.writer.may_wait = False  # it leads from now on
    await drained(bench)
    bench.writer.may_wait = True
    bench.submit(10)
    await bench.writer.close()
    assert bench.done[8:] == [9, 10] and all(bench.disk.threads) and not bench.failures


@in_loop
async def test_a_failure_in_the_event_loop_is_one_of_the_disk() -> None:
    bench = Bench()
    bench.writer.may_wait = True
    await bench.commits(200, takes_s=0.0001)
    bench.disk.error = StorageFull("full")
    bench.submit(1, 2)
    await asyncio.sleep(0)
    bench.disk.error = None
    bench.submit(3)
    assert len(bench.failures) == 1
    assert isinstance(await bench.load(), StorageFull) and bench.done == [] and len(bench.failures) == 1
    await bench.writer.close()


@in_loop
async def test_reads_see_what_was_submitted_before_them() -> None:
    bench = Bench()
    bench.disk.gate.clear()
    bench.submit(1)
    await bench.begun()
    bench.submit(2)
    first = bench.load()
    bench.submit(3)
    second = bench.load()
    bench.disk.gate.set()
    assert [read.position for read in (await first, await second) if isinstance(read, Snapshot)] == [2, 3]
    whole = bench.disk.load_snapshot
    bench.disk.load_snapshot = failing  # type: ignore[method-assign]
    assert str(await bench.load()) == "cannot read"
    bench.disk.load_snapshot = whole  # type: ignore[method-assign]
    bench.submit(4)  # a failed read is no failed write
    await drained(bench)
    assert bench.done == [1, 2, 3, 4] and not bench.failures
    await bench.writer.close()


@in_loop
async def test_a_full_backlog_is_told_so_that_the_host_can_take_in_less_and_nothing_is_left_out() -> None:
    bench = Bench(max_backlog=10_000)
    bench.disk.gate.clear()
    for number in range(30):
        assert bench.writer.full == (bench.writer.backlog > 10_000)
        bench.writer.write(persist(number, size=1000), lambda: None)
    assert bench.writer.full
    bench.disk.gate.set()
    await drained(bench)
    assert not bench.writer.full and bench.writer.backlog == 0
    bench.submit(1)
    await drained(bench)
    assert bench.done == [1]
    await bench.writer.close()


@in_loop
async def test_closing_writes_what_waits() -> None:
    bench = Bench()
    bench.disk.gate.clear()
    bench.submit(1)
    await bench.begun()
    bench.submit(2, 3)
    closing = asyncio.create_task(bench.writer.close())
    await asyncio.sleep(0)
    with pytest.raises(StorageError, match="closed"):
        bench.submit(4)
    with pytest.raises(StorageError, match="closed"):
        bench.load()
    bench.disk.gate.set()
    await closing
    assert bench.done == [1, 2, 3] and bench.disk.closed
    await bench.writer.close()


def test_a_loop_that_is_gone_does_not_disturb_the_thread() -> None:
    benches: list[Bench] = []

    async def main() -> None:
        benches.append(Bench())
        benches[0].disk.gate.clear()
        benches[0].submit(1)
        await benches[0].begun()

    asyncio.run(main())
    bench = benches[0]
    bench.disk.gate.set()
    with bench.writer._wake:
        bench.writer._commit.close()
        bench.writer._wake.notify()
    bench.writer._thread.join(10)
    assert not bench.writer._thread.is_alive() and bench.disk.closed and bench.done == []


def test_a_busy_loop_does_not_starve_the_writer(tmp_path: Path) -> None:
    """A loop that never idles and often calls into the operating system."""

    async def main() -> None:
        database = Database.open(tmp_path / "node.db", "demo", 1, 1)
        writer = DiskWriter(database, asyncio.get_running_loop(), lambda error: pytest.fail(str(error)))
        done: list[int] = []

        def next_one() -> None:
            done.append(len(done))
            if len(done) < 100:
                writer.write(persist(len(done)), next_one)

        one, other = socket.socketpair()
        with one, other:
            writer.write(persist(1), next_one)
            while len(done) < 100:
                sum(range(20_000))
                one.send(b"x")
                other.recv(1)
                await asyncio.sleep(0)
        await writer.close()

    asyncio.run(asyncio.wait_for(main(), 20))
    assert sys.getswitchinterval() <= SWITCH_INTERVAL_S * 1.01
