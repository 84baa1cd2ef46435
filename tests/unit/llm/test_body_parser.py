"""Whatever frames an answer, and however it is divided, its text arrives; and no part of it is taken for the whole."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm import http_client, retry_after
from llm.body_parser import BodyParser, Kind, decoded
from llm.event_stream import EventTooLarge
from llm.provider import ProviderError
from tests.unit.llm.chat_tools import Chat, Response
from tests.unit.llm.test_answer_shapes import TEXT, answer, chunk

ENDS = st.sampled_from(["\n", "\r\n", "\r"])
NOISE = st.sampled_from(["", ": kept alive", "id: 7", "retry: 10", "event: message", "event:", "x: {", "dat: {}", "::"])
DONE = st.sampled_from(["data: [DONE]", "data:[DONE]", "data:  [done] ", 'data: "[DONE]"', "[DONE]"])
AFTER = st.sampled_from(["", "data: [DONE]", "data: {broken", 'event: error\ndata: {"error": "no"}', "data: {}", ": x"])
TEXTS = st.lists(st.text(min_size=1, max_size=6), min_size=1, max_size=5)


@st.composite
def event_streams(draw: st.DrawFn, chunks: list[Any]) -> str:
    """Server-sent events, with whatever the standard allows around and within them."""
    end, lines = draw(ENDS), [draw(NOISE), ""]
    for one in chunks:
        space, lines = draw(st.sampled_from(["", " "])), [*lines, draw(NOISE)]
        data = json.dumps(one, ensure_ascii=draw(st.booleans()), indent=draw(st.sampled_from([None, 1])))
        lines += [f"data:{space}{line}" for line in data.split("\n")] + [""]
    return ("\ufeff" if draw(st.booleans()) else "") + "".join(line + end for line in lines)


def lines(chunks: list[Any]) -> str:
    return "\n".join(json.dumps(one) for one in chunks) + "\n"


def array(chunks: list[Any]) -> str:
    return json.dumps(chunks, indent=1)


def divided(wire: bytes, cuts: list[int] | None) -> tuple[bytes, ...]:
    """In pieces: at `cuts`, or byte by byte."""
    places = range(len(wire) + 1) if cuts is None else sorted({0, len(wire), *(cut % (len(wire) + 1) for cut in cuts)})
    return tuple(wire[begin:end] for begin, end in pairwise(places))


@settings(max_examples=60, deadline=None)
@given(st.data(), TEXTS, st.none() | st.lists(st.integers(0, 10**6), max_size=6))
def test_text_arrives_in_any_frame_and_no_part_is_the_whole(
    data: st.DataObject, texts: list[str], cuts: list[int] | None
) -> None:
    chunks = [chunk(text) for text in texts] + [chunk(None, "stop")]
    frame = data.draw(st.sampled_from(["events", "lines", "array"]))
    wire = data.draw(event_streams(chunks)) if frame == "events" else {"lines": lines, "array": array}[frame](chunks)
    encoded = wire.encode("utf-8", "surrogatepass")
    part = encoded[: data.draw(st.integers(0, encoded.rindex(b'"stop"')))]
    with pytest.raises(ProviderError):
        answer(Response(200, divided(part, cuts)))
    if frame == "events":
        late = data.draw(DONE) + "\n\n" + data.draw(AFTER) + data.draw(st.sampled_from(["", "\n", "\n\n"]))
        encoded += (b"" if data.draw(st.booleans()) else late.encode()) if texts else b""
    whole = "".join(texts)
    if whole.strip():
        assert answer(Response(200, divided(encoded, cuts))) == whole


@pytest.mark.parametrize("cuts", [None, []])
def test_a_value_by_itself(cuts: list[int] | None) -> None:
    message = {"choices": [{"message": {"content": "Gr\u00fc\u00dfe"}}]}
    for text in (json.dumps(message, ensure_ascii=False), json.dumps(message, indent=1), json.dumps([message])):
        encoded = (text.encode(), "iso-8859-1"), (text.encode("utf-16"), "utf-8"), (text.encode("utf-8-sig"), "x")
        for wire, charset in encoded:
            kind = (("content-type", f"text/html; charset={charset}"),)
            assert answer(Response(200, divided(b"\r\n \n" * (charset == "x") + wire, cuts), kind)) == "Gr\u00fc\u00dfe"
    for part in (chunk("The"), {"message": {"content": "The"}, "done": False}):
        for text in (json.dumps(part), json.dumps(part) + "\n", json.dumps([part])):
            with pytest.raises(ProviderError, match="broke in the middle"):
                answer(Response(200, divided(text.encode(), cuts)))
    mixed = f": processing\n\n{json.dumps(chunk('The '))}\n{json.dumps(chunk('Nile.', 'stop'))}\n\ndata: [DONE]\n\n"
    assert answer(Response(200, divided(mixed.encode(), cuts))) == TEXT


def test_a_charset_is_believed_where_it_is_needed() -> None:
    assert decoded("Gr\u00fc\u00dfe".encode("latin-1"), "ISO-8859-1") == "Gr\u00fc\u00dfe"
    for odd in ("punycode", "idna", "zip", "\x00", "unicode_escape", None):
        assert decoded(b"Gr\xfc", odd) == "Gr\ufffd"


HEADS = st.sampled_from([b"", b"[", b"{", b"data: ", b"<", b'"', b"\xff\xfe", b"{}\n"])


@given(st.binary(max_size=60), HEADS, st.booleans())
def test_any_bytes_in_any_division(noise: bytes, head: bytes, close: bool) -> None:
    wire = head + noise + b"]" * close

    def parts(*pieces: bytes) -> list[Any]:
        parser = BodyParser(1000)
        return [str(part) for piece in pieces for part in parser.feed(piece)] + [str(part) for part in parser.end()]

    assert parts(*divided(wire, None)) == parts(wire)


@pytest.mark.parametrize("head", [b"[", b"{", b'["', b'{"a": 1}\n"', b"data: ", b"<html>", b" "])
def test_a_value_without_an_end_is_bounded(head: bytes) -> None:
    parser = BodyParser(10_000)
    with pytest.raises(EventTooLarge):
        for piece in (head, *[b"[" * 1000] * 30):
            assert all(part.kind is Kind.VALUE for part in parser.feed(piece))


def test_a_value_of_very_many_items_is_not_decoded() -> None:
    many = b'{"a":[' + b"[]," * 200_000 + b"[]]}", b"[" + b"{}," * 200_000 + b"{}]", b'data: {"a":[' + b"1," * 200_000
    for body in many:
        with pytest.raises(ProviderError, match="more than 2000000 bytes at once"):
            answer(Response(200, (body + b"\n\n",)))


def test_all_answers_together_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llm.http_client._MOST_UNFINISHED", 1000)
    for head in (b"[", b"{", b"data: ", b"<", b"  "):
        with pytest.raises(ProviderError, match="and other servers with it"):
            answer(Response(200, (head, *[b" " * 100] * 12)))
    assert not http_client._unfinished


def test_what_a_small_body_unpacks_to_leaves_others_their_turn() -> None:
    """Heartbeats, and the time limit itself, wait for the same event loop."""
    packed = gzip.compress(b"data: {}\n\n" * 600_000, compresslevel=1)
    began = time.process_time()
    with pytest.raises(ProviderError, match=r"gave no answer within 0\.2 s"):
        Chat(lambda asked: Response(200, (packed,), (("content-encoding", "gzip"),)), timeout_s=0.2).one()
    assert time.process_time() - began < 3, "all of it takes some eight seconds"


def over(server: Callable[[dict[str, Any]], Response]) -> str:
    return Chat(server).one().text


def test_what_is_over_waits_for_nobody_and_is_not_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llm.http_client._AFTER_END_S", 0.02)
    ends = [chunk(TEXT, "stop")], [chunk(TEXT), "[DONE]"]
    for end in ends:
        wire = "".join(f"data: {one if isinstance(one, str) else json.dumps(one)}\n\n" for one in end).encode()
        assert over(lambda asked, wire=wire: Response(200, (wire,), then="hold")) == TEXT  # type: ignore[misc]
        assert over(lambda asked, wire=wire: Response(200, (wire,), then="break")) == TEXT  # type: ignore[misc]
        assert over(lambda asked, wire=wire: Response(200, (wire, b'data: {"error": "x"}\n\n'))) == TEXT  # type: ignore[misc]
    begun = json.dumps(chunk("The", "stop")) + "\n" + json.dumps(chunk(" Nile", "stop")) + "\n"
    with pytest.raises(ProviderError, match="broke"):
        over(lambda asked: Response(200, (begun.encode(),), then="break"))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("17", 17), ("17.5s", 17.5), ("7m12s", 432), ("1h", 3600), ("120ms", 0.12), ("9" * 9, 10**7), ("", None),
        ("s", None),
        ("nan", None), ("inf", None), ("-5", None), ("1e9", None), ("9" * 500, None), ("soon", None), ("Fri", None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0), ("Wed, 21 Oct 9999 07:28:00 GMT", 10**7),
    ],
)
def test_when_to_ask_again(text: str, seconds: float | None) -> None:
    assert retry_after.seconds(text) == seconds
    assert retry_after.from_headers({"retry-after": text}) == seconds
    if text in ("17.5s", "7m12s"):
        assert retry_after.from_words(f"Rate limit reached. Please try again in {text}. Visit x") == seconds


def test_milliseconds_go_first() -> None:
    assert retry_after.from_headers({"retry-after-ms": "1500", "retry-after": "2"}) == 1.5
