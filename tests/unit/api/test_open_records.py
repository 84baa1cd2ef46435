"""Records with keys that are known only when they are made."""

from __future__ import annotations

import pytest
from msgspec import UNSET, UnsetType, field

from api.base import Event, Record, Result, encode, encode_gently, keys
from api.open_records import extended


class DoneEvent(Event, frozen=True, tag="done"):
    name: str
    line: int


class SumResult(Result, frozen=True, kw_only=True):
    total: int = field(name="sum")
    note: str | UnsetType = UNSET


@pytest.mark.parametrize(
    ("record", "text"),
    [
        (extended(DoneEvent("add", 3), {"ok": True, "sum": 7}),
         '{"event":"done","name":"add","line":3,"ok":true,"sum":7}'),
        (extended(DoneEvent("add", 3), {"inner": [SumResult(total=1)], "name": "sub"}),
         '{"event":"done","name":"sub","line":3,"inner":[{"ok":true,"sum":1}]}'),
        (extended(Result(), {"context": "c1", "ok": True}), '{"ok":true,"context":"c1"}'),
        (extended(SumResult(total=1, note="x"), {"more": None}), '{"ok":true,"sum":1,"note":"x","more":null}'),
    ],
)
def test_further_keys_follow_in_their_order(record: Record, text: str) -> None:
    assert encode(record) == encode_gently(record) == text.encode()


def test_an_extended_record_is_still_what_it_was() -> None:
    event = extended(DoneEvent("add", 3), {"ok": True})
    assert isinstance(event, DoneEvent) and (event.name, event.line) == ("add", 3)
    named = extended(Result(), {"context": "c1"}, replies_to="create")
    assert named.replies_to == "create"
    assert extended(Result(), {"context": "c1"}).replies_to is None
    assert b"replies_to" not in encode(named)


def test_the_keys_of_a_record() -> None:
    assert keys(SumResult(total=1)) == {"ok": True, "sum": 1}
