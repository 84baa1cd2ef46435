"""Whatever is written, the file and the simulator's disk show the same to the next process of the node."""

from __future__ import annotations

import tempfile
from pathlib import Path

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from paxos.ballot import Ballot
from paxos.bounds import MOST_COUNT, MOST_POSITION
from paxos.messages import Entry, Operation, Snapshot
from paxos.output import Persist, VoterStatus
from storage.database import Database
from storage.memory import MemoryDatabase
from storage.records import Compaction, Record

MEMORY = Path("/dev/shm")
FOLDER = MEMORY if MEMORY.is_dir() else None
"""Contents are the subject here, not disks: where there is a file system in memory, it makes many examples cheap."""

small = st.integers(0, 12)
huge = st.integers(0, MOST_COUNT)
ballots = st.builds(Ballot, st.one_of(small, huge), small, st.one_of(small, st.integers(0, MOST_POSITION)))
operations = st.builds(Operation, small, huge, huge, st.binary(max_size=20))
entries = st.builds(Entry, st.integers(1, 12), st.tuples(st.one_of(small, huge), small), operations)
sessions = st.dictionaries(st.integers(1, 5), st.tuples(huge, huge), max_size=3)
keys = st.sampled_from([b"", b"a", b"b", b"\x00\xff", b"long" * 50])
values = st.binary(max_size=30)
rows = st.dictionaries(keys, values, max_size=4).map(lambda found: list(found.items()))
snapshots = st.builds(Snapshot, small, sessions, rows)
rosters = st.dictionaries(st.integers(1, 5), st.integers(1, 2**63 - 1), max_size=5)
compactions = st.builds(
    Compaction, small, sessions, st.dictionaries(keys, st.none() | values, max_size=4).map(lambda f: list(f.items()))
)
persists = st.builds(
    Persist,
    promised=st.none() | ballots,
    entries=st.lists(entries, max_size=6),
    decided=st.none() | small,
    compacted=st.none() | small,
    roster=st.none() | rosters,
    voter_status=st.none() | st.sampled_from(VoterStatus),
    incarnation=st.none() | st.integers(1, 50),
    snapshot=st.none() | snapshots,
    stamp=st.none() | st.tuples(st.integers(1, 3), huge),
)
batches = st.lists(st.one_of(persists, persists, compactions), max_size=4)
incarnations = st.lists(st.tuples(st.lists(batches, max_size=4), st.integers(1, 60)), min_size=1, max_size=3)


def growing(history: list[tuple[list[list[Record]], int]]) -> list[tuple[list[list[Record]], int]]:
    """Watermarks and stamps never go back."""
    decided, stamp = 0, (0, 0)
    for record in [record for writes, _ in history for batch in writes for record in batch]:
        if isinstance(record, Persist):
            decided = max(decided, record.decided or 0)
            stamp = max(stamp, record.stamp or (0, 0))
            record.decided = None if record.decided is None else decided
            record.stamp = None if record.stamp is None else stamp
    return history


@given(incarnations.map(growing))
@settings(max_examples=100, deadline=None)
def test_file_and_memory_keep_the_same_contract(history: list[tuple[list[list[Record]], int]]) -> None:
    with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
        path = Path(folder) / "node.db"
        database = Database.open(path, "demo", 1, 7)
        memory = MemoryDatabase(database.durable.identity)
        assert database.durable == memory.reopen(7)
        for writes, now_us in history:
            for batch in writes:
                database.write(batch)
                memory.write(batch)
                assert list(database.rows()) == memory.rows()
                assert database.load_snapshot() == memory.load_snapshot()
            database.close()
            database = Database.open(path, "demo", 1, now_us)
            assert database.durable == memory.reopen(now_us)
            assert list(database.rows()) == memory.rows()
            assert database.load_snapshot() == memory.load_snapshot()
        database.close()


def test_reopening_memory_gives_an_image_of_its_own() -> None:
    memory = MemoryDatabase(5)
    memory.write([Persist(roster={1: 2}, entries=[Entry(1, (1, 1), Operation(1, 1, 1, b"x"))])])
    durable = memory.reopen(1)
    before = msgspec.structs.replace(durable, roster=dict(durable.roster), entries=list(durable.entries))
    memory.write([Persist(roster={1: 3}, compacted=1, decided=1)])
    assert durable == before
