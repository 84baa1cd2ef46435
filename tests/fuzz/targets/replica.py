"""A node of a founded cluster, and messages that a member might send: it stays up, works on, and can be started
again."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import msgspec

from paxos.messages import AnyMessage, Heartbeat
from tests.fuzz.lone_node import LoneNode
from tests.fuzz.recording import CLUSTER, ME, Sent, recorded, recording, sample
from tests.fuzz.target import Form, Target

_MOST_MESSAGES = 40
_MOST_NODE = 65_535
_ROOM = 2**62
"""Leaderships below leave enough above them for ever."""

_decoder: msgspec.msgpack.Decoder[AnyMessage] = msgspec.msgpack.Decoder(AnyMessage)


def check(data: bytes) -> None:
    database = deepcopy(recording().disk)
    node = LoneNode(database)
    for one in _last_heartbeats():
        node.receive(one.sender, one.message, CLUSTER)
    for sender, cluster, message in messages(data):
        node.receive(sender, message, cluster)
        node.ticks(1, 0.01)
    node.ticks(20, 0.2)
    assert node.driver.replica.acceptor.promised.seq_num < _ROOM, "no leadership is left for others"
    again = LoneNode(database, node.now)
    again.ticks(5, 0.2)


@functools.cache
def _last_heartbeats() -> list[Sent]:
    """Of each of the others: it knows them."""
    beats = [one for one in recorded() if one.to == ME and isinstance(one.message, Heartbeat)]
    return list({one.sender: one for one in beats}.values())


def messages(data: bytes) -> Iterator[tuple[int, int, AnyMessage]]:
    """(sender, cluster, message) of each part of an input that is one."""
    try:
        parts = msgspec.msgpack.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError, TypeError):
        return
    for part in parts[:_MOST_MESSAGES] if isinstance(parts, list) else ():
        match part:
            case [int(sender), bool(foreign), said]:
                message = _message(said)
                if message is not None:
                    yield sender % (_MOST_NODE + 1), CLUSTER + foreign, message


def _message(said: Any) -> AnyMessage | None:
    try:
        return _decoder.decode(msgspec.msgpack.encode(said))
    except (msgspec.MsgspecError, ValueError, RecursionError, OverflowError):
        return None


def encoded(sent: list[Sent]) -> bytes:
    return msgspec.msgpack.encode([(one.sender, False, one.message) for one in sent])


@functools.cache
def seeds() -> list[bytes]:
    mine = [one for one in recorded() if one.to == ME]
    some = [one for number, one in enumerate(mine) if not isinstance(one.message, Heartbeat) or not number % 25]
    return [
        *(encoded(some[begin : begin + 6]) for begin in range(0, len(some), 6)),
        *(encoded([one]) for one in sample(mine, 4)),
    ]


TARGET = Target("a node, by a member", check, seeds, Form.MSGPACK, examples=150)
