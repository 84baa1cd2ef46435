"""Operations as they are decided, of whatever content: applied by every node alike, or refused and without effect."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from kvstore import packed_turns, payloads, rules
from kvstore.operations import (
    Answer,
    Ask,
    Cancel,
    Candidate,
    CandidateInFull,
    Choose,
    Create,
    Elect,
    IfCreatedAt,
    Import,
    Query,
    Ranking,
    Retry,
    StartPoll,
    StoreOperation,
    Synthesize,
    Synthesized,
)
from kvstore.packed_turns import Restored, RestoredTurn
from kvstore.payloads import UnknownOperation
from kvstore.store import Store
from tests.fuzz.target import Form, Target

_BEFORE: tuple[StoreOperation, ...] = (
    Create("c1"), Query("c1", "why?"), Candidate("c1", 1, 1, "because", None, "m", 1.0),
    Candidate("c1", 1, 2, None, "no key", "m", 1.0), StartPoll("c1"), Create("c2"), Ask("c2", "who?"),
    Create("c4"), Query("c4", "why?"), Candidate("c4", 1, 1, "one", None), Candidate("c4", 1, 2, "other", None),
    Synthesize("c4"),
)
_TURNS = [RestoredTurn("query", "why?", [Restored(1, "because", None, "m", 0.5), Restored(2, None, "no")], 1)]
_ODD: tuple[StoreOperation, ...] = (
    *_BEFORE, Choose("c1", 1), Choose("c1", 1, 1), Cancel("c1"), Retry("c1", 1, 2), Ranking("c1", 1, 1, 1, [1], None),
    Elect("c1", 1, 1), Answer("c2", 1, 1, "nobody", None), Import("c3", packed_turns.pack(_TURNS)),
    CandidateInFull("c1", 1, 3, "so", None, "m", 2.0, thoughts="hm"),
    Synthesized("c4", 1, 2, "both", None, "m", 1.0, 1), Synthesize("c4", 1, 2),
    IfCreatedAt(1, Ranking("c1", 1, 1, 1, [1], None)), IfCreatedAt(2, Choose("c1", 1, 1)),
)


def check(data: bytes) -> None:
    one, other = Store(), Store()
    for store in (one, other):
        for position, payload in enumerate(_encoded(_BEFORE), 1):
            store.apply(position, payload)
    before = one.digest()
    position = len(_BEFORE) + 1
    try:
        operation = payloads.decode(data)
    except UnknownOperation:
        _is_unknown(one, other, data, before)
        return
    except ValueError:
        assert not one.apply(position, data).ok and one.digest() == before
        return
    outcome, same = one.apply(position, data), other.apply(position, data)
    assert (outcome.ok, outcome.error, one.digest()) == (same.ok, same.error, other.digest())
    if not outcome.ok:
        assert outcome.error and one.digest() == before
    if rules.check(operation) is None:
        assert payloads.decode(payloads.encode(operation)) == operation
    else:
        assert not outcome.ok
    _is_stored(one)


def _is_unknown(one: Store, other: Store, data: bytes, before: str) -> None:
    for store in (one, other):
        try:
            store.apply(len(_BEFORE) + 1, data)
        except UnknownOperation:
            assert store.digest() == before
            continue
        raise AssertionError("one that is not known was applied")


def _is_stored(store: Store) -> None:
    """What it is now survives a restart."""
    again = Store()
    again.load(sorted((key, value) for key, value in store.changed() if value is not None))
    assert again.digest() == store.digest()


def _encoded(some: tuple[StoreOperation, ...]) -> Iterator[bytes]:
    for operation in some:
        yield payloads.encode(msgspec.structs.replace(operation, at=1_700_000_000_000))


def seeds() -> list[bytes]:
    return list(_encoded(_ODD))


TARGET = Target("operations of the store", check, seeds, Form.MSGPACK, examples=250)
