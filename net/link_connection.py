"""One connection of a NodeLink: the handshake from the node's side, then frames."""

from __future__ import annotations

import asyncio
from typing import Protocol, cast

import msgspec

from net import auth
from net.control_messages import (
    HANDSHAKE_S,
    VERSION,
    Challenge,
    Crash,
    FromOrchestrator,
    Hello,
    Label,
    PeerUp,
    Refusal,
    Refused,
    Welcome,
    control_frame,
    from_orchestrator,
)
from net.frames import CONTROL, HINT, NODE, ORCHESTRATOR, URGENT, FrameError, FrameParser
from net.peer_user import is_own_user
from net.send_queue import SendQueue
from net.sockets import keep_alive
from net.tls import NETWORK, identity_uri, peer_identities

MAX_QUEUED = 16 * 1024 * 1024
"""Bytes that wait to be sent; further ones are dropped."""


CLOSED = "the orchestrator closed the connection"


class Credentials(msgspec.Struct, frozen=True):
    """The node's identity."""

    cluster: str
    node: int
    secret: str | None
    process: int
    incarnation: int
    cluster_id: int = 0
    tls: bool = False
    """Both sides show certificates."""


class Owner(Protocol):
    """What a connection needs from its link."""

    def connected(self, connection: LinkConnection, peers: list[int]) -> None: ...
    def lost(self, connection: LinkConnection) -> None: ...
    def message(self, src: int, payload: memoryview) -> None: ...
    def hint(self, src: int, payload: memoryview) -> None: ...
    def peer(self, node: int, up: bool) -> None: ...
    def crash(self) -> None: ...
    def label(self, on: bool) -> None: ...


class LinkConnection(asyncio.BufferedProtocol):
    """What is pushed into `queue` leaves with the next turn of the event loop, or with its `flush`.

    `finished` is set when the connection is over; `reason` then says why, `refusal` is set if either side refused it.
    """

    def __init__(self, owner: Owner, credentials: Credentials) -> None:
        self.queue = SendQueue(MAX_QUEUED, self._flush_soon)
        self.finished = asyncio.Event()
        self.reason = CLOSED
        self.refusal: Refusal | None = None
        self.was_up = False
        self.hints = False
        self.urgent = False
        """Whether the orchestrator knows frames of the kinds HINT and URGENT."""
        self._owner = owner
        self._who = credentials
        self._parser = FrameParser()
        self._transport: asyncio.Transport | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._challenge: Challenge | None = None
        self._nonce = auth.new_nonce()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def abandon(self) -> None:
        """It could not be opened, or not in time: an event loop that closes it halfway does not say so, and what is
        queued would be written to what is closed."""
        self.connection_lost(None)

    # Called by asyncio.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)  # uvloop's transport does not inherit from asyncio's
        self._transport = transport
        self.queue.attach(transport)
        keep_alive(transport)
        if self._who.tls:
            self.reason = (
                "the orchestrator closed the connection at once: it may not trust this node's certificate; its own "
                "messages tell why"
            )
            identities = peer_identities(transport)
            if identity_uri(self._who.cluster, NETWORK) not in identities:
                whose = ", ".join(identities) or "nobody in particular"
                text = f"who answers there is not this cluster's network: its certificate is that of {whose}"
                self._give_up(Refusal.SECRET, text)
                return
        self._deadline = asyncio.get_running_loop().call_later(HANDSHAKE_S, self._too_slow)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._parser.buffer()

    def buffer_updated(self, nbytes: int) -> None:
        try:
            for frame in self._parser.received(nbytes):
                if frame.kind in (NODE, URGENT) and self.was_up:
                    self._owner.message(frame.src, frame.payload)
                elif frame.kind == CONTROL:
                    self._control(from_orchestrator(frame.payload))
                elif frame.kind == HINT and self.was_up:
                    self._owner.hint(frame.src, frame.payload)
                else:
                    raise FrameError(f"a frame of kind {frame.kind} at the wrong time")
                if self._over():
                    return
        except FrameError as error:
            self._give_up(Refusal.PROTOCOL, f"the orchestrator sent {error}")

    def pause_writing(self) -> None:
        self.queue.pause()

    def resume_writing(self) -> None:
        self.queue.resume()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.finished.is_set():
            return
        if self._deadline is not None:
            self._deadline.cancel()
        if exc is not None:
            self.reason = f"the connection to the orchestrator broke: {exc}"
        self._transport = None
        self.queue.detach()
        self._owner.lost(self)
        self.finished.set()

    def _control(self, message: FromOrchestrator) -> None:
        if isinstance(message, Refused) and self._challenge is not None:
            # Of a program that has challenged this node, and if there is no secret, is run by the same user.
            self._give_up(message.code, message.reason or "the orchestrator refuses this node without a reason")
        elif isinstance(message, Challenge) and self._challenge is None:
            self._answer(message)
        elif isinstance(message, Welcome) and self._challenge is not None and not self.was_up:
            self._enter(self._challenge, message)
        elif isinstance(message, Challenge | Welcome | Refused) or not self.was_up:
            # In particular, only a peer that has proved to know the secret can make a node crash.
            raise FrameError(f"a {type(message).__name__} at the wrong time")
        elif isinstance(message, Crash):
            self._owner.crash()
        elif isinstance(message, Label):
            self._owner.label(message.on)
        else:
            self._owner.peer(message.node, isinstance(message, PeerUp))

    def _answer(self, challenge: Challenge) -> None:
        self._challenge = challenge
        self.reason = CLOSED
        who = self._who
        if challenge.version != VERSION:
            text = f"the orchestrator speaks version {challenge.version} of the protocol, this node version {VERSION}"
            self._give_up(Refusal.VERSION, text)
        elif challenge.cluster != who.cluster:
            text = f"the orchestrator belongs to the cluster {challenge.cluster!r}, this node to {who.cluster!r}"
            self._give_up(Refusal.CLUSTER, text)
        elif who.secret is None and not who.tls and (self._transport is None or not is_own_user(self._transport)):
            # Before anything is told: whoever listens on the port while the orchestrator is down may be anybody.
            text = 'without a "secret" in its config, a node trusts only its own user\'s'
            self._give_up(Refusal.SECRET, f"the orchestrator is run by another user: {text}")
        else:
            proof = auth.node_proof(who.secret, who.cluster, who.node, challenge.nonce, self._nonce)
            hello = Hello(
                who.cluster, who.node, who.process, who.incarnation, self._nonce, proof, hints=True,
                cluster_id=who.cluster_id, urgent=True, labels=True,
            )
            self.queue.push(control_frame(who.node, ORCHESTRATOR, hello))

    def _enter(self, challenge: Challenge, welcome: Welcome) -> None:
        who = self._who
        expected = auth.orchestrator_proof(who.secret, who.cluster, who.node, challenge.nonce, self._nonce)
        if not auth.same(welcome.proof, expected):
            self._give_up(Refusal.SECRET, "the orchestrator does not know this cluster's secret")
            return
        if self._deadline is not None:
            self._deadline.cancel()
        self._parser.trust()
        self.hints, self.urgent = welcome.hints, welcome.urgent
        self.was_up = True
        self._owner.connected(self, welcome.peers)

    def _too_slow(self) -> None:
        self.reason = f"the orchestrator did not answer within {HANDSHAKE_S:g} s"
        if self._challenge is None and not self._who.tls:
            self.reason += ': perhaps it uses TLS, and "tls" is missing in this node\'s config.json'
        if self._transport is not None:
            self._transport.abort()

    def _give_up(self, code: Refusal, reason: str) -> None:
        if self.refusal is None:
            self.refusal, self.reason = code, reason
        self.close()

    def _flush_soon(self) -> None:
        asyncio.get_running_loop().call_soon(self.queue.flush)

    def _over(self) -> bool:
        return self._transport is None or self._transport.is_closing()
