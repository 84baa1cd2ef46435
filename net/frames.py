"""Frames on a TCP stream.

    u32 length of all that follows | u8 kind | u16 src | u16 dst | payload        (network byte order)

The header is all that the relay needs to route a frame; messages between nodes stay opaque.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import msgspec

HEADER = struct.Struct("!IBHH")
HEADER_SIZE = HEADER.size
LENGTH_SIZE = 4
"""The length field does not count itself."""

CONTROL = 0
"""Between one node and the orchestrator: the payload is a message of net/control_messages.py."""
NODE = 1
"""From node to node: the relay does not look inside."""
HINT = 2
"""From node to node beside the protocol: nothing depends on its arrival. Sent only to those who said that they know
this kind (`hints` in net/control_messages.py): release 0.1.0 hangs up on it."""
URGENT = 3
"""As NODE, but it overtakes NODE and HINT frames wherever they wait: for what is small and must not be late. Sent only
to those who said that they know this kind (`urgent` in net/control_messages.py)."""
LABELLED = 4
"""From a node to the relay, which asked for labels: a frame of another kind, and in words what it carries. The relay
takes the label off before it passes the frame on.

    u8 length of the label | label, ASCII | u8 kind | payload
"""
MAX_LABEL = 80

ORCHESTRATOR = 0
"""The address of the orchestrator in `src` and `dst`; nodes count from 1."""

MAX_FRAME = 16 * 1024 * 1024
"""Bytes that a length field may announce."""
MAX_HANDSHAKE_FRAME = 4 * 1024
"""The same before the other side has proved who it is."""
MAX_PAYLOAD = MAX_FRAME - (HEADER_SIZE - LENGTH_SIZE)

_MOST_WORDS = 400
"""Characters."""
_BUFFER = 256 * 1024
"""Bytes read at once: at 200 bytes per frame, about 1,200 frames per system call."""
_HANDSHAKE_BUFFER = 2 * MAX_HANDSHAKE_FRAME


class FrameError(ValueError):
    """The stream is invalid; nothing after this point can be parsed. Says why, in bounded words: a part of what came
    may be among them."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason[:_MOST_WORDS])


class Frame(msgspec.Struct, frozen=True, gc=False):
    """One whole frame; `raw` includes its header, so that it can be forwarded unchanged."""

    kind: int
    src: int
    dst: int
    raw: bytes

    @property
    def payload(self) -> memoryview:
        return memoryview(self.raw)[HEADER_SIZE:]


def encode_frame(kind: int, src: int, dst: int, payload: bytes | bytearray | memoryview) -> bytes:
    """The bytes of one frame. Raises FrameError if the payload is too large to be accepted anywhere."""
    if len(payload) > MAX_PAYLOAD:
        raise FrameError(f"a message of {len(payload)} bytes does not fit in a frame: at most {MAX_PAYLOAD}")
    return HEADER.pack(HEADER_SIZE - LENGTH_SIZE + len(payload), kind, src, dst) + payload


def is_urgent(raw: bytes) -> bool:
    """Whether this whole frame is of the kind URGENT."""
    return raw[LENGTH_SIZE] == URGENT


def as_node_frame(raw: bytes) -> bytes:
    """This whole frame as one of the kind NODE."""
    return raw[:LENGTH_SIZE] + bytes((NODE,)) + raw[LENGTH_SIZE + 1 :]


def encode_labelled_frame(kind: int, src: int, dst: int, label: str, payload: bytes) -> bytes:
    """One frame with a label, cut to MAX_LABEL characters. Raises FrameError as `encode_frame` does."""
    words = label.encode("ascii", "replace")[:MAX_LABEL]
    return encode_frame(LABELLED, src, dst, b"".join((bytes((len(words),)), words, bytes((kind,)), payload)))


def take_label_off(raw: bytes) -> tuple[str, bytes]:
    """The label of a whole LABELLED frame, printable, and the frame without it. Raises FrameError."""
    end = HEADER_SIZE + 1 + (raw[HEADER_SIZE] if len(raw) > HEADER_SIZE else 0)
    if len(raw) <= end or raw[end] not in (NODE, URGENT):
        raise FrameError("a frame with a broken label")
    words = raw[HEADER_SIZE + 1 : end].decode("ascii", "replace")
    _, _, src, dst = HEADER.unpack_from(raw)
    label = "".join(char if char.isprintable() else "?" for char in words[:MAX_LABEL])
    return label, encode_frame(raw[end], src, dst, raw[end + 1 :])


class FrameParser:
    """Splits a stream into frames, reading into its own buffer.

    Made for `asyncio.BufferedProtocol`: `buffer()` says where the next bytes belong, `received(n)` yields the frames
    that are complete since then. One frame costs one copy (out of the buffer, which is reused).
    Starts with the limits of a handshake; `trust()` lifts them, also in the middle of iterating `received`.
    """

    def __init__(self) -> None:
        self._limit = MAX_HANDSHAKE_FRAME
        self._size = _HANDSHAKE_BUFFER
        self._buffer = memoryview(bytearray(self._size))
        self._start = 0
        """The index of the first byte that is not yet part of a yielded frame."""
        self._end = 0
        """The index after the last byte received."""
        self._needed = HEADER_SIZE
        """The total size of the frame at `_start`, as far as known."""

    def trust(self) -> None:
        """The other side is authenticated: full-size frames, and a buffer for many frames at once."""
        self._limit = MAX_FRAME
        self._size = _BUFFER

    def buffer(self) -> memoryview:
        """Where to write the next bytes; never empty. Valid until the next call of `buffer` or `received`."""
        pending = self._end - self._start
        size = max(self._size, self._needed)
        # A buffer that grew for one large frame is freed as soon as that frame is consumed.
        if len(self._buffer) < size or (len(self._buffer) > size and pending <= size):
            larger = memoryview(bytearray(size))
            larger[:pending] = self._buffer[self._start : self._end]
            self._buffer, self._start, self._end = larger, 0, pending
        elif pending == 0:
            self._start = self._end = 0
        elif self._start + self._needed > len(self._buffer) or self._end == len(self._buffer):
            self._buffer[:pending] = self._buffer[self._start : self._end]
            self._start, self._end = 0, pending
        return self._buffer[self._end :]

    def received(self, count: int) -> Iterator[Frame]:
        """`count` bytes were written to `buffer()`. Yields the frames now complete; iterate to the end.

        Raises FrameError at the first one that is broken, after those before it have been yielded.
        """
        self._end += count
        while (pending := self._end - self._start) >= HEADER_SIZE:
            start = self._start
            length, kind, src, dst = HEADER.unpack_from(self._buffer, start)
            if length > self._limit or length < HEADER_SIZE - LENGTH_SIZE or kind > LABELLED:
                raise FrameError(self._problem(length, kind))
            size = LENGTH_SIZE + length
            if pending < size:
                self._needed = size
                return
            self._start = start + size
            yield Frame(kind, src, dst, bytes(self._buffer[start : start + size]))
        self._needed = HEADER_SIZE

    def feed(self, data: bytes) -> list[Frame]:
        """For callers that already hold the bytes. Raises FrameError, and then yields none of the frames in `data`."""
        frames: list[Frame] = []
        rest = memoryview(data)
        while rest:
            buffer = self.buffer()
            count = min(len(buffer), len(rest))
            buffer[:count] = rest[:count]
            rest = rest[count:]
            frames.extend(self.received(count))
        return frames

    def _problem(self, length: int, kind: int) -> str:
        if length > self._limit:
            return f"a frame of {length} bytes: at most {self._limit} are allowed here"
        if length < HEADER_SIZE - LENGTH_SIZE:
            return f"a frame of {length} bytes: too short to have a header"
        return f"a frame of unknown kind {kind}"
