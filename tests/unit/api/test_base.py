"""Records and their lines of JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET, UnsetType

from api.base import Command, Event, Failure, Record, Result, builtins, encode, encode_gently, name_of, result_line
from api.base import result_type as answered_by


class Inner(Record, frozen=True):
    text: str | UnsetType = UNSET
    number: float = 0.5


class Shown(Result, frozen=True, kw_only=True):
    inner: dict[int, Inner]
    last: str | None = None


class ShowCommand(Command[Shown], frozen=True, tag="show"):
    what: str


class ShownEvent(Event, frozen=True, tag="shown"):
    what: str
    more: list[Inner] | UnsetType = UNSET


class Refusal(Failure, frozen=True):
    what: str | UnsetType = UNSET


class Stale(Failure, frozen=True, kw_only=True):
    stale: bool


ODD = "\x1b \u202e 世 \ud800 \x00"


@pytest.mark.parametrize(
    ("record", "text"),
    [
        (Shown(inner={2: Inner("a"), 10: Inner()}),
         '{"ok":true,"inner":{"2":{"text":"a","number":0.5},"10":{"number":0.5}},"last":null}'),
        (ShowCommand("x"), '{"command":"show","what":"x"}'),
        (ShownEvent("x", [Inner()]), '{"event":"shown","what":"x","more":[{"number":0.5}]}'),
        (Failure(error="no"), '{"ok":false,"error":"no"}'),
        (Failure(error="no", kind="usage"), '{"ok":false,"error":"no","kind":"usage"}'),
        (Refusal(what="x", error="no"), '{"ok":false,"what":"x","error":"no"}'),
        (Stale(error="no", stale=True), '{"ok":false,"error":"no","stale":true}'),
    ],
)
def test_keys_are_the_fields_in_order(record: Record, text: str) -> None:
    assert encode(record) == encode_gently(record) == text.encode()
    assert builtins(record) == json.loads(text)


def test_a_result_that_would_not_begin_with_ok_cannot_be_made() -> None:
    with pytest.raises(TypeError):
        type("Wrong", (Result,), {"__annotations__": {"what": str}, "__module__": __name__})


@given(st.text() | st.just(ODD))
def test_lines_are_ascii_whatever_the_text_is(text: str) -> None:
    record = Shown(inner={1: Inner(text)}, last=text)
    for line in (encode(record), encode_gently(record)):
        assert line.isascii() and b"\n" not in line
        assert json.loads(line)["last"] == text


def test_the_line_of_a_result() -> None:
    line = result_line("é", 7, encode(Failure(error="no")))
    assert line == b'{"event":"result","command":"\\u00e9","line":7,"ok":false,"error":"no"}\n'


def test_a_command_knows_its_name_and_what_answers_it() -> None:
    assert name_of(ShowCommand) == "show" and name_of(ShownEvent) == "shown"
    kind: type[Any] = answered_by(ShowCommand)
    assert kind is Shown
