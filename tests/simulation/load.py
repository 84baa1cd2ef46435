"""Large operations on links of finite bandwidth, and what must come of it: one leader, few bytes besides those that are
needed, nearly all that the links carry."""

from __future__ import annotations

from collections.abc import Callable

from kvstore.operations import Create, Query
from paxos.ballot import Leadership
from paxos.limits import Limits, Timing
from paxos.messages import AnyMessage, Heartbeat
from tests.simulation.checkers import all_checkers
from tests.simulation.stage import Overdue, Upset
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
        """Raises a Violation if it is not carried as it must be."""
        nodes = list(self.world.nodes.values())
        self.is_decided()
        self._expect("all are level", lambda: len({node.replica.applied for node in nodes}) == 1, self.ideal_s + 5.0)
        if self._claims() != self.claims:
            raise Upset("somebody else leads")
        if self.world.thin_links.dropped:
            raise Overdue(f"{self.world.thin_links.dropped} messages did not fit into the queues")

    def is_decided(self) -> None:
        self._expect("all is decided in time", lambda: not self.pending, self.ideal_s / SHARE + 0.5)

    def _expect(self, what: str, condition: Callable[[], bool], within: float) -> None:
        if not self.world.run_until(condition, within):
            raise Overdue(f"not within {within} s: {what}; {self.pending} are pending")


def slow_load() -> None:
    """As much as takes some seconds on the thinnest links."""
    Load(0.3e6, 10).is_carried()


def silent_member() -> None:
    """One member answers nothing: what is on its way to it stays bounded, while the others go on."""
    load = Load(100e6, 100)
    load.world.weather.cut = {link for pid in range(1, NODES) for link in ((pid, NODES), (NODES, pid))}
    load.is_decided()


def thin_load() -> None:
    """Links that keep more than one batch busy at a time."""
    Load(2.5e6, 60).is_carried()
