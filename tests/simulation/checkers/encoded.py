"""What is sent can be read where it arrives: messages go by reference here, but as bytes between processes."""

from __future__ import annotations

import msgspec

from paxos.messages import AnyMessage, Heartbeat
from tests.simulation.world import Node, Observer, Violation, World

EVERY = 8
"""Each of so many messages is tried, of a kind, and the first of each kind and with each roster from each node."""

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[AnyMessage] = msgspec.msgpack.Decoder(AnyMessage)


class Unreadable(Violation):
    pass


class Encoded(Observer):
    def __init__(self) -> None:
        self._counts: dict[tuple[object, ...], int] = {}

    def sent(self, world: World, node: Node, to: int, message: AnyMessage) -> None:
        roster = tuple(message.roster.items()) if isinstance(message, Heartbeat) else ()
        key = node.pid, type(message), roster
        count = self._counts[key] = self._counts.get(key, 0) + 1
        if count % EVERY != 1 or world.hostile:
            return
        try:
            read = _decoder.decode(_encoder.encode(message))
        except (msgspec.MsgspecError, OverflowError) as error:
            raise Unreadable(f"{node.pid} sends {message}, which nobody can read: {error}") from error
        if type(read) is not type(message):
            raise Unreadable(f"{node.pid} sends {message}, which is read as {read}")
