"""Shared by the tests of net/: a relay and nodes in one event loop, on ports chosen by the system."""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any

import msgspec
import uvloop

from net.auth import new_nonce
from net.control_messages import Challenge, FromOrchestrator, Hello, Welcome, control_frame, from_orchestrator
from net.control_messages import FromNode as FromNode
from net.frames import CONTROL, NODE, Frame, FrameParser, encode_frame
from net.link import NodeLink
from net.relay.faults import Faults
from net.relay.holding import HeldMessage
from net.relay.refusals import RefusalNotice
from net.relay.relay import Relay
from net.relay.served_cluster import KnownCluster
from net.tls import TlsContexts

HOST = "127.0.0.1"
LIMIT_S = 20.0
"""A timeout that only a bug can reach."""


def run(main: Coroutine[Any, Any, None]) -> None:
    """Runs a test to its end; an error that an event loop would only log fails it."""

    async def guarded() -> None:
        problems: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(context))
        test = asyncio.ensure_future(main)
        await asyncio.wait([test], timeout=LIMIT_S)
        if not test.done():
            where = io.StringIO()
            for task in asyncio.all_tasks():
                task.print_stack(file=where)
            test.cancel()
            raise AssertionError(f"not done within {LIMIT_S:g} s; {problems}\n{where.getvalue()}")
        test.result()
        assert not problems

    uvloop.run(guarded())


async def until(condition: Callable[[], object]) -> None:
    """Polls for a condition that has no event."""
    while not condition():  # noqa: ASYNC110 - there is no event: conditions are about what several parties have done
        await asyncio.sleep(0.002)


class Operator:
    """A relay and its events."""

    def __init__(
        self, nodes: int = 3, secret: str | None = None, cluster: str = "test", known: KnownCluster | None = None,
        tls: TlsContexts | None = None, host: str = HOST,
    ) -> None:
        self._host = host
        self.events: list[dict[str, Any]] = []
        self.faults = Faults(Random(1))
        self.relay = Relay(
            cluster=cluster, nodes=range(1, nodes + 1), secret=secret, faults=self.faults, listener=self,
            known=known, tls=tls,
        )
        self.port = 0

    def on_node_up(self, node: int) -> None:
        self.events.append({"event": "node_up", "node": node})

    def on_node_down(self, node: int) -> None:
        self.events.append({"event": "node_down", "node": node})

    def on_refused(self, notice: RefusalNotice) -> None:
        self.events.append({"event": "refused", "reason": notice.reason})

    def on_cluster(self, known: KnownCluster) -> None:
        self.events.append({"event": "cluster", "known": known})

    def on_held(self, message: HeldMessage) -> None:
        self.events.append({"event": "held", "message": message})

    def on_report(self, node: int) -> None:
        self.events.append({"event": "report", "node": node})

    async def __aenter__(self) -> Operator:
        self.port = await self.relay.start(self._host, self.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.relay.close()

    def told(self, event: str) -> list[dict[str, Any]]:
        return [told for told in self.events if told["event"] == event]

    async def refusal(self) -> str:
        """The reason of the first refusal, as soon as there is one."""
        await until(lambda: self.told("refused"))
        return str(self.told("refused")[0]["reason"])


class Node:
    """A NodeLink and everything it received."""

    def __init__(
        self, port: int, number: int, secret: str | None = None, cluster: str = "test", incarnation: int = 1,
        tls: TlsContexts | None = None, host: str = HOST,
    ) -> None:
        self.got: list[tuple[int, bytes]] = []
        self.hints: list[tuple[int, bytes]] = []
        self.heard: list[tuple[str, Any]] = []
        self.crashed = 0
        self.link = NodeLink(
            host=host, port=port, cluster=cluster, node=number, secret=secret, incarnation=incarnation, events=self,
            random=Random(number), crash=self._crash, tls=tls,
        )

    async def __aenter__(self) -> Node:
        self.link.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.link.close()

    async def up(self) -> Node:
        await until(lambda: self.link.is_up)
        return self

    async def count(self, messages: int) -> None:
        """Waits until it has received `count` messages."""
        await until(lambda: len(self.got) >= messages)

    def payloads(self, src: int) -> list[bytes]:
        return [payload for sender, payload in self.got if sender == src]

    def reasons(self, kind: str) -> list[Any]:
        return [value for heard, value in self.heard if heard == kind]

    def on_message(self, src: int, payload: memoryview) -> None:
        self.got.append((src, bytes(payload)))

    def on_hint(self, src: int, payload: memoryview) -> None:
        self.hints.append((src, bytes(payload)))

    def on_up(self) -> None:
        self.heard.append(("up", None))

    def on_down(self, reason: str) -> None:
        self.heard.append(("down", reason))

    def on_peer_up(self, node: int) -> None:
        self.heard.append(("peer_up", node))

    def on_peer_down(self, node: int) -> None:
        self.heard.append(("peer_down", node))

    def on_refused(self, reason: str) -> None:
        self.heard.append(("refused", reason))

    def _crash(self) -> None:
        self.crashed += 1


class Raw:
    """A raw connection controlled by a test."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self._parser = FrameParser()
        self._parser.trust()
        self._frames: list[Frame] = []

    @staticmethod
    async def connect(port: int, host: str = HOST) -> Raw:
        return Raw(*await asyncio.open_connection(host, port))

    def write(self, data: bytes) -> None:
        self.writer.write(data)

    def control(self, node: int, message: FromNode) -> None:
        self.write(control_frame(node, 0, message))

    def message(self, src: int, dst: int, payload: bytes) -> None:
        self.write(encode_frame(NODE, src, dst, payload))

    async def frame(self) -> Frame:
        """The next one. Raises EOFError at the end of the stream."""
        while not self._frames:
            data = await self.reader.read(65536)
            if not data:
                raise EOFError
            self._frames.extend(self._parser.feed(data))
        return self._frames.pop(0)

    async def hear(self) -> FromOrchestrator:
        frame = await self.frame()
        assert frame.kind == CONTROL
        return from_orchestrator(frame.payload)

    async def closed(self) -> None:
        """Waits until the other side has closed the connection."""
        try:
            while await self.reader.read(65536):
                pass
        except ConnectionError:
            pass

    def close(self) -> None:
        self.writer.close()


async def joined(
    operator: Operator, number: int, incarnation: int = 1, cluster_id: int = 0, *, urgent: bool = False
) -> Raw:
    """A connection that has completed the handshake as a node, byte by byte under the test's control. It knows no
    frames that release 0.1.0 did not know, but for `urgent` ones if it says so."""
    raw = await Raw.connect(operator.port)
    assert isinstance(await raw.hear(), Challenge)
    raw.control(number, msgspec.structs.replace(hello(number, incarnation, cluster_id=cluster_id), urgent=urgent))
    assert isinstance(await raw.hear(), Welcome)
    return raw


def hello(
    number: int, incarnation: int = 1, cluster: str = "test", proof: bytes = b"", cluster_id: int = 0
) -> Hello:
    return Hello(cluster, number, os.getpid(), incarnation, new_nonce(), proof, cluster_id=cluster_id)
