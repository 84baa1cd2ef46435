"""The driver's messages, and hints, as frames on the node's link."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Protocol

import msgspec

from engine.interface import EngineListener
from engine.labels import label_of
from engine.odd_messages import OddMessages
from net.control_messages import Report
from net.frames import MAX_PAYLOAD
from net.link import LinkEvents
from paxos.bounds import Identity
from paxos.messages import AnyMessage, is_urgent

_log = logging.getLogger(__name__)

_PAIR = b"\x92"
_CLUSTER_ID = b"\xcf"
"""MessagePack's first bytes of (cluster, message): ids are as large as `paxos.reconfiguration` draws them. A message
alone, without an id, has its small tag there: so speak nodes that are not founded yet, and release 0.1.0."""


_decoder: msgspec.msgpack.Decoder[AnyMessage] = msgspec.msgpack.Decoder(AnyMessage)
_founded_decoder: msgspec.msgpack.Decoder[tuple[Identity, AnyMessage]] = msgspec.msgpack.Decoder(
    tuple[Identity, AnyMessage])


def decode(payload: bytes | memoryview) -> tuple[int, AnyMessage]:
    """The id of the sender's cluster (0: none) and the message. Raises ValueError for anything that is no message, or
    holds a number, a list or a text that no node sends."""
    try:
        if payload[:1] == _PAIR and payload[1:2] == _CLUSTER_ID:
            return _founded_decoder.decode(payload)
        return 0, _decoder.decode(payload)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(str(error)) from error


class Link(Protocol):
    """The connection to the orchestrator; `net.link.NodeLink` is one."""

    @property
    def wants_labels(self) -> bool: ...

    def start(self) -> None: ...

    def send(self, dst: int, payload: bytes, urgent: bool = False, label: str = "") -> None: ...

    def send_hint(self, dst: int, payload: bytes) -> None: ...

    def send_report(self, report: Report) -> None: ...

    def flush(self) -> None: ...

    async def close(self) -> None: ...


class LinkFactory(Protocol):
    """Makes the node's link: `net.link.NodeLink` with all but its `events`."""

    def __call__(self, *, events: LinkEvents) -> Link: ...


class Receiver(Protocol):
    """Who gets what comes from other nodes; `ReplicaDriver` is one."""

    @property
    def cluster(self) -> int: ...

    def receive(self, sender: int, message: AnyMessage, cluster: int) -> None: ...

    def linked(self) -> None: ...

    def meet(self, node: int) -> None: ...

    def suspect(self, node: int) -> None: ...


class Network:
    """The driver's Transport, and the handler of its link's events. `start` before anything arrives."""

    def __init__(self, make_link: LinkFactory, clock: Callable[[], float] = time.monotonic) -> None:
        self._link = make_link(events=self)
        self._receiver: Receiver
        self._listener: EngineListener
        self._encoder = msgspec.msgpack.Encoder()
        self._cluster = 0
        """Of the last message sent."""
        self._last: AnyMessage | None = None
        self._payload = b""
        self._urgent = False
        """The last message sent, encoded: a broadcast is encoded once."""
        self.odd = OddMessages(clock)

    def start(self, receiver: Receiver, listener: EngineListener) -> None:
        """Connects, and hands what arrives to `receiver`."""
        self._receiver, self._listener = receiver, listener
        self._link.start()

    async def close(self) -> None:
        await self._link.close()

    def send(self, to: int, message: AnyMessage) -> None:
        cluster = self._receiver.cluster
        if message is not self._last or cluster != self._cluster:
            self._last, self._cluster = message, cluster
            self._payload = self._encoder.encode((cluster, message) if cluster else message)
            self._urgent = is_urgent(message)
        if len(self._payload) <= MAX_PAYLOAD:
            label = label_of(message) if self._link.wants_labels else ""
            self._link.send(to, self._payload, self._urgent, label)
        else:
            _log.error("a %s of %s bytes is too large to send", type(message).__name__, len(self._payload))

    def flush(self) -> None:
        self._link.flush()

    def send_hint(self, node: int, payload: bytes) -> None:
        self._link.send_hint(node, payload)

    def send_report(self, report: Report) -> None:
        self._link.send_report(report)

    # ---- Events from the link

    def on_message(self, src: int, payload: memoryview) -> None:
        try:
            cluster, message = decode(payload)
        except ValueError as error:
            self.odd.add(src, str(error))
            return
        self._receiver.receive(src, message, cluster)

    def on_hint(self, src: int, payload: memoryview) -> None:
        self._listener.on_hint(src, bytes(payload))

    def on_up(self) -> None:
        self._receiver.linked()
        self._listener.on_connected()

    def on_down(self, reason: str) -> None:
        self._listener.on_disconnected(reason)

    def on_peer_up(self, node: int) -> None:
        self._receiver.meet(node)

    def on_peer_down(self, node: int) -> None:
        self._receiver.suspect(node)

    def on_refused(self, reason: str) -> None:
        self._listener.on_refused(reason)
