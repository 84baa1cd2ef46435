"""A process of the floor: python -m bench.floor_process relay PORT | node NUMBER PORT.

The relay routes frames (u32 length, u8 kind, u16 from, u16 to, payload) by their header and does nothing else. A node
answers each frame with an acknowledgement of ACK bytes. There is no codec, no log and no disk.
"""

from __future__ import annotations

import asyncio
import struct
import sys
from collections.abc import Iterator

import uvloop

HEADER = struct.Struct("!IBHH")
ACK = 20
HELLO = 0
DATA = 1


def frame(kind: int, src: int, dst: int, payload: bytes) -> bytes:
    return HEADER.pack(HEADER.size - 4 + len(payload), kind, src, dst) + payload


class Framed(asyncio.BufferedProtocol):
    """Reads frames."""

    def __init__(self) -> None:
        self._space = bytearray(1024 * 1024)
        self._view = memoryview(self._space)
        self._filled = 0
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._view[self._filled :]

    def frames(self, count: int) -> Iterator[tuple[int, int, int, bytes]]:
        """(kind, from, to, the whole frame), of those now complete."""
        self._filled += count
        at, space = 0, self._space
        while self._filled - at >= HEADER.size:
            length, kind, src, dst = HEADER.unpack_from(space, at)
            end = at + 4 + length
            if end > self._filled:
                break
            yield kind, src, dst, bytes(self._view[at:end])
            at = end
        rest = self._filled - at
        if rest and at:
            space[:rest] = space[at : self._filled]
        self._filled = rest


class RelaySide(Framed):
    members: dict[int, RelaySide] = {}  # noqa: RUF012
    dirty: dict[RelaySide, list[bytes]] = {}  # noqa: RUF012

    def buffer_updated(self, count: int) -> None:
        members, dirty = self.members, self.dirty
        idle = not dirty
        for kind, src, dst, raw in self.frames(count):
            if kind == HELLO:
                members[src] = self
            elif dst in members:
                dirty.setdefault(members[dst], []).append(raw)
        if dirty and idle:
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        for side, waiting in self.dirty.items():
            side.transport.write(b"".join(waiting))
        self.dirty.clear()


class NodeSide(Framed):
    def __init__(self, number: int) -> None:
        super().__init__()
        self._number = number
        self._acknowledgement = bytes(ACK)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.transport.write(frame(HELLO, self._number, 0, b""))

    def buffer_updated(self, count: int) -> None:
        answers = [frame(DATA, self._number, src, self._acknowledgement) for _, src, _, _ in self.frames(count)]
        if answers:
            self.transport.write(b"".join(answers))


async def main(arguments: list[str]) -> None:
    loop = asyncio.get_running_loop()
    if arguments[0] == "relay":
        server = await loop.create_server(RelaySide, "127.0.0.1", int(arguments[1]))
        await server.serve_forever()
    number, port = map(int, arguments[1:])
    await loop.create_connection(lambda: NodeSide(number), "127.0.0.1", port)
    await loop.create_future()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1:]))
