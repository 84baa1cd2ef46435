"""Rows that no operations lead to: they are refused, or everything can go on from them."""

from __future__ import annotations

from random import Random
from typing import Any, Final

import msgspec
import pytest

from kvstore.operations import (
    Answer,
    Ask,
    Cancel,
    Candidate,
    Choose,
    Create,
    Elect,
    Query,
    Ranking,
    Retry,
    StartPoll,
    StoreOperation,
    Synthesize,
    Synthesized,
)
from kvstore.payloads import encode
from kvstore.store import Store

EXTREMES: Final[tuple[Any, ...]] = (
    -1, 0, 1, 2, 7, 2**31, 2**53, 2**63, 2**64 - 1, None, True, "", "x", "\x1b[2J", [], [9], [2, 1], {}, {7: 1},
    {1: 2**64 - 1},
    float("inf"), -1.0, [[]],
)
HISTORY: Final[tuple[StoreOperation, ...]] = (
    Create("a"), Query("a", "why?"), Candidate("a", 1, 1, "one", None), Candidate("a", 1, 2, "two", None),
    Candidate("a", 1, 3, None, "no"), Choose("a", 2), Ask("a", "and?"), Answer("a", 2, 1, "so", None),
    Query("a", "which?"), Candidate("a", 3, 1, "one", None), Candidate("a", 3, 2, "two", None), StartPoll("a"),
    Ranking("a", 3, 1, 1, [2, 1], None), Create("b"), Query("b", "why?"), Retry("b"), Create("d"), Query("d", "why?"),
    Candidate("d", 1, 1, "one", None), Candidate("d", 1, 2, "two", None), Synthesize("d"),
    Synthesized("d", 1, 1, "both", None, round=1), Synthesize("d", node=2),
)
FURTHER: Final[tuple[StoreOperation, ...]] = (
    Ranking("a", 3, 2, 1, [1, 2], None), Candidate("a", 3, 4, "late", None), Elect("a", 3, 1), Retry("a"), Retry("b"),
    Retry("b", node=1), StartPoll("a"), StartPoll("b"), Choose("a", 1), Choose("b", 1), Cancel("a"), Cancel("b"),
    Query("a", "more?"), Ask("b", "more?"), Create("c"), Synthesized("d", 1, 2, "both", None, round=2),
    Synthesize("d"), Retry("d", node=1), StartPoll("d"), Choose("d", 0),
)


def _store() -> Store:
    store = Store()
    for position, operation in enumerate(HISTORY, 1):
        assert store.apply(position, encode(operation)).ok
    return store


def _changed(random: Random, value: Any) -> Any:
    """With something in it that is not what was there."""
    if isinstance(value, list) and value and random.random() < 0.8:
        value = list(value)
        at = random.randrange(len(value))
        value[at] = _changed(random, value[at])
        return value
    if isinstance(value, dict) and value and random.random() < 0.8:
        return {_key(random, key): _changed(random, kept) for key, kept in value.items()}
    return random.choice(EXTREMES)


def _key(random: Random, key: Any) -> Any:
    return random.choice((key, key, 0, 7, 2**64 - 1))


def _goes_on(store: Store) -> None:
    for position, operation in enumerate(FURTHER, 100):
        store.apply(position, encode(operation))
        for conversation in store.conversations.values():
            for turn in conversation.turns:
                assert turn.answer is None or turn.answer.text is not None
                if turn.poll is not None:
                    assert turn.poll.winner is None or turn.poll.winner in turn.poll.ballot
    store.digest()
    store.changed()
    Store().load(store.snapshot())


@pytest.mark.parametrize("seed", range(4))
def test_odd_rows_are_refused_or_lived_with(seed: int) -> None:
    random = Random(seed)
    rows = _store().snapshot()
    _goes_on(_store())
    refused = 0
    for _ in range(400):
        key, content = rows[at := random.randrange(len(rows))]
        odd = msgspec.msgpack.encode(_changed(random, msgspec.msgpack.decode(content, strict=False)))
        if random.random() < 0.1:
            odd = content[:-1] + b"\x91" * 5_000 + b"\x01"
        if random.random() < 0.1:
            key = bytes(random.randrange(256) for _ in range(random.choice((0, 8, 12, 16, 20))))
        some = [*rows[:at], (key, odd), *rows[at + 1 :]]
        store = Store()
        if not store.readable(some):
            refused += 1
            with pytest.raises(ValueError, match="not a snapshot"):
                store.load(some)
            assert not store.conversations
        else:
            store.load(some)
            _goes_on(store)
    assert 200 < refused < 395, "some are odd and harmless"


def test_two_conversations_of_one_name_are_no_state() -> None:
    store = Store()
    for position, name in enumerate("ab", 1):
        store.apply(position, encode(Create(name)))
    rows = store.snapshot()
    assert not store.readable([rows[0], (rows[1][0], rows[0][1])])


def test_rows_that_were_looked_at_are_not_read_again_and_no_others_are_taken_for_them() -> None:
    store, first, second = Store(), _store().snapshot(), Store()
    second.apply(1, encode(Create("another")))
    assert store.readable(first) and store.readable(first)
    store.load(second.snapshot())
    assert store.digest() == second.digest(), "not those that were looked at"
    assert store.readable(first)
    store.load(first)
    other = Store()
    other.load(first)
    assert store.digest() == other.digest() == _store().digest()
    _goes_on(store)
    store.load(first)
    assert store.digest() == _store().digest(), "each time afresh"


def test_rows_that_are_read_one_by_one_are_in_order_and_there_once() -> None:
    rows = _store().snapshot()
    for odd in ([*rows[1:], rows[0]], [*rows[:2], rows[3], rows[2], *rows[4:]], [*rows, rows[-1]]):
        with pytest.raises(ValueError, match="not a snapshot"):
            Store().load(iter(odd))
    loaded = Store()
    loaded.load(rows[::-1])
    assert loaded.digest() == _store().digest(), "a collection may be in any order"
