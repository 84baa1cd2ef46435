"""Group commit without a thread: what shares a commit, in which order, and what a failure ends."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from paxos.messages import Entry, Operation, Snapshot
from paxos.output import Persist
from storage.errors import StorageError, StorageFull
from storage.group_commit import GroupCommit
from storage.records import Record


class FakeDisk:
    """Carries out one step at a time, when the test says so."""

    def __init__(self, max_backlog: int = 1_000_000) -> None:
        self.commit = GroupCommit(self._failed, max_backlog)
        self.writes: list[list[int | None]] = []
        self.error: Exception | None = None
        self.told: list[object] = []
        """Acknowledged writes, by number; positions of snapshots; errors."""

    def write(self, batch: Sequence[Record]) -> None:
        if self.error is not None:
            raise self.error
        self.writes.append([record.decided for record in batch if isinstance(record, Persist)])

    def load_snapshot(self) -> Snapshot:
        """Its position says how many records have been written."""
        if self.error is not None:
            raise self.error
        return Snapshot(sum(map(len, self.writes)), {}, [])

    def ask(self, *numbers: int) -> None:
        for number in numbers:
            self.commit.write(Persist(decided=number), lambda number=number: self.told.append(number))  # type: ignore[misc]

    def ask_to_be_told(self, number: int) -> None:
        self.commit.write(None, lambda: self.told.append(number))

    def ask_for_snapshot(self) -> None:
        self.commit.load_snapshot(
            lambda loaded: self.told.append(loaded if isinstance(loaded, StorageError) else f"at {loaded.position}")
        )

    def work(self) -> bool:
        step = self.commit.take()
        if step is None:
            return False
        before = list(self.told)
        self.commit.carry_out(step, self)
        assert self.told == before, "only `finish` tells"
        self.commit.finish(step)
        return True

    def work_through(self) -> None:
        while self.work():
            pass

    def _failed(self, error: StorageError) -> None:
        self.told.append(f"failed: {error}")


def test_what_gathers_shares_a_commit_and_is_acknowledged_in_order() -> None:
    disk = FakeDisk()
    disk.ask(1)
    first = disk.commit.take()
    assert first is not None
    disk.ask(2, 3)
    disk.commit.carry_out(first, disk)
    disk.ask(4)
    assert disk.told == []
    disk.commit.finish(first)
    assert disk.told == [1]
    disk.work_through()
    assert disk.writes == [[1], [2, 3, 4]] and disk.told == [1, 2, 3, 4] and disk.commit.commits == 2


def test_the_next_step_need_not_wait_for_the_last_one_to_be_told() -> None:
    disk = FakeDisk()
    disk.ask(1)
    first = disk.commit.take()
    disk.ask(2)
    second = disk.commit.take()
    assert first is not None and second is not None
    disk.commit.carry_out(first, disk)
    disk.commit.carry_out(second, disk)
    disk.commit.finish(first)
    disk.commit.finish(second)
    assert disk.writes == [[1], [2]] and disk.told == [1, 2]


def test_what_only_waits_is_told_in_its_turn_and_costs_no_write() -> None:
    disk = FakeDisk()
    disk.ask_to_be_told(1)
    disk.work_through()
    assert disk.told == [1] and disk.writes == []
    disk.ask(2)
    disk.ask_to_be_told(3)
    disk.ask(4)
    disk.work_through()
    assert disk.told == [1, 2, 3, 4] and disk.writes == [[2, 4]]


def test_reads_keep_their_place_between_writes() -> None:
    disk = FakeDisk()
    disk.ask(1, 2)
    disk.ask_for_snapshot()
    disk.ask(3)
    disk.ask_for_snapshot()
    disk.ask_for_snapshot()
    disk.work_through()
    assert disk.told == [1, 2, "at 2", 3, "at 3", "at 3"]


def test_a_failed_read_is_no_failed_write() -> None:
    disk = FakeDisk()
    disk.error = error = StorageError("cannot read")
    disk.ask_for_snapshot()
    disk.work_through()
    disk.error = None
    disk.ask(1)
    disk.work_through()
    assert disk.told == [error, 1]


def test_the_first_failure_ends_everything() -> None:
    disk = FakeDisk()
    disk.ask(1)
    disk.work_through()
    disk.ask(2)
    failing = disk.commit.take()
    assert failing is not None
    disk.ask(3)
    disk.ask_for_snapshot()
    disk.error = StorageFull("full")
    disk.commit.carry_out(failing, disk)
    disk.error = None  # the disk is fine again, but what it holds is uncertain
    disk.ask(4)
    disk.commit.finish(failing)
    disk.ask(5)
    disk.work_through()
    told = disk.told[:2]
    assert told == [1, "failed: full"] and disk.writes == [[1]]
    (refused,) = disk.told[2:]
    assert isinstance(refused, StorageFull)


def test_an_unforeseen_error_is_a_failure_that_keeps_its_cause() -> None:
    failures: list[StorageError] = []
    commit = GroupCommit(failures.append)
    disk = FakeDisk()
    disk.error = cause = ZeroDivisionError("oops")
    commit.write(Persist(decided=1), lambda: pytest.fail("acknowledged"))
    step = commit.take()
    assert step is not None
    commit.carry_out(step, disk)
    commit.finish(step)
    assert [failure.__cause__ for failure in failures] == [cause] and "oops" in str(failures[0])


def test_it_is_full_until_enough_is_acknowledged() -> None:
    disk = FakeDisk(max_backlog=10_000)
    for number in range(1, 30):
        assert disk.commit.full == (disk.commit.backlog > 10_000)
        entry = Entry(number, (1, 1), Operation(1, 1, number, bytes(1000)))
        disk.commit.write(Persist(entries=[entry]), lambda: None)
    assert disk.commit.full
    step = disk.commit.take()
    assert step is not None
    disk.commit.carry_out(step, disk)
    assert disk.commit.full, "not told yet"
    disk.commit.finish(step)
    assert disk.commit.backlog == 0 and not disk.commit.full


def test_once_closed_nothing_is_taken_and_what_waits_is_done() -> None:
    disk = FakeDisk()
    disk.ask(1)
    disk.commit.close()
    with pytest.raises(StorageError, match="closed"):
        disk.ask(2)
    with pytest.raises(StorageError, match="closed"):
        disk.ask_for_snapshot()
    disk.work_through()
    assert disk.told == [1] and disk.writes == [[1]]
