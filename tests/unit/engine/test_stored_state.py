"""What can be read off a stopped node's disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.stored_state import stored_state
from kvstore.operations import Create
from kvstore.payloads import encode
from kvstore.store import Store
from paxos.configuration import stop_sign
from paxos.messages import NOOP, Configuration, Entry, Operation, Snapshot
from paxos.output import Persist
from storage.database import Database
from storage.errors import StorageError

FIRST = Configuration(1, 2**62, {1: 5}, 1)


def created(number: int, position: int, payload: bytes | None = None) -> Entry:
    content = encode(Create(f"c{number}")) if payload is None else payload
    return Entry(position, (1, 1), Operation(2, 1, number, content))


@pytest.fixture
def database(tmp_path: Path) -> Database:
    """A snapshot at 1, then decided up to 4: a conversation, a no-op, the same conversation again; a stop-sign and one
    more are accepted, and another behind a gap."""
    store = Store()
    store.apply(1, encode(Create("c1")))
    database = Database.open(tmp_path / "node-1.db", "demo", 1, 1)
    database.write([Persist(snapshot=Snapshot(1, {2: (1, 1)}, store.snapshot(), FIRST))])
    entries = [created(2, 2), Entry(3, (1, 1), NOOP), created(2, 4),
               Entry(5, (1, 1), stop_sign(Configuration(2, 2**62, {1: 6}))), created(3, 6), created(4, 8)]
    database.write([Persist(entries=entries, decided=4)])
    database.close()
    return Database.open(tmp_path / "node-1.db", "demo", 1, 1)


def test_what_is_decided_is_applied_once(database: Database) -> None:
    state = stored_state(database)
    assert list(state.store.conversations) == ["c1", "c2"]
    assert (state.position, state.sessions, state.configuration, state.accepted_only) == (4, {2: (1, 2)}, FIRST, 0)
    database.close()


def test_what_was_accepted_next_counts_if_asked_for(database: Database) -> None:
    state = stored_state(database, accepted=True)
    assert list(state.store.conversations) == ["c1", "c2", "c3"], "and nothing behind the gap"
    assert (state.position, state.accepted_only) == (6, 2)
    assert state.configuration == Configuration(2, 2**62, {1: 6}, 6)
    database.close()


@pytest.mark.parametrize("payload", [b"\x92\x63\xa1x"])
def test_what_a_later_release_decided_is_told(database: Database, payload: bytes) -> None:
    database.write([Persist(entries=[created(3, 5, payload)], decided=5)])
    path = database.path
    database.close()
    again = Database.open(path, "demo", 1, 1)
    with pytest.raises(StorageError, match="upgrade this node"):
        stored_state(again)
    again.close()
