"""Links of finite bandwidth: one leader, few bytes besides those that are needed, nearly all that the links carry."""

from __future__ import annotations

import pytest

from kvstore.operations import Create, Query
from paxos.ballot import Leadership
from paxos.limits import Limits, Timing
from paxos.messages import AnyMessage, Heartbeat
from tests.simulation.checkers import all_checkers
from tests.simulation.world import Node, Observer, Violation, Weather, World

NODES = 5
SIZE = 100_000
BYTES = 1.5
"""Times the bytes needed: what the leader sends to each follower, and what reaches the leader."""
SHARE = 0.8
"""Of what the leader's link carries, while operations are decided."""


class TooManyBytes(Violation):
    pass


class BytesNeeded(Observer):
    """Bytes on the wire against bytes needed, without heartbeats: these go with the time, not with the operations."""

    def __init__(self, needed: int) -> None:
        self._bound = BYTES * needed
        self._sent = 0

    def sent(self, world: World, node: Node, to: int, message: AnyMessage) -> None:
        if to == node.pid or isinstance(message, Heartbeat):
            return
        self._sent += world.thin_links.size(message)
        if self._sent > self._bound:
            raise TooManyBytes(f"{self._sent} bytes, and {self._bound:.0f} should do; the last: {type(message)}")


class Load:
    """Large operations that one node's users ask for, on links that carry so many bytes a second."""

    def __init__(self, bandwidth: float, operations: int) -> None:
        weather = Weather(delay=0.005, jitter=0.0, fsync=0.002, bandwidth=bandwidth)
        self.world = World(1, range(1, NODES + 1), timing=Timing(), limits=Limits(), observers=all_checkers(),
                           weather=weather)
        self.world.start()
        self.world.run(2.0)
        self.claims = self._claims()
        self.world.observe(BytesNeeded(NODES * operations * SIZE + 100_000))
        self.ideal_s = (NODES - 1) * operations * SIZE / bandwidth
        self.pending = 2 * operations
        for number in range(operations):
            for command in (Create(f"c{number}"), Query(f"c{number}", "x" * SIZE + str(number))):
                self.world.nodes[2].submit(command, lambda _, __: self._done())

    def _done(self) -> None:
        self.pending -= 1

    def _claims(self) -> list[Leadership]:
        return [node.replica.acceptor.promised.leadership for node in self.world.nodes.values()]

    def is_carried(self) -> None:
        begun = self.world.now
        assert self.world.run_until(lambda: not self.pending, self.ideal_s / SHARE + 1.0)
        assert self.world.now - begun <= self.ideal_s / SHARE + 0.5
        nodes = list(self.world.nodes.values())
        assert self.world.run_until(lambda: len({node.replica.applied for node in nodes}) == 1, self.ideal_s + 5.0)
        assert self._claims() == self.claims, "somebody else leads"
        assert not self.world.thin_links.dropped


@pytest.mark.parametrize(("megabytes", "operations"), [(0.3, 20), (1.25, 50), (2.5, 100), (10.0, 200), (100.0, 500)])
def test_a_load_of_large_operations(megabytes: float, operations: int) -> None:
    Load(megabytes * 1e6, operations).is_carried()
