"""Rows are encoded once for the digest and for what is saved; what is kept in between is bounded."""

from __future__ import annotations

import pytest

from kvstore import changed_rows, rows
from kvstore.changed_rows import ChangedRows


class Rows:
    def __init__(self) -> None:
        self.contents: dict[rows.RowKey, bytes] = {}
        self.encoded = 0
        self.changed = ChangedRows(self._value)

    def _value(self, row_key: rows.RowKey) -> bytes | None:
        self.encoded += 1
        return self.contents.get(row_key)

    def put(self, number: int, content: bytes | None) -> None:
        if content is None:
            self.contents.pop((number,), None)
        else:
            self.contents[number,] = content
        self.changed.touch(number)


def test_a_row_that_was_hashed_is_not_encoded_again() -> None:
    held = Rows()
    held.put(1, b"one")
    held.changed.digest()
    assert held.changed.take() == [(rows.key((1,)), b"one")] and held.encoded == 1


def test_a_row_that_changed_or_went_after_it_was_hashed_is_saved_as_it_is() -> None:
    held = Rows()
    for number in (1, 2, 3):
        held.put(number, b"before")
    held.changed.digest()
    held.put(1, b"after")
    held.put(2, None)
    key = [rows.key((number,)) for number in (1, 2, 3)]
    assert held.changed.take() == [(key[0], b"after"), (key[1], None), (key[2], b"before")]
    assert held.changed.take() == []


def test_who_never_saves_keeps_only_so_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changed_rows, "KEPT_BYTES", 1000)
    held = Rows()
    for number in range(100):
        held.put(number % 50, bytes(100))
        held.changed.digest()
    kept = [content for content in held.changed._unsaved.values() if content is not None]
    assert 0 < sum(map(len, kept)) == held.changed._kept <= 1000
    assert held.changed.take() == [(rows.key((number,)), bytes(100)) for number in range(50)]
    held.put(7, b"again")
    held.changed.digest()
    assert held.changed._kept == 5


def test_rows_are_counted_about() -> None:
    held = Rows()
    for number in (1, 2, 3):
        held.put(number, b"text")
    assert held.changed.count == 3
    held.changed.digest()
    held.put(4, b"text")
    assert held.changed.count == 3, "one is not hashed yet"
    held.put(1, None)
    held.changed.take()
    assert held.changed.count == 3
    held.changed.replace([(2,), (3,)])
    assert held.changed.count == 2
