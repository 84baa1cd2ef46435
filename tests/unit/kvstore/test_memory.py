"""How much memory a store takes beside its text: what a node holds after a restart."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

from kvstore.conversation import PART_BYTES
from kvstore.operations import Candidate, Choose, Create, Query
from kvstore.payloads import encode
from kvstore.store import Store

TURNS = 2_000
AT = 1_764_000_000_000


def full_store() -> Store:
    store = Store()
    operations = [
        Create("c1", at=AT),
        *(
            each
            for turn in range(1, TURNS + 1)
            for each in (
                Query("c1", f"{turn:0400}", at=AT + turn),
                Candidate("c1", turn, 1, f"{turn:0400}", None, "model", 0.5, at=AT + turn),
                Choose("c1", 1, at=AT + turn),
            )
        ),
    ]
    for position, operation in enumerate(operations, 1):
        assert store.apply(position, encode(operation)).ok
    return store


def test_a_loaded_store_takes_little_beside_its_text() -> None:
    filled = full_store()
    held = filled.snapshot()

    def read() -> Iterator[tuple[bytes, bytes]]:
        for key, content in held:  # as the database does: new objects, one by one
            yield bytes(bytearray(key)), bytes(bytearray(content))

    tracemalloc.start()
    try:
        store = Store()
        store.load(read())
        after, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert store.digest() == filled.digest()
    overhead = (after - store.size + 2 * PART_BYTES * TURNS) / TURNS
    assert overhead < 850, "bytes of a turn with one response"
    assert most - after < 100_000, "the rows are not held beside the store"
