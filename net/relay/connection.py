"""One accepted connection, on the orchestrator's side: first a stranger (see relay.py), then a node's, or refused."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol, cast

from net import auth
from net.control_messages import (
    HANDSHAKE_S,
    Challenge,
    FromOrchestrator,
    Hello,
    Refusal,
    Refused,
    Report,
    control_frame,
    from_node,
)
from net.frames import CONTROL, ORCHESTRATOR, Frame, FrameError, FrameParser, as_node_frame, is_urgent
from net.peer_user import is_own_user
from net.send_queue import SendQueue
from net.sockets import keep_alive
from net.tls import peer_identities

MAX_QUEUED = 8 * 1024 * 1024
"""Bytes that wait for a node that does not read; further frames are dropped. (One frame may exceed the limit.)"""

LINGER_S = 1.0
"""How long a refused connection may take to read the reason. Closing at once would discard it together with
anything the other side is still sending."""

NOT_A_NODE = -1
"""Matches the `src` of no frame."""


class Traffic:
    """Counters of one node, over all its connections: `in` is from the node, `out` to it."""

    __slots__ = ("bytes_in", "bytes_out", "dropped", "frames_in", "frames_out")

    def __init__(self) -> None:
        self.frames_in = 0
        self.bytes_in = 0
        self.frames_out = 0
        self.bytes_out = 0
        self.dropped = 0
        """Frames for it that were dropped: its queue was full, it was disconnected, or a fault dropped them."""


class Owner(Protocol):
    """What a connection tells the relay."""

    def challenge(self, nonce: bytes) -> Challenge: ...
    def opened(self, connection: Connection) -> None: ...
    def introduced(self, connection: Connection, hello: Hello) -> None: ...
    def reported(self, connection: Connection, report: Report) -> None: ...
    def refused(self, connection: Connection, code: Refusal, reason: str) -> None: ...
    def closed(self, connection: Connection) -> None: ...


class FrameRouter(Protocol):
    """Where a node's frames go."""

    def route(self, source: Connection, frame: Frame) -> None: ...
    def flush_later(self, connection: Connection) -> None: ...


class Connection(asyncio.BufferedProtocol):
    def __init__(self, owner: Owner, router: FrameRouter) -> None:
        self._owner = owner
        self._router = router
        self._parser = FrameParser()
        self._transport: asyncio.Transport | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._queue = SendQueue(MAX_QUEUED, lambda: self._router.flush_later(self))
        self._discard: bytearray | None = None
        """The buffer that discards a refused connection's further bytes."""
        self.nonce = auth.new_nonce()
        """What the other side has to prove itself with."""
        self.node = NOT_A_NODE
        self.traffic = Traffic()
        self.hello: Hello | None = None
        self.identities: list[str] = []
        """What the certificate at the other end says of it; empty without TLS."""
        self.host = ""
        self.heard = 0.0
        """Loop time when the last bytes arrived."""

    def admit(self, hello: Hello, traffic: Traffic) -> None:
        """The handshake succeeded: this is a node from now on."""
        self.node, self.hello, self.traffic = hello.node, hello, traffic
        self._parser.trust()
        self._cancel_deadline()

    def push(self, raw: bytes) -> bool:
        """Queues one frame; it leaves when the router calls `flush`. False if the queue is full. A node that does not
        know URGENT frames would hang up: it gets the same as a NODE frame."""
        if not is_urgent(raw):
            return self._queue.push(raw)
        known = self.hello is not None and self.hello.urgent
        return self._queue.push(raw if known else as_node_frame(raw), urgent=True)

    def send(self, message: FromOrchestrator) -> None:
        """Queues a control message even if the queue is full: these are few and small."""
        self._queue.push(control_frame(ORCHESTRATOR, max(self.node, 0), message), bounded=False)

    def flush(self) -> None:
        self._queue.flush()

    def refuse(self, code: Refusal, reason: str) -> None:
        """Sends the reason, then closes; everything that arrives from now on is ignored."""
        if self._discard is not None or self._transport is None:
            return
        self._discard = bytearray(16 * 1024)
        self._owner.refused(self, code, reason)
        self._queue.end(control_frame(ORCHESTRATOR, max(self.node, 0), Refused(code, reason[:500])))
        if self._transport.can_write_eof() and not self._transport.is_closing():
            self._transport.write_eof()
        self._set_deadline(LINGER_S, self.abort)

    def is_own_user(self) -> bool:
        """Whether a process of this user is at the other end."""
        return self._transport is not None and is_own_user(self._transport)

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    # Called by asyncio.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)  # uvloop's transport does not inherit from asyncio's
        self._transport = transport
        self._queue.attach(transport)
        peer = transport.get_extra_info("peername")
        self.host = str(peer[0]) if peer else ""
        self.identities = peer_identities(transport)
        keep_alive(transport)
        self._set_deadline(HANDSHAKE_S, self._too_slow)
        self._owner.opened(self)
        self.send(self._owner.challenge(self.nonce))

    def get_buffer(self, sizehint: int) -> memoryview | bytearray:
        return self._parser.buffer() if self._discard is None else self._discard

    def buffer_updated(self, nbytes: int) -> None:
        if self._discard is not None:
            return
        self.heard = asyncio.get_running_loop().time()
        route, node = self._router.route, self.node
        try:
            for frame in self._parser.received(nbytes):
                if frame.kind != CONTROL and frame.src == node:
                    route(self, frame)
                    continue
                self._handle(frame)
                if self._discard is not None:
                    return
                node = self.node
        except FrameError as error:
            self.refuse(Refusal.PROTOCOL, f"{self._name()} sent {error}")

    def pause_writing(self) -> None:
        self._queue.pause()

    def resume_writing(self) -> None:
        self._queue.resume()

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_deadline()
        self._queue.detach()
        self._owner.closed(self)
        self._transport = None

    def _handle(self, frame: Frame) -> None:
        if frame.kind != CONTROL:
            if self.node == NOT_A_NODE:
                raise FrameError("a message before the handshake")
            raise FrameError(f"a message with the source of node {frame.src}")
        message = from_node(frame.payload)
        if isinstance(message, Hello) and self.node == NOT_A_NODE:
            self._owner.introduced(self, message)
        elif isinstance(message, Report) and self.node != NOT_A_NODE:
            self._owner.reported(self, message)
        else:
            raise FrameError(f"a {type(message).__name__} at the wrong time")

    def _too_slow(self) -> None:
        self.refuse(Refusal.PROTOCOL, f"{self._name()} did not identify itself within {HANDSHAKE_S:g} s")

    def _name(self) -> str:
        return "an unidentified peer" if self.node == NOT_A_NODE else f"node {self.node}"

    def _set_deadline(self, seconds: float, then: Callable[[], None]) -> None:
        self._cancel_deadline()
        self._deadline = asyncio.get_running_loop().call_later(seconds, then)

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
