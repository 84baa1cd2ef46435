"""A really full disk: acknowledged writes stay, others leave no trace, and the user is told what to do."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from paxos.messages import Entry, Operation, Snapshot
from paxos.output import Persist
from storage.database import Database
from storage.errors import StorageError, StorageFull
from storage.records import Compaction
from storage.writer import DiskWriter

ROOT = Path(__file__).resolve().parents[3]


def persist(position: int, size: int = 20_000) -> Persist:
    return Persist(entries=[Entry(position, (1, 1), Operation(1, 1, position, b"p" * size))], decided=position)


def fill(database: Database) -> tuple[int, StorageError]:
    """Writes until the disk is full; returns the last acknowledged position, and the error."""
    for position in range(1, 10_000):
        try:
            database.write([persist(position)])
        except StorageError as error:
            return position - 1, error
    raise AssertionError("the disk was never full")


def check_full(error: Exception, path: Path) -> None:
    assert isinstance(error, StorageFull)
    sentence = str(error)
    assert str(path) in sentence and "disk is full" in sentence and "Free some space, then start" in sentence


def test_full_file(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    database = Database.open(path, "demo", 1, 1)
    database._connection.execute("PRAGMA max_page_count = 200").fetchall()
    last, error = fill(database)
    check_full(error, path)
    assert last > 10
    with pytest.raises(StorageError, match="start this node again"):
        database.write([Persist(decided=5)])
    database.close()
    durable = Database.open(path, "demo", 1, 1).durable
    assert [entry.position for entry in durable.entries] == list(range(1, last + 1)) and durable.decided == last


@pytest.mark.parametrize("record", [
    Compaction(9, {1: (1, 1)}, [(bytes([number]), b"new" * 10_000) for number in range(100)]),
    Persist(decided=9, snapshot=Snapshot(9, {1: (1, 1)}, [(b"new", b"n" * 2_000_000)])),
])
def test_a_snapshot_that_does_not_fit_leaves_the_old_one(tmp_path: Path, record: Persist | Compaction) -> None:
    path = tmp_path / "node.db"
    database = Database.open(path, "demo", 1, 1)
    old = [(bytes([number]), b"old") for number in range(10)]
    database.write([Persist(entries=[persist(9).entries[0]], snapshot=Snapshot(4, {1: (0, 1)}, old))])
    database._connection.execute("PRAGMA max_page_count = 100").fetchall()
    with pytest.raises(StorageFull):
        database.write([record])
    database.close()
    database = Database.open(path, "demo", 1, 1)
    assert database.load_snapshot() == Snapshot(4, {1: (0, 1)}, old)
    assert (database.durable.decided, len(database.durable.entries)) == (4, 1)
    database.close()


def test_group_commit_on_a_full_disk(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    done: list[int] = []
    failures: list[StorageError] = []

    async def main() -> None:
        database = Database.open(path, "demo", 1, 1)
        database._connection.execute("PRAGMA max_page_count = 200").fetchall()
        writer = DiskWriter(database, asyncio.get_running_loop(), failures.append)
        for position in range(1, 300):
            writer.write(persist(position), lambda position=position: done.append(position))  # type: ignore[misc]
            await asyncio.sleep(0.001 if position % 10 == 0 else 0)
        loaded: asyncio.Future[Snapshot | StorageError] = asyncio.get_running_loop().create_future()
        writer.load_snapshot(loaded.set_result)
        assert isinstance(await loaded, StorageFull)
        writer.write(Persist(promised=None, decided=1), lambda: done.append(-1))
        await writer.close()

    asyncio.run(main())
    (failure,) = failures
    check_full(failure, path)
    assert done == list(range(1, len(done) + 1))
    entries = Database.open(path, "demo", 1, 1).durable.entries
    assert {entry.position for entry in entries} >= set(done)


LIMITED = """
import resource, sys
from pathlib import Path
from tests.unit.storage.test_full import check_full, fill
from storage.database import Database
path = Path(sys.argv[1])
database = Database.open(path, "demo", 1, 1)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
last, error = fill(database)
check_full(error, path)
database.close()
print(last)
"""


@pytest.mark.parametrize("limit", [300_001, 2_000_000])
def test_files_that_may_not_grow(tmp_path: Path, limit: int) -> None:
    """The operating system refuses in the middle of a write to the write-ahead log."""
    path = tmp_path / "node.db"
    output = subprocess.run(
        [sys.executable, "-c", LIMITED, str(path), str(limit)], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert output.returncode == 0, output.stderr
    last = int(output.stdout)
    assert last > 5
    durable = Database.open(path, "demo", 1, 1).durable
    assert [entry.position for entry in durable.entries][:last] == list(range(1, last + 1))
    assert len(durable.entries) <= last + 1


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte, where available."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("mounting is not possible here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_small_disk(small_disk: Path) -> None:
    path = small_disk / "node.db"
    database = Database.open(path, "demo", 1, 1)
    last, error = fill(database)
    check_full(error, path)
    database.close()
    subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True)
    database = Database.open(path, "demo", 1, 1)
    assert [entry.position for entry in database.durable.entries][:last] == list(range(1, last + 1))
    assert len(database.durable.entries) <= last + 1
    database.close()


def test_no_room_for_a_new_file(small_disk: Path) -> None:
    path = small_disk / "node.db"
    with pytest.raises(OSError), (small_disk / "ballast").open("wb", buffering=0) as ballast:
        while ballast.write(b"x" * 4096) == 4096:
            continue
        raise OSError("full")
    with pytest.raises(StorageFull) as refused:
        Database.open(path, "demo", 1, 1)
    assert "disk is full" in str(refused.value)
    (small_disk / "ballast").unlink()
    Database.open(path, "demo", 1, 1).close()
