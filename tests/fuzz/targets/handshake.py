"""The records of a handshake and after, in both directions, and a node's link that hears them."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from net import auth
from net.control_messages import (
    Challenge,
    Crash,
    FromNode,
    FromOrchestrator,
    Hello,
    PeerDown,
    PeerUp,
    Refusal,
    Refused,
    Report,
    Welcome,
    from_node,
    from_orchestrator,
)
from net.frames import CONTROL, FrameError, encode_frame
from net.link_connection import Credentials, LinkConnection
from tests.fuzz.target import Form, Target

_encode = msgspec.msgpack.encode


class _Owner:
    """Of a link; a crash that an unproved orchestrator asks for is a fault."""

    def __init__(self) -> None:
        self.up = False

    def connected(self, connection: LinkConnection, peers: list[int]) -> None:
        self.up = True

    def lost(self, connection: LinkConnection) -> None:
        self.up = False

    def message(self, src: int, payload: memoryview) -> None:
        raise AssertionError("a message from who did not prove to know the secret")

    hint = message

    def peer(self, node: int, up: bool) -> None:
        raise AssertionError("news from who did not prove to know the secret")

    def label(self, on: bool) -> None:
        raise AssertionError("a wish of who did not prove to know the secret")

    def crash(self) -> None:
        raise AssertionError("a crash for who did not prove to know the secret")


class _Transport(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.closing = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    def abort(self) -> None:
        self.closing = True

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Nobody reads it."""

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Nothing waits here."""


def check(data: bytes) -> None:
    for decode in (from_node, from_orchestrator):
        try:
            message: FromNode | FromOrchestrator = decode(data)
        except FrameError as error:
            assert str(error)
            continue
        assert decode(_encode(message)) == message
    asyncio.run(_heard(data))


async def _heard(data: bytes) -> None:
    """A link with a secret hears it from somebody who does not know it: after nothing, and after a Challenge."""
    challenge = _encode(Challenge(auth.new_nonce(), "demo", True))
    for said in ((data,), (challenge, data)):
        owner = _Owner()
        link = LinkConnection(owner, Credentials("demo", 1, "a secret", 77, 1))
        link.connection_made(_Transport())
        for payload in said:
            frame = encode_frame(CONTROL, 0, 1, payload)
            while frame and not link._over():
                buffer = link.get_buffer(-1)
                count = min(len(buffer), len(frame))
                buffer[:count], frame = frame[:count], frame[count:]
                link.buffer_updated(count)
        assert not owner.up
        link.connection_lost(None)
        assert link.reason and len(link.reason) < 1000


def seeds() -> list[bytes]:
    nonce = bytes(32)
    messages: list[FromNode | FromOrchestrator] = [
        Challenge(nonce, "demo", True), Welcome(b"p" * 32, [1, 2, 3], True, True), Refused(Refusal.DUPLICATE, "taken"),
        Crash(), PeerUp(3), PeerDown(3), Hello("demo", 2, 77, 5, nonce, b"p" * 32, cluster_id=9),
        Report("leader", 1, (1, 2, 3), 4, 4, 0, "0f", 9, 1, [1, 2, 3], [2]),
    ]
    return [_encode(message) for message in messages]


TARGET = Target("records of a handshake", check, seeds, Form.MSGPACK, examples=200)
