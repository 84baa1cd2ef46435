"""Server-sent events: by WHATWG's rules, however the stream is divided, and bounded."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm.event_stream import Event, EventStream, EventTooLarge


def events(*pieces: bytes, max_event: int = 1000) -> list[Event]:
    stream = EventStream(max_event)
    found = [event for piece in pieces for event in stream.feed(piece)]
    last = stream.end()
    return found if last is None else [*found, last]


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (b"data: a\n\ndata: b\n\n", [("", "a"), ("", "b")]),
        (b"\xef\xbb\xbfdata: a\r\n\r\ndata: b\r\r", [("", "a"), ("", "b")]),
        (b"data:a\ndata:  b\ndata\n\n", [("", "a\n b\n")]),
        (b": comment\nid: 7\nretry: 10\nevent: error\ndata: x\nunknown: y\n\n", [("error", "x")]),
        (b"event: ping\n\ndata: a\n\n", [("", "a")]),
        (b"error: {}\n\n", [("error", "{}")]),
        (b"data: Gr\xc3\xbc\xc3\x9fe \xff\n\n", [("", "Gr\u00fc\u00dfe \ufffd")]),
        (b"data: a\n\n\n\n\ndata: b", [("", "a"), ("", "b")]),
        (b"data: \xe2\x80\xa8 \x0b\x0c\x85\n\n", [("", "\u2028 \x0b\x0c\ufffd")]),
        (b"", []),
        (b"\n\r\n\r", []),
    ],
)
def test_the_rules_of_the_standard(stream: bytes, expected: list[tuple[str, str]]) -> None:
    wanted = [Event(*event) for event in expected]
    assert events(stream) == wanted
    assert events(*(stream[at : at + 1] for at in range(len(stream)))) == wanted


LINES = st.sampled_from(
    [b"data: a", b"data:", b"data: \xc3\xbc", b"event: e", b": c", b"", b"x", b"id: 1", b"data: b: c"]
)
ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])


@given(st.lists(st.tuples(LINES, ENDS), max_size=12), st.lists(st.integers(0, 120), max_size=8))
def test_the_division_into_pieces_plays_no_part(lines: list[tuple[bytes, bytes]], cuts: list[int]) -> None:
    stream = b"".join(line + end for line, end in lines)
    places = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    pieces = [stream[begin:end] for begin, end in pairwise(places)]
    assert events(*pieces) == events(stream)


@given(st.binary(max_size=300))
def test_any_bytes(noise: bytes) -> None:
    assert events(noise) == events(*(noise[at : at + 1] for at in range(len(noise))))


def test_an_event_is_bounded_but_a_stream_is_not() -> None:
    for endless in (b"data: " + b"x" * 200, b"data: x\n" * 30, b"x" * 200):
        with pytest.raises(EventTooLarge):
            events(*[endless] * 3, max_event=150)
    assert len(events(*[b": kept alive\n", b"data: x\n\n"] * 100, max_event=50)) == 100
