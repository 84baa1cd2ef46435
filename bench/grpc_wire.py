"""Just enough of gRPC to call etcd's Put at full speed: hand-made HTTP/2 frames, headers encoded once.

A client library would be the bottleneck of the measurement. Specifications: RFC 9113 (HTTP/2), RFC 7541 (HPACK).
"""

from __future__ import annotations

import asyncio
import struct
import time

from bench.drive import Channel

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _GOAWAY, _WINDOW = 0, 1, 3, 4, 6, 7, 8
_END_STREAM, _END_HEADERS, _ACK = 1, 4, 1
_LARGEST_WINDOW = 2**31 - 1
_HEADER = struct.Struct("!BHBBI")
"""Length (24 bits), type, flags, stream."""


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return _HEADER.pack(len(payload) >> 16, len(payload) & 0xFFFF, kind, flags, stream) + payload


def literal(name: str, value: str) -> bytes:
    """A header without indexing (RFC 7541, 6.2.2)."""
    return b"\x00" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()


def varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 127:
        encoded.append(number & 127 | 128)
        number >>= 7
    return bytes(encoded) + bytes([number])


def put_request(key: bytes, value: bytes) -> bytes:
    """A gRPC message with etcdserverpb.PutRequest."""
    body = b"\x0a" + varint(len(key)) + key + b"\x12" + varint(len(value)) + value
    return b"\x00" + struct.pack("!I", len(body)) + body


class PutChannel(asyncio.Protocol, Channel):
    """A connection to one etcd member."""

    def __init__(self, authority: str, requests: list[bytes]) -> None:
        Channel.__init__(self)
        self._requests = requests
        self._next = 0
        self._stream = -1
        self._sent: dict[int, float] = {}
        self._answered: set[int] = set()
        self._buffer = bytearray()
        self._consumed = 0
        self._transport: asyncio.Transport | None = None
        self._headers = b"\x83\x86" + b"".join(literal(name, value) for name, value in (  # POST, http
            (":path", "/etcdserverpb.KV/Put"), (":authority", authority), ("content-type", "application/grpc"),
            ("te", "trailers"),
        ))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        settings = struct.pack("!HI", 4, _LARGEST_WINDOW) + struct.pack("!HI", 1, 0)  # window; no header table
        grow = struct.pack("!I", _LARGEST_WINDOW - 65_535)
        self._write(_PREFACE + frame(_SETTINGS, 0, 0, settings) + frame(_WINDOW, 0, 0, grow))

    def issue(self, count: int) -> None:
        if self._transport is None or self._transport.is_closing():
            self.in_flight -= count
            return
        now = time.perf_counter()
        parts: list[bytes] = []
        for _ in range(count):
            self._stream += 2
            self._sent[self._stream] = now
            request = self._requests[self._next]
            self._next = (self._next + 1) % len(self._requests)
            parts.append(frame(_HEADERS, _END_HEADERS, self._stream, self._headers))
            parts.append(frame(_DATA, _END_STREAM, self._stream, request))
        self._write(b"".join(parts))

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        at, done, errors = 0, [], 0
        while len(buffer) - at >= 9:
            high, low, kind, flags, stream = _HEADER.unpack_from(buffer, at)
            end = at + 9 + (high << 16 | low)
            if len(buffer) < end:
                break
            if kind == _DATA:
                self._answered.add(stream)
                self._consumed += end - at - 9
            elif kind in (_HEADERS, _RESET) and (kind == _RESET or flags & _END_STREAM):
                sent = self._sent.pop(stream, None)
                if sent is not None and stream in self._answered:
                    done.append(sent)
                elif sent is not None:
                    errors += 1
                self._answered.discard(stream)
            elif kind in (_SETTINGS, _PING) and not flags & _ACK:
                self._write(frame(kind, _ACK, 0, bytes(buffer[at + 9 : end]) if kind == _PING else b""))
            at = end
        del buffer[:at]
        if self._consumed > 2**20:
            self._write(frame(_WINDOW, 0, 0, struct.pack("!I", self._consumed)))
            self._consumed = 0
        if errors:  # errors may come as fast as requests: limit them to a few per millisecond
            asyncio.get_running_loop().call_later(0.005, self.answered, done, errors)
        elif done:
            self.answered(done)

    def connection_lost(self, exc: Exception | None) -> None:
        self.window = 0
        count = len(self._sent)
        self._sent.clear()
        self.answered([], count)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)
