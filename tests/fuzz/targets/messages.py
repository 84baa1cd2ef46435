"""What one node says to another, as the other takes it from its link; progress hints as well."""

from __future__ import annotations

import functools
from typing import Any

import msgspec

from engine.network import Network
from net.frames import MAX_PAYLOAD
from net.link import LinkEvents
from paxos.configuration import CLUSTER_LEAST
from paxos.messages import AnyMessage, Heartbeat, SnapshotPiece, is_urgent
from server.progress_hints import Hint
from server.progress_hints import decode as decode_hint
from tests.fuzz.recording import CLUSTER, recorded, sample
from tests.fuzz.target import Form, Target
from tests.unit.engine.engine_tools import FakeLink, Listener


class _Receiver:
    def __init__(self) -> None:
        self.cluster = CLUSTER
        self.got: list[tuple[int, AnyMessage, int]] = []

    def receive(self, sender: int, message: AnyMessage, cluster: int) -> None:
        self.got.append((sender, message, cluster))

    def linked(self) -> None:
        """See the targets of the core."""

    def meet(self, node: int) -> None:
        """See the targets of the core."""

    suspect = meet


def _network() -> tuple[Network, FakeLink, _Receiver]:
    links: list[FakeLink] = []

    def link(*, events: LinkEvents) -> FakeLink:
        links.append(FakeLink(events))
        return links[-1]

    network, receiver = Network(link), _Receiver()
    network.start(receiver, Listener())
    return network, links[0], receiver


def check(data: bytes) -> None:
    network, link, receiver = _network()
    network.on_message(2, memoryview(data))
    for _, message, cluster in receiver.got:
        is_urgent(message)
        if 0 < cluster < CLUSTER_LEAST:
            break  # no cluster has such an id, and on its way it would look like something else
        receiver.cluster = cluster
        network.send(3, message)
        (_, payload), = link.sent
        assert len(payload) <= max(MAX_PAYLOAD, 4 * len(data))
        network.on_message(2, memoryview(payload))
        assert _same(receiver.got[-1][1], message)
        break
    hint = decode_hint(data)
    assert hint is None or decode_hint(msgspec.msgpack.encode(hint)) == hint


def _same(one: Any, other: Any) -> bool:
    """NaN is not equal to itself; its bytes are."""
    return bool(msgspec.msgpack.encode(one) == msgspec.msgpack.encode(other))


@functools.cache
def seeds() -> list[bytes]:
    messages = [sent.message for sent in sample(recorded(), 3)]
    plain = [msgspec.msgpack.encode(message) for message in messages]
    founded = [msgspec.msgpack.encode((CLUSTER_LEAST + 5, message)) for message in messages]
    assert {SnapshotPiece, Heartbeat} <= {type(message) for message in messages}
    return [*plain, *founded, msgspec.msgpack.encode(Hint("c1", 3, 17))]


TARGET = Target("messages between nodes, and hints", check, seeds, Form.MSGPACK, examples=250)
