from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from net.frames import (
    CONTROL,
    HEADER,
    HEADER_SIZE,
    MAX_FRAME,
    MAX_HANDSHAKE_FRAME,
    MAX_PAYLOAD,
    NODE,
    FrameError,
    FrameParser,
    encode_frame,
)


def trusted() -> FrameParser:
    parser = FrameParser()
    parser.trust()
    return parser


frames = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 65535), st.integers(0, 65535), st.binary(max_size=300)))


@given(frames, st.data())
@settings(max_examples=100, deadline=None)
def test_frames_come_out_as_they_went_in_however_the_stream_is_cut(
    sent: list[tuple[int, int, int, bytes]], data: st.DataObject
) -> None:
    stream = b"".join(encode_frame(*frame) for frame in sent)
    parser = FrameParser()
    got = []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        got += parser.feed(stream[:size])
        stream = stream[size:]
    assert [(f.kind, f.src, f.dst, bytes(f.payload)) for f in got] == sent


def test_raw_is_the_whole_frame() -> None:
    raw = encode_frame(NODE, 1, 2, b"hello")
    (frame,) = trusted().feed(raw)
    assert frame.raw == raw


@pytest.mark.parametrize("size", [256 * 1024, 1024 * 1024 + 1, MAX_PAYLOAD])
def test_large_frames_between_small_ones(size: int) -> None:
    sent = [b"a" * 200, b"b" * size, b"c" * 200, b"", b"d" * size]
    stream = b"".join(encode_frame(NODE, 1, 2, payload) for payload in sent)
    parser = trusted()
    got = [frame for start in range(0, len(stream), 70_000) for frame in parser.feed(stream[start : start + 70_000])]
    assert [bytes(frame.payload) for frame in got] == sent


def test_the_buffer_of_a_large_frame_is_given_back() -> None:
    parser = trusted()
    parser.feed(encode_frame(NODE, 1, 2, bytes(MAX_PAYLOAD)))
    assert len(parser.buffer()) <= 256 * 1024


def test_a_parser_always_offers_room() -> None:
    parser = FrameParser()
    stream = encode_frame(NODE, 1, 2, b"x" * 4000) * 50
    while stream:
        room = parser.buffer()
        assert len(room) > 0
        count = min(len(room), 977, len(stream))
        room[:count] = stream[:count]
        stream = stream[count:]
        for frame in parser.received(count):
            assert frame.payload == b"x" * 4000


@pytest.mark.parametrize(
    ("length", "kind", "words"),
    [(MAX_FRAME + 1, NODE, "at most"), (0xFFFFFFFF, NODE, "at most"), (4, NODE, "too short"), (5, 5, "unknown kind 5")],
)
def test_a_broken_header_is_an_error(length: int, kind: int, words: str) -> None:
    with pytest.raises(FrameError, match=words):
        trusted().feed(HEADER.pack(length, kind, 1, 2))


def test_frames_before_a_broken_one_still_come_out() -> None:
    parser = trusted()
    data = encode_frame(NODE, 1, 2, b"good") + b"\xff" * HEADER_SIZE
    parser.buffer()[: len(data)] = data
    stream = parser.received(len(data))
    assert bytes(next(stream).payload) == b"good"
    with pytest.raises(FrameError):
        next(stream)


def test_strangers_have_less_room_until_they_are_trusted() -> None:
    large = encode_frame(CONTROL, 1, 0, bytes(MAX_HANDSHAKE_FRAME))
    with pytest.raises(FrameError, match=f"at most {MAX_HANDSHAKE_FRAME}"):
        FrameParser().feed(large)
    assert len(trusted().feed(large)) == 1


def test_trust_counts_from_the_next_frame_on() -> None:
    parser = FrameParser()
    data = encode_frame(CONTROL, 1, 0, b"hello") + encode_frame(NODE, 1, 2, bytes(5000))[:HEADER_SIZE]
    parser.buffer()[: len(data)] = data
    for _ in parser.received(len(data)):
        parser.trust()
    assert len(parser.feed(bytes(5000))) == 1


def test_a_payload_beyond_the_limit_is_not_encoded() -> None:
    with pytest.raises(FrameError, match="does not fit"):
        encode_frame(NODE, 1, 2, bytes(MAX_PAYLOAD + 1))
