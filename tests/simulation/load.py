"""Large operations on links of finite bandwidth, and what must come of it: one leader, few bytes besides those that are
needed, nearly all that the links carry."""

from __future__ import annotations

from collections.abc import Callable

from kvstore.operations import Create, Query
from paxos.ballot import Leadership
from paxos.limits import Limits, Timing
from paxos.messages import AnyMessage, Change, Heartbeat
from tests.simulation.checkers import all_checkers
from tests.simulation.stage import Overdue, Upset
from tests.simulation.world import Node, Observer, Violation, Weather, World

NODES = 5
SIZE = 100_000
BYTES = 1.5
"""Times the bytes needed: what the leader sends to each follower, and what reaches the leader."""
SHARE = 0.8
"""Of what the leader's link carries, while operations are decided."""

LONGEST_S = 0.5
"""For which one message may keep a link busy."""
BEHIND = 80
"""Operations that a node lacks which was away."""
LOOK_S = 1.5
"""Until a node that starts again knows whom it can ask, and what a link carries."""


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


class HeldUp(Observer):
    """What is urgent waits for at most one message at each link, and that is a short one."""

    def sent(self, world: World, node: Node, to: int, message: AnyMessage) -> None:
        takes_s = world.thin_links.size(message) / world.weather.bandwidth
        if to != node.pid and takes_s > LONGEST_S:
            raise Overdue(f"a {type(message).__name__} keeps a link busy for {takes_s:.2f} s")


class Load:
    """Large operations that one node's users ask for, on links that carry so many bytes a second."""

    def __init__(self, bandwidth: float, operations: int, members: int = NODES, size: int = SIZE) -> None:
        """The first so many nodes are `members`."""
        weather = Weather(delay=0.005, jitter=0.0, fsync=0.002, bandwidth=bandwidth)
        self.world = World(1, range(1, NODES + 1), timing=Timing(), limits=Limits(), observers=all_checkers(),
                           weather=weather, members=members)
        self.world.start()
        self.world.run(2.0)
        self.claim = self._claim()
        self.world.observe(HeldUp())
        self.world.observe(BytesNeeded(NODES * operations * size + 100_000))
        self.ideal_s = (NODES - 1) * operations * size / bandwidth
        self.pending = 2 * operations
        for number in range(operations):
            for command in (Create(f"c{number}"), Query(f"c{number}", "x" * size + str(number))):
                self.world.nodes[2].submit(command, lambda _, __: self._done())

    def _done(self) -> None:
        self.pending -= 1

    def _claim(self) -> Leadership:
        """The highest that anybody has promised to follow."""
        return max(node.replica.acceptor.promised.leadership for node in self.world.nodes.values())

    def is_carried(self) -> None:
        """Raises a Violation if it is not carried as it must be."""
        nodes = list(self.world.nodes.values())
        self.is_decided()
        self._expect("all are level", lambda: len({node.replica.applied for node in nodes}) == 1, self.ideal_s + 5.0)
        if self._claim() != self.claim:
            raise Upset("somebody else leads")
        if self.world.thin_links.dropped:
            raise Overdue(f"{self.world.thin_links.dropped} messages did not fit into the queues")

    def is_decided(self) -> None:
        self._expect("all is decided in time", lambda: not self.pending, self.ideal_s / SHARE + 0.5)

    def change_members(self, change: Change, pid: int) -> None:
        """Has the members changed while the load goes on."""
        asker = self.world.nodes[2].replica
        asker.change_members(change, pid)
        self._expect(f"{change.name} {pid}", lambda: not asker.changing, 5.0)

    def _expect(self, what: str, condition: Callable[[], bool], within: float) -> None:
        _expect(self.world, f"{what}; {self.pending} are pending", condition, within)


def _expect(world: World, what: str, condition: Callable[[], bool], within: float) -> None:
    if not world.run_until(condition, within):
        raise Overdue(f"not within {within} s: {what}")


def behind(bandwidth: float, round_trip_s: float, limits: Limits) -> None:
    """A node was away while much was decided. Nearly all that its link carries it uses to get level, and not much is
    sent besides what it lacks; what happens then is quick."""
    world = World(1, range(1, NODES + 1), timing=Timing(), limits=limits, observers=all_checkers(),
                  weather=Weather(delay=0.001, jitter=0.0, fsync=0.002))
    world.start()
    world.run(2.0)
    away = world.nodes[NODES]
    away.crash()
    asker = world.nodes[2]
    for number in range(BEHIND):
        for command in (Create(f"c{number}"), Query(f"c{number}", "x" * SIZE + str(number))):
            asker.submit(command, lambda _, __: None)
    _expect(world, "all is decided", lambda: not len(asker.replica.queue), 10.0)
    world.run(2.0)
    world.weather = Weather(delay=round_trip_s / 2, jitter=0.0, fsync=0.002, bandwidth=bandwidth)
    world.observe(BytesNeeded(BEHIND * SIZE + 100_000))
    away.start()
    ideal_s = BEHIND * SIZE / bandwidth
    _expect(world, "it is level", lambda: away.replica.applied == asker.replica.applied, ideal_s / SHARE + LOOK_S)


def slow_load() -> None:
    """As much as takes some seconds on the thinnest links."""
    Load(0.3e6, 10).is_carried()


def small_operations() -> None:
    """Many operations that would fit into one batch, on the thinnest links."""
    Load(0.3e6, 200, size=5_000).is_carried()


def silent_member() -> None:
    """One member answers nothing: what is on its way to it stays bounded, while the others go on."""
    load = Load(100e6, 100)
    load.world.weather.cut = {link for pid in range(1, NODES) for link in ((pid, NODES), (NODES, pid))}
    load.is_decided()


def thin_load() -> None:
    """Links that keep more than one batch busy at a time."""
    Load(2.5e6, 60).is_carried()


def behind_the_log() -> None:
    """A node that was away lacks what the others have in their logs, and is far from all of them."""
    behind(2.5e6, 0.2, Limits())


def members_change() -> None:
    """Members come and go while the links are full."""
    load = Load(2.5e6, 100, members=3)
    for change, pid in ((Change.ADD, 4), (Change.ADD, 5), (Change.REMOVE, 3)):
        load.world.run(0.5)
        load.change_members(change, pid)
    load.is_carried()
