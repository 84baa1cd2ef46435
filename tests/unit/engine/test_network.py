"""Messages and hints as frames: encoded once, decoded with suspicion."""

from __future__ import annotations

import logging
from typing import Any

import msgspec
import pytest

from engine.network import Network
from engine.odd_messages import TELL_EVERY_S
from net.frames import MAX_PAYLOAD
from net.link import LinkEvents
from paxos.ballot import Ballot
from paxos.configuration import CLUSTER_LEAST
from paxos.messages import Accept, AnyMessage, Decide, Forward, Heartbeat, Operation, Prepare, Routed
from tests.unit.engine.engine_tools import FakeLink, Listener

DECIDE = Decide(Ballot(1, 2, 3))
CLUSTER = CLUSTER_LEAST + 7


class Receiver:
    def __init__(self) -> None:
        self.got: list[Any] = []
        self.cluster = CLUSTER

    def receive(self, sender: int, message: AnyMessage, cluster: int) -> None:
        assert cluster == self.cluster
        self.got.append((sender, message))

    def linked(self) -> None:
        self.got.append("linked")

    def meet(self, node: int) -> None:
        self.got.append(("meet", node))

    def suspect(self, node: int) -> None:
        self.got.append(("suspect", node))


class Rig:
    def __init__(self) -> None:
        self.receiver, self.listener = Receiver(), Listener()
        self.now = 0.0
        self.network = Network(self._make_link, lambda: self.now)
        self.network.start(self.receiver, self.listener)

    def _make_link(self, *, events: LinkEvents) -> FakeLink:
        self.link = FakeLink(events)
        return self.link


def test_a_broadcast_is_encoded_once_and_understood_elsewhere() -> None:
    rig, other = Rig(), Rig()
    for node in (2, 3):
        rig.network.send(node, DECIDE)
    (first, one), (second, same) = rig.link.sent
    assert (first, second) == (2, 3) and one is same
    rig.network.send(2, Decide(Ballot(1, 2, 4)))
    for _, payload in rig.link.sent:
        other.network.on_message(1, memoryview(payload))
    assert other.receiver.got == [(1, DECIDE), (1, DECIDE), (1, Decide(Ballot(1, 2, 4)))]


def test_before_the_cluster_is_founded_release_0_1_0_understands_what_is_sent() -> None:
    rig, other = Rig(), Rig()
    rig.receiver.cluster = other.receiver.cluster = 0
    rig.network.send(2, DECIDE)
    ((_, payload),) = rig.link.sent
    assert msgspec.msgpack.decode(payload, type=AnyMessage) == DECIDE
    other.network.on_message(1, memoryview(payload))
    assert other.receiver.got == [(1, DECIDE)]


@pytest.mark.parametrize("cluster", [CLUSTER_LEAST, 2 * CLUSTER_LEAST - 1])
def test_every_id_is_told_apart_from_a_message_without_one(cluster: int) -> None:
    rig, other = Rig(), Rig()
    rig.receiver.cluster = other.receiver.cluster = cluster
    for message in (DECIDE, Prepare(Ballot(1, 2, 3))):
        rig.network.send(2, message)
        other.network.on_message(1, memoryview(rig.link.sent[-1][1]))
        assert other.receiver.got[-1] == (1, message)


def test_what_is_too_large_is_not_sent_and_not_kept_quiet(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig()
    with caplog.at_level(logging.ERROR):
        rig.network.send(2, Accept(Ballot(1, 2, 3), [Operation(1, 1, 1, bytes(MAX_PAYLOAD))], 0))
    assert rig.link.sent == [] and "too large" in caplog.text
    rig.network.send(2, DECIDE)
    assert len(rig.link.sent) == 1


def test_nonsense_is_dropped_and_told_of_once_a_sender(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig()
    with caplog.at_level(logging.WARNING):
        for sender in (2, 2, 3):
            for nonsense in (b"", b"\xc1", b"\x93\x01", msgspec.msgpack.encode(["Decide", "x"]), b"\xd9\xff\xff"):
                rig.network.on_message(sender, memoryview(nonsense))
    assert [record.args[0] for record in caplog.records if isinstance(record.args, tuple)] == [2, 3]
    assert rig.receiver.got == []


def test_odd_messages_are_counted_and_told_of_again_after_a_while(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever they are: numbers that no node sends, or arrays in arrays without end."""
    rig = Rig()
    cluster = b"\x92\xcf" + CLUSTER.to_bytes(8, "big")
    odd = [
        msgspec.msgpack.encode(Prepare(Ballot(2**64 - 1, 2, 1))), cluster + b"\x91" * 100_000,
        cluster + msgspec.msgpack.encode(Decide(Ballot(1, 2, 2**63))), b"\x93\x01" + b"\x91" * 100_000,
        cluster + b"\x93\x01" + msgspec.msgpack.encode(Ballot(1, 2, 3)) + b"\x91" * 100_000 + b"\x01",
    ]
    with caplog.at_level(logging.WARNING):
        for _ in range(20):
            for payload in odd:
                rig.network.on_message(2, memoryview(payload))
        assert len(caplog.records) == 1
        rig.now += TELL_EVERY_S
        rig.network.on_message(2, memoryview(odd[0]))
        rig.network.on_message(2, memoryview(odd[0]))
    assert len(caplog.records) == 2 and "(100 since the last such line)" in caplog.text
    assert rig.receiver.got == [] and rig.network.odd.dropped == {2: 102}


def test_hints_pass_by_the_driver() -> None:
    rig = Rig()
    rig.network.send_hint(4, b"hint")
    assert rig.link.hints == [(4, b"hint")]
    rig.network.on_hint(5, memoryview(b"theirs"))
    assert rig.listener.told == [("hint", 5, b"theirs")] and rig.receiver.got == []


def test_what_the_link_tells_is_passed_on() -> None:
    rig = Rig()
    rig.network.on_up()
    rig.network.on_peer_up(2)
    rig.network.on_peer_down(2)
    rig.network.on_down("gone")
    rig.network.on_refused("wrong secret")
    assert rig.listener.told == [("connected",), ("disconnected", "gone"), ("refused", "wrong secret")]
    assert rig.receiver.got == ["linked", ("meet", 2), ("suspect", 2)]


def test_messages_are_labelled_only_when_the_operator_wants_to_see_them() -> None:
    rig = Rig()
    rig.network.send(2, DECIDE)
    rig.link.wants_labels = True
    for message in (
        DECIDE, Accept(Ballot(1, 2, 3), [Operation(1, 1, 1, b"")] * 2, 0), Heartbeat([], {}, 0.0, {}),
        Routed(1, 4, 3, Forward([Operation(1, 1, 1, b"")])),
    ):
        rig.network.send(2, message)
    assert rig.link.labels == [
        "", "Decide <1,2,3>", "Accept <1,2,3> x2", "", "Forward (passed on, from 1 to 4)"]
