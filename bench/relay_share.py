"""A relay that only routes, behind the handshake that nodes expect: what net/relay/relay.py is measured against."""

from __future__ import annotations

import asyncio

from bench.floor_process import Framed
from net import auth
from net.control_messages import Challenge, Hello, Welcome, control_frame, from_node
from net.frames import CONTROL, HEADER_SIZE, ORCHESTRATOR

CLUSTER = "bench"


class BareSide(Framed):
    members: dict[int, BareSide] = {}  # noqa: RUF012
    dirty: dict[BareSide, list[bytes]] = {}  # noqa: RUF012

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._challenge = auth.new_nonce()
        self.transport.write(control_frame(ORCHESTRATOR, 0, Challenge(self._challenge, CLUSTER, False)))

    def buffer_updated(self, count: int) -> None:
        members, dirty = self.members, self.dirty
        idle = not dirty
        for kind, src, dst, raw in self.frames(count):
            if kind == CONTROL:
                self._let_in(src, raw)
            elif dst in members:
                dirty.setdefault(members[dst], []).append(raw)
        if dirty and idle:
            asyncio.get_running_loop().call_soon(self._flush)

    def _let_in(self, src: int, raw: bytes) -> None:
        message = from_node(memoryview(raw)[HEADER_SIZE:])
        if isinstance(message, Hello):
            self.members[src] = self
            proof = auth.orchestrator_proof(None, CLUSTER, src, self._challenge, message.nonce)
            self.transport.write(control_frame(ORCHESTRATOR, src, Welcome(proof, [])))

    def _flush(self) -> None:
        for side, waiting in self.dirty.items():
            side.transport.write(b"".join(waiting))
        self.dirty.clear()


async def start(host: str) -> int:
    """Listens on a free port; returns it."""
    server = await asyncio.get_running_loop().create_server(BareSide, host, 0)
    port: int = server.sockets[0].getsockname()[1]
    return port
