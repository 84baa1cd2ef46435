"""Three nodes, with group commit, of which one says what it likes: the two others stay up, start again, and decide."""

from __future__ import annotations

import functools
from typing import Any

import msgspec

from kvstore.operations import Create
from kvstore.payloads import UnknownOperation
from paxos.messages import (
    AnyMessage,
    Behind,
    Confirm,
    Confirmed,
    Fetch,
    Forward,
    Heartbeat,
    Outranked,
    Prepare,
    ReadReply,
    ReadRequest,
    Routed,
)
from tests.fuzz.recording import Sent, recorded, sample
from tests.fuzz.target import Form, Target
from tests.fuzz.targets.replica import encoded, messages
from tests.simulation.world import Node, World

_HONEST, _OTHER = (1, 2), 3
_DECIDES_S = 60.0
_HARMLESS = (
    Behind, Confirm, Confirmed, Fetch, Forward, Heartbeat, Outranked, Prepare, ReadReply, ReadRequest,
)
"""Who lies with others can have nodes hold for decided, or vote on, what they should not; not with these."""


class _Trio(World):
    def __init__(self) -> None:
        super().__init__(1, (*_HONEST, _OTHER))
        self.said: list[Sent] = []
        """By who lies later, as long as it was honest."""
        self.start()
        self.run(1.5)
        self.decide("before")
        self.nodes[_OTHER].crash()
        self.hostile.add(_OTHER)

    def carry(self, sender: Node, to: int, message: AnyMessage) -> None:
        if sender.pid == _OTHER:
            self.said.append(Sent(_OTHER, to, message))
        msgspec.msgpack.encode(message)  # as its link would
        super().carry(sender, to, message)

    @property
    def honest(self) -> list[Node]:
        return [self.nodes[pid] for pid in _HONEST]

    def decide(self, name: str) -> None:
        decided: list[Any] = []
        assert self.nodes[1].submit(Create(name), lambda applied, outcome: decided.append(outcome))
        assert self.run_until(lambda: bool(decided), _DECIDES_S), f"nothing was decided in {_DECIDES_S:g} s"

    def stopped(self) -> bool:
        return any(node.leaving for node in self.honest)


def check(data: bytes) -> None:
    world = _Trio()
    said = [message for _, _, message in messages(data)]
    for number, message in enumerate(said):
        world.nodes[number % 2 + 1].receive(_OTHER, message, world.nodes[1].process.driver.cluster)
        world.run(0.02)
    try:
        world.run(1.0)
    except UnknownOperation:
        return  # it is not carried out by who does not know it
    for node in world.honest:
        node.crash()
        node.start()
    if world.stopped():
        return  # with other conversations than the other, for which it was made to stop
    if all(map(_is_harmless, said)):
        world.decide("after")


def _is_harmless(message: AnyMessage) -> bool:
    return isinstance(message.message if isinstance(message, Routed) else message, _HARMLESS)


@functools.cache
def seeds() -> list[bytes]:
    own = sample(_Trio().said, 4)
    foreign = [one for one in recorded() if one.sender == _OTHER and not isinstance(one.message, Heartbeat)]
    return [encoded([one]) for one in (*own, *sample(foreign, 2))] + [encoded(own), encoded(own[::-1])]


TARGET = Target("three nodes, by one of them", check, seeds, Form.MSGPACK, examples=25, seconds=6.0)
