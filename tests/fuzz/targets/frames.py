"""Frames on a stream: whatever comes, in whatever pieces."""

from __future__ import annotations

from net.frames import CONTROL, HINT, MAX_FRAME, NODE, URGENT, Frame, FrameError, FrameParser, encode_frame
from tests.fuzz.target import Target

_MOST_BUFFERED = MAX_FRAME + 1024


def check(data: bytes) -> None:
    """The first byte says how long the pieces are, and whether the other side is trusted."""
    size, trusted = data[0] // 2 if data else 0, bool(data and data[0] % 2)
    stream = data[1:]
    whole = _frames(stream, len(stream), trusted)
    assert _frames(stream, max(size, 1), trusted) == whole
    frames, _ = whole
    for frame in frames:
        assert encode_frame(frame.kind, frame.src, frame.dst, frame.payload) == frame.raw
    assert b"".join(frame.raw for frame in frames) == stream[: sum(len(frame.raw) for frame in frames)]


def _frames(stream: bytes, size: int, trusted: bool) -> tuple[list[Frame], str]:
    """Those before the first mistake, and the mistake."""
    parser, frames = FrameParser(), list[Frame]()
    if trusted:
        parser.trust()
    try:
        for begin in range(0, len(stream), max(size, 1)):
            rest = memoryview(stream)[begin : begin + max(size, 1)]
            while rest:
                buffer = parser.buffer()
                assert 0 < len(buffer) <= _MOST_BUFFERED
                count = min(len(buffer), len(rest))
                buffer[:count], rest = rest[:count], rest[count:]
                frames.extend(parser.received(count))
    except FrameError as error:
        return frames, str(error)
    return frames, ""


def seeds() -> list[bytes]:
    frames = [
        encode_frame(kind, 1, 2, payload)
        for kind in (CONTROL, NODE, HINT, URGENT) for payload in (b"", b"abc", bytes(range(256)))
    ]
    stream = b"".join(frames)
    return [bytes((first,)) + stream for first in (0, 1, 6, 255)] + [b"\x21" + frame for frame in frames]


TARGET = Target("frames out of a stream", check, seeds, examples=250)
