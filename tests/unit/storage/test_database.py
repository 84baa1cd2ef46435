"""What a node finds on its disk again, and how little space it takes there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from paxos.ballot import Ballot
from paxos.messages import Configuration, Entry, Operation, Snapshot, Vouched
from paxos.output import Durable, Persist, VoterStatus
from storage.database import Database
from storage.errors import StorageError
from storage.records import Compaction


def entry(position: int, seq_num: int = 1, size: int = 10) -> Entry:
    return Entry(position, (seq_num, 1), Operation(1, 1, position, b"p" * size))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "made" / "on demand" / "node?1#%.db"


@pytest.fixture
def database(path: Path) -> Iterator[Database]:
    database = open_database(path)
    yield database
    database.close()


def open_database(path: Path, now_us: int = 1000) -> Database:
    return Database.open(path, "demo", 1, now_us)


def reopened(database: Database, now_us: int = 1000) -> Durable:
    """What the next process finds."""
    database.close()
    again = open_database(database.path, now_us)
    again.close()
    return again.durable


def test_a_new_file(database: Database) -> None:
    durable = database.durable
    assert durable == Durable(durable.identity, 1000)
    assert 0 < durable.identity < 2**63
    assert list(database.rows()) == [] and database.load_snapshot() == Snapshot(0, {}, [])


def test_new_files_have_different_identities(tmp_path: Path) -> None:
    databases = [open_database(tmp_path / name) for name in "ab"]
    assert databases[0].durable.identity != databases[1].durable.identity
    for database in databases:
        database.close()


def test_incarnations_grow_whatever_the_clock_says(database: Database) -> None:
    identity = database.durable.identity
    for now_us, expected in [(2000, 2000), (2000, 2001), (5, 2002), (0, 2003), (9000, 9000)]:
        durable = reopened(database, now_us)
        assert (durable.identity, durable.incarnation) == (identity, expected)


def test_everything_is_found_again(database: Database) -> None:
    persist = Persist(
        Ballot(3, 2, 1), [entry(5), entry(6), entry(9)], 6, 4, {1: 10, 2: 2**63 - 1}, VoterStatus.VOTER, 4000,
        Snapshot(4, {1: (7, 8)}, [(b"b", b"2"), (b"a", b"1")], Configuration(2, 2**63 - 1, {1: 10, 2: 0}, 3)),
        {1: 2, 3: 1}, 77, {2: Vouched(20, (3, 2))}, (4000, 5), 2**62,
    )
    database.write([persist])
    assert list(database.rows()) == [(b"a", b"1"), (b"b", b"2")]
    assert reopened(database) == Durable(
        77, 4001, VoterStatus.VOTER, Ballot(3, 2, 1), [entry(5), entry(6), entry(9)], 6, 4, 4,
        {1: (7, 8)}, {1: 10, 2: 2**63 - 1}, {1: 2, 3: 1}, Configuration(2, 2**63 - 1, {1: 10, 2: 0}, 3),
        {2: Vouched(20, (3, 2))}, (4000, 5), 2**62, reopened=True,
    )


def test_later_acceptances_override_earlier_ones(database: Database) -> None:
    database.write([Persist(entries=[entry(1), entry(2), entry(3)])])
    database.write([Persist(entries=[entry(2, 5)]), Persist(entries=[entry(2, 6), entry(4, 6)])])
    assert reopened(database).entries == [entry(1), entry(2, 6), entry(3), entry(4, 6)]


def test_released_entries_are_gone_and_stay_gone(database: Database) -> None:
    database.write([Persist(entries=[entry(position) for position in range(1, 11)], decided=10)])
    database.write([Persist(compacted=7)])
    database.write([Persist(entries=[entry(3), entry(7, 9)], compacted=2)])
    durable = reopened(database)
    assert durable.compacted == 7 and durable.entries == [entry(8), entry(9), entry(10)]


def test_a_compaction_keeps_the_log_for_nodes_that_are_behind(database: Database) -> None:
    database.write([Persist(entries=[entry(1), entry(2), entry(3)], decided=2)])
    database.write([Compaction(2, {1: (1, 2)}, [(b"a", b"1"), (b"b", b"2")])])
    database.write([Compaction(3, {1: (1, 3)}, [(b"a", None), (b"b", b"3"), (b"c", b"4"), (b"never", None)])])
    assert database.load_snapshot() == Snapshot(3, {1: (1, 3)}, [(b"b", b"3"), (b"c", b"4")])
    durable = reopened(database)
    assert durable.entries == [entry(1), entry(2), entry(3)]
    assert (durable.snapshot_position, durable.decided, durable.compacted) == (3, 3, 0)
    assert durable.sessions == {1: (1, 3)}


def test_a_snapshot_from_a_peer_replaces_rows_and_log(database: Database) -> None:
    database.write([Persist(entries=[entry(1), entry(2), entry(9)]), Compaction(1, {}, [(b"old", b"1")])])
    database.write([Persist(snapshot=Snapshot(8, {2: (5, 6)}, [(b"new", b"2")]))])
    assert list(database.rows()) == [(b"new", b"2")]
    durable = reopened(database)
    assert durable.entries == [entry(9)]
    assert (durable.snapshot_position, durable.compacted, durable.decided) == (8, 8, 8)


def test_a_write_that_fails_leaves_no_trace_and_is_the_last(database: Database) -> None:
    database.write([Persist(promised=Ballot(1, 1, 1))])
    with pytest.raises(StorageError, match="too large"):
        database.write([Persist(promised=Ballot(2, 1, 1)), Persist(entries=[entry(2**63)])])
    with pytest.raises(StorageError, match="start this node again"):
        database.write([Persist(decided=1)])
    assert reopened(database).promised == Ballot(1, 1, 1)


def test_settings_that_durability_rests_on(database: Database) -> None:
    def pragma(name: str) -> object:
        return database._connection.execute(f"PRAGMA {name}").fetchone()[0]

    assert (pragma("journal_mode"), pragma("synchronous"), pragma("locking_mode")) == ("wal", 2, "exclusive")


def test_the_file_and_its_log_stay_small(database: Database) -> None:
    """About 60 MB go through a file that never holds more than 4 MB of them."""
    path = database.path
    wal = path.with_name(path.name + "-wal")
    largest = position = 0
    for count in range(30):
        for _ in range(20):
            database.write([Persist(entries=[entry(position + step, size=1000) for step in range(1, 101)])])
            position += 100
        rows: list[tuple[bytes, bytes | None]] = [(bytes([count]), b"r" * 10_000), (bytes([max(0, count - 1)]), None)]
        database.write([Compaction(position, {}, rows), Persist(compacted=position - 2000)])
        largest = max(largest, wal.stat().st_size)
    assert largest < 40e6
    assert path.stat().st_size < 30e6


def test_a_checkpoint_can_wait(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.database.CHECKPOINT_PAGES", 10)
    wal = database.path.with_name(database.path.name + "-wal")
    sizes: list[int] = []
    for postponed in (True, False, True):
        database.postpone_checkpoints = postponed
        for position in range(60):
            database.write([Persist(entries=[entry(position + 1, size=5000)])])
        sizes.append(wal.stat().st_size // 4096)
    assert sizes[0] > 120 and sizes[1] < sizes[0] + 30 and sizes[2] > 120


def test_the_log_shrinks_after_a_huge_transaction(database: Database) -> None:
    wal = database.path.with_name(database.path.name + "-wal")
    database.write([Persist(snapshot=Snapshot(1, {}, [(bytes([count]), b"r" * 1_000_000) for count in range(60)]))])
    database.write([Persist(decided=1)])
    database.write([Persist(decided=2)])
    assert wal.stat().st_size < 40e6
