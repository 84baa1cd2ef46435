"""A relay that only routes, and nodes that only acknowledge: what a relay and a cluster are measured against.

The relay routes frames (u32 length, u8 kind, u16 from, u16 to, payload) by their header and does nothing else. A node
answers each frame with an acknowledgement of ACK bytes. There is no codec, no log and no disk. As a process:
python -m bench.bare_relay relay | node NUMBER PORT. It prints a line when it is ready: a relay, its port.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from typing import ClassVar

import uvloop

from net import auth
from net.control_messages import Challenge, Hello, Welcome, control_frame, from_node
from net.frames import CONTROL, HEADER, HEADER_SIZE, LENGTH_SIZE, NODE, ORCHESTRATOR, encode_frame

HOST = "127.0.0.1"
CLUSTER = "bench"
ACK = 20


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
        while self._filled - at >= HEADER_SIZE:
            length, kind, src, dst = HEADER.unpack_from(space, at)
            end = at + LENGTH_SIZE + length
            if end > self._filled:
                break
            yield kind, src, dst, bytes(self._view[at:end])
            at = end
        rest = self._filled - at
        if rest and at:
            space[:rest] = space[at : self._filled]
        self._filled = rest


class RelaySide(Framed):
    """Of a connection from a node. `members` and `unsent` are the relay's."""

    members: ClassVar[dict[int, RelaySide]] = {}
    unsent: ClassVar[dict[RelaySide, list[bytes]]] = {}

    def buffer_updated(self, count: int) -> None:
        members, unsent = self.members, self.unsent
        idle = not unsent
        for kind, src, dst, raw in self.frames(count):
            if kind == CONTROL:
                self.control(src, raw)
            elif dst in members:
                unsent.setdefault(members[dst], []).append(raw)
        if unsent and idle:
            asyncio.get_running_loop().call_soon(self._flush)

    def control(self, src: int, raw: bytes) -> None:
        """A node says who it is."""
        self.members[src] = self

    def _flush(self) -> None:
        for side, frames in self.unsent.items():
            side.transport.write(b"".join(frames))
        self.unsent.clear()


class HandshakeSide(RelaySide):
    """The same behind the handshake that the product's nodes expect."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._challenge = auth.new_nonce()
        self.transport.write(control_frame(ORCHESTRATOR, 0, Challenge(self._challenge, CLUSTER, False)))

    def control(self, src: int, raw: bytes) -> None:
        message = from_node(memoryview(raw)[HEADER_SIZE:])
        if isinstance(message, Hello):
            super().control(src, raw)
            proof = auth.orchestrator_proof(None, CLUSTER, src, self._challenge, message.nonce)
            self.transport.write(control_frame(ORCHESTRATOR, src, Welcome(proof, [])))


async def start(side: type[RelaySide] = RelaySide) -> int:
    """Listens on a free port; returns it."""
    server = await asyncio.get_running_loop().create_server(side, HOST, 0)
    port: int = server.sockets[0].getsockname()[1]
    return port


class NodeSide(Framed):
    def __init__(self, number: int) -> None:
        super().__init__()
        self._number = number
        self._acknowledgement = bytes(ACK)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.transport.write(encode_frame(CONTROL, self._number, ORCHESTRATOR, b""))

    def buffer_updated(self, count: int) -> None:
        answers = [encode_frame(NODE, self._number, src, self._acknowledgement) for _, src, _, _ in self.frames(count)]
        if answers:
            self.transport.write(b"".join(answers))


async def main(arguments: list[str]) -> None:
    if arguments[0] == "relay":
        print(await start(), flush=True)
    else:
        number, port = map(int, arguments[1:])
        await asyncio.get_running_loop().create_connection(lambda: NodeSide(number), HOST, port)
        print("connected", flush=True)
    await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1:]))
