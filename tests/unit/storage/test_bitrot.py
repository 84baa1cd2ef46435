"""One changed byte, wherever it is: it is found on opening, or nothing that is stored has changed."""

from __future__ import annotations

import sqlite3
import tempfile
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from paxos.output import Persist
from storage.database import Database
from storage.errors import StorageDamaged, StorageError
from storage.records import Compaction
from tests.unit.storage.disks import content, entry, fill, put
from tests.unit.storage.test_contract import FOLDER


@pytest.mark.parametrize(("before", "after", "where"), [
    (b"[7315,", b"[1315,", "its table state: row 'promised'"),
    (b"t0001", b"T0001", "its table snapshot: row 30303031"),
    (bytes([60]) * 200, bytes([60]) * 199 + b"\0", "its table log: row 2"),
])
def test_it_is_told_where(tmp_path: Path, before: bytes, after: bytes, where: str) -> None:
    path = tmp_path / "node.db"
    fill(path).close()
    whole = path.read_bytes()
    assert before in whole
    path.write_bytes(whole.replace(before, after))
    with pytest.raises(StorageDamaged) as found:
        Database.open(path, "demo", 1, 1)
    assert found.value.certain and where in str(found.value)


@pytest.mark.parametrize("seed", range(4))
def test_any_byte_of_the_file(seed: int) -> None:
    chance = Random(seed)
    seen: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
        path = Path(folder) / "node.db"
        fill(path).close()
        whole = path.read_bytes()
        database = Database.open(path, "demo", 1, 1)
        wanted = content(database)
        database.close()
        for _ in range(120):
            # Where there is most to go wrong: the header, the schema and the tables' roots.
            offset = chance.randrange(5 * 4096 if chance.random() < 0.4 else len(whole))
            change = chance.choice([1 << chance.randrange(8), chance.randrange(1, 256)])
            put(path, whole[:offset] + bytes([whole[offset] ^ change]) + whole[offset + 1 :])
            try:
                database = Database.open(path, "demo", 1, 1)
            except StorageError:
                seen["found"] += 1
                continue
            seen["harmless"] += 1
            assert content(database) == wanted, f"byte {offset}, changed by {change}"
            _write_more(database)
    assert min(seen["found"], seen["harmless"]) > 10, seen


def _write_more(database: Database) -> None:
    """Nor does it do harm later."""
    rows: list[tuple[bytes, bytes | None]] = [(b"%04d" % number, b"z" * 5000) for number in range(60)]
    database.write([Persist(entries=[entry(91)], decided=91), Compaction(91, {}, rows)])
    database.close()
    database = Database.open(database.path, "demo", 1, 1)
    durable = database.durable
    assert durable.entries[-2:] == [entry(90, 9000), entry(91)] and durable.promised.seq_num == 7315
    assert list(database.rows()) == rows
    database.close()


def test_any_byte_of_the_write_ahead_log() -> None:
    """Damage to the last write looks like a power failure; any other is found."""
    chance = Random(5)
    seen: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
        path = Path(folder) / "node.db"
        database = fill(path)
        log = path.with_name(path.name + "-wal")
        for position in range(91, 95):
            database.write([Persist(entries=[entry(position, 3000)], decided=position)])
        main, last = path.read_bytes(), log.stat().st_size
        database.write([Persist(entries=[entry(95, 3000)], decided=95)])
        whole = log.read_bytes()
        database.close()
        wanted = _opened(path, main, whole), _opened(path, main, whole[:last])
        frames = (len(whole) - 32) // 4120
        for _ in range(400):
            offset = chance.choice([
                chance.randrange(len(whole)), chance.randrange(32), chance.randrange(last, len(whole)),
                32 + 4120 * chance.randrange(frames) + chance.randrange(24),
            ])
            try:
                changed = bytes([whole[offset] ^ (1 << chance.randrange(8))])
                found = _opened(path, main, whole[:offset] + changed + whole[offset + 1 :])
            except StorageDamaged:
                seen["found"] += 1
            else:
                assert found == wanted[1] and offset >= last
                seen["the last write"] += 1
    assert min(seen["found"], seen["the last write"]) > 50, seen


@pytest.mark.parametrize("offset", [18, 19])
def test_a_file_that_denies_its_write_ahead_log(tmp_path: Path, offset: int) -> None:
    path = tmp_path / "node.db"
    database = fill(path)
    main, log = path.read_bytes(), path.with_name(path.name + "-wal").read_bytes()
    database.close()
    wanted = _opened(path, main, log)
    # 1 stands for a rollback journal, 2 for a write-ahead log.
    main = main[:offset] + bytes([main[offset] ^ 3]) + main[offset + 1 :]
    try:
        assert _opened(path, main, log) == wanted
    except StorageDamaged as found:
        assert "no write-ahead log" in str(found)


def test_a_log_that_ends_anywhere_is_no_damage() -> None:
    """As a power failure leaves it."""
    with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
        path = Path(folder) / "node.db"
        database = fill(path)
        main, log = path.read_bytes(), path.with_name(path.name + "-wal").read_bytes()
        database.close()
        for end in range(1, len(log), 3001):
            _opened(path, main, log[:end])
            _opened(path, main, log[:end] + bytes(len(log) - end))


def _opened(path: Path, main: bytes, log: bytes) -> object:
    put(path, main, log)
    database = Database.open(path, "demo", 1, 1)
    found = content(database)
    database.close()
    return found


def test_nothing_is_left_beside_the_file(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    database = fill(path)
    main, log = path.read_bytes(), path.with_name(path.name + "-wal").read_bytes()
    database.close()
    _opened(path, main, log)
    assert sorted(found.name for found in tmp_path.iterdir()) == ["node.db", "node.db.lock"]


def test_a_row_that_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    fill(path).close()
    connection = sqlite3.connect(path)
    connection.execute("DELETE FROM state WHERE name = 'promised'")
    connection.commit()
    connection.close()
    with pytest.raises(StorageDamaged, match="row 'promised' is missing"):
        Database.open(path, "demo", 1, 1)


def test_damage_is_seen_when_the_snapshot_is_read(tmp_path: Path) -> None:
    database = fill(tmp_path / "node.db")
    database._connection.execute("UPDATE snapshot SET value = x'00' WHERE key = x'30303031'")
    for read in (lambda: list(database.rows()), database.load_snapshot):
        with pytest.raises(StorageDamaged, match="its table snapshot: row 30303031"):
            read()
    database.close()
