"""A relay with two honest nodes, for targets that do it harm."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from net.frames import CONTROL, NODE, encode_frame
from tests.unit.net.net_tools import Node, Operator, Raw, joined

ONE, TWO, HARMFUL = 1, 2, 3
SECRET = "a secret of some length"


class Honest:
    """Two nodes at a relay, and the operator's events."""

    def __init__(self, operator: Operator, one: Node, two: Node) -> None:
        self.operator = operator
        self.one, self.two = one, two
        self._sent = 0

    @staticmethod
    @asynccontextmanager
    async def open(secret: str | None) -> AsyncIterator[Honest]:
        async with (
            Operator(nodes=3, secret=secret) as operator, Node(operator.port, ONE, secret) as one,
            Node(operator.port, TWO, secret) as two,
        ):
            yield Honest(operator, await one.up(), await two.up())

    async def works(self) -> None:
        """A message from the one gets to the other; neither was sent away."""
        self._sent += 1
        payload = b"ping %d" % self._sent
        self.one.link.send(TWO, payload)
        while all(got != (ONE, payload) for got in self.two.got):  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0)
        for node in (self.one, self.two):
            assert node.link.is_up and not node.crashed and not node.reasons("down")
            node.got.clear()
            node.hints.clear()
            node.heard.clear()
        told = self.operator.events
        assert len(told) < 100, f"{len(told)} lines about one connection"
        assert all(len(str(event)) < 2000 for event in told)
        told.clear()

    async def stranger(self) -> Raw:
        return await Raw.connect(self.operator.port)

    async def member(self) -> Raw:
        return await joined(self.operator, HARMFUL, incarnation=self._sent + 1, urgent=True)


async def say(raw: Raw, data: bytes) -> None:
    """All of it, whether or not anybody listens, and then the end; what comes back is read to its end."""
    try:
        raw.write(data)
        if raw.writer.can_write_eof():
            raw.writer.write_eof()
    except (ConnectionError, RuntimeError):
        pass  # it was sent away before it was done
    await raw.closed()
    raw.close()


def control(message: object, src: int = HARMFUL) -> bytes:
    return encode_frame(CONTROL, src, 0, msgspec.msgpack.encode(message))


def to(dst: int, payload: bytes, kind: int = NODE) -> bytes:
    return encode_frame(kind, HARMFUL, dst, payload)
