"""Hashes of rows in few pieces are the same as in a dict, and small."""

from __future__ import annotations

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from kvstore.row_hashes import MODULUS, RowHashes
from kvstore.rows import RowKey
from kvstore.rules import MAX_NODE, MAX_TURN

EDGES = st.sampled_from((0, 1, 2, MAX_NODE - 1, MAX_NODE))
ROW_KEYS: st.SearchStrategy[RowKey] = st.one_of(
    st.tuples(st.integers(0, 2)),
    st.tuples(st.integers(0, 2), st.sampled_from((1, 2, 3, MAX_TURN))),
    st.tuples(st.integers(0, 2), st.sampled_from((1, 2, 3, MAX_TURN)), EDGES),
)
HASHES = st.none() | st.binary(min_size=32, max_size=32)


@given(st.lists(st.tuples(ROW_KEYS, HASHES), max_size=60))
def test_the_sum_is_that_of_the_last_hash_of_each_row(changes: list[tuple[RowKey, bytes | None]]) -> None:
    found = RowHashes()
    expected: dict[RowKey, int] = {}
    for row_key, hashed in changes:
        found.set(row_key, hashed)
        expected.pop(row_key, None)
        if hashed is not None:
            expected[row_key] = int.from_bytes(hashed, "big")
        assert (found.count, found.sum) == (len(expected), sum(expected.values()) % MODULUS)


def test_a_hash_takes_little_more_than_its_bytes() -> None:
    tracemalloc.start()
    try:
        hashes = RowHashes()
        for turn in range(1, 10_001):
            hashes.set((1, turn), turn.to_bytes(32, "big"))
            hashes.set((1, turn, 1), turn.to_bytes(32, "big"))
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert hashes.count == 20_000
    assert held < 20_000 * 50
