"""A whole cluster in one process, on virtual time, drawn from one seed.

The nodes run the very code of the real ones: engine.ReplicaDriver with its paxos.Replica, storage.GroupCommit,
kvstore.Store and the storage contract. Only the network, the disk's delay, the clock and the users are simulated here.
Everything happens in one queue of events ordered by time; equal seeds give equal runs.

Observers (see checkers/) are notified of every step and raise Violation if an invariant is broken.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from functools import partial
from random import Random

import msgspec

from paxos.limits import Limits, Timing
from paxos.messages import AnyMessage, Configuration, Heartbeat, Snapshot
from paxos.output import VoterStatus
from tests.simulation.disk import Disk
from tests.simulation.founding import founded as founded_disk
from tests.simulation.node import POINTS, Node, kind
from tests.simulation.observer import HOOKS, Observer, Violation
from tests.simulation.thin_links import ThinLinks

SIM_TIMING = Timing(heartbeat_s=0.1, election_s=0.5, tick_s=0.04, retry_s=0.2)
AT_ONCE = 100_000
"""Events that may happen at one moment."""
SIM_LIMITS = Limits(
    batch_operations=8, pipeline=4, queue=200, forward_window=64, horizon=400, lag=8, learn_operations=16, keep=8,
    hold=400, piece_bytes=512, pieces=8, snapshot_every=40, digest_every=10,
)


class Weather(msgspec.Struct):
    """The behaviour of the network and the disks. Times in seconds, probabilities in [0, 1]."""

    delay: float = 0.002
    jitter: float = 0.002
    loss: float = 0.0
    duplicate: float = 0.0
    straggle: float = 0.0
    """The probability that a message takes up to `straggle_s` longer."""
    straggle_s: float = 0.0
    only: frozenset[str] = frozenset()
    """The kinds of messages that are lost and straggle; all, if none is named."""
    fsync: float = 0.002
    slow_disks: dict[int, float] = {}
    """The same for single nodes whose disks differ."""
    bandwidth: float = 0.0
    """Bytes a second that each node's connection to the relay carries in each direction; 0 is no limit."""
    turn_s: float = 0.0
    """The maximum time for which a node's event loop is busy before it processes all arrived messages at once."""
    cut: set[tuple[int, int]] = msgspec.field(default_factory=set)
    """Directed links (from, to) that carry nothing."""


class World:
    def __init__(
        self, seed: int, pids: Iterable[int] = (1, 2, 3, 4, 5), *, timing: Timing = SIM_TIMING,
        limits: Limits = SIM_LIMITS, observers: Iterable[Observer] = (), weather: Weather | None = None,
        founded: bool = True, members: int | None = None,
    ) -> None:
        """`founded`: the disks are those of a cluster that has its id and configuration 1, and decided nothing else.
        The first so many nodes are its `members`, and all that configuration files name; all, if None."""
        self.seed = seed
        self.random = Random(seed)
        self.now = 0.0
        self.pids = tuple(pids)
        self.named = self.pids[:members]
        """In everybody's configuration file."""
        self.timing = timing
        self.limits = limits
        self.weather = weather if weather is not None else Weather()
        self.observers: list[Observer] = []
        self.hooks: dict[str, list[Callable[..., None]]] = {hook: [] for hook in HOOKS}
        self.founding: Snapshot | None = None
        """What all disks begin with, if the cluster was founded before: nobody has that in its log."""
        self.configurations: list[Configuration] = []
        """All that were ever decided, in their order."""
        self.hostile: set[int] = set()
        """Nodes in whose name frames come that no honest node sends."""
        self.trace: Callable[[float, str], None] | None = None
        self.messages = 0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._sequence = 0
        self._at_once = 0
        self.thin_links = ThinLinks(self)
        self.nodes = {pid: Node(self, pid) for pid in self.pids}
        if founded:
            self._found(self.named)
        for observer in observers:
            self.observe(observer)

    def _found(self, pids: Iterable[int]) -> None:
        members = {pid: self.nodes[pid].disk.image.identity for pid in pids}
        record = founded_disk(members)
        assert record.snapshot is not None and record.snapshot.configuration is not None
        self.founding = record.snapshot
        self.configurations.append(record.snapshot.configuration)
        for node in self.nodes.values():
            node.disk.write([record])

    # ---- Who votes

    def configured(self, node: Node) -> None:
        """Takes note of what the node knows of configurations."""
        configuration = node.replica.learner.configuration
        if configuration is node.noted or configuration is None or node.foreign:
            return
        node.noted = configuration
        known = self.configurations[-1].number if self.configurations else 0
        if configuration.number > known:
            self.configurations.append(configuration)
        elif self.configurations[configuration.number - 1] != configuration:
            raise Violation(f"{node.pid} knows {configuration}; {self.configurations[configuration.number - 1]} counts")

    def governing(self, position: int) -> Configuration | None:
        """The configuration that counts at `position`, as far as is known; None before the cluster is founded."""
        return next((each for each in reversed(self.configurations) if each.since <= position), None)

    def quorum(self, configuration: Configuration | None) -> int:
        return len(self.named if configuration is None else configuration.members) // 2 + 1

    def counts(self, configuration: Configuration | None, pid: int, identity: int) -> bool:
        """True if a vote that node `pid` gives with this disk is one of that configuration."""
        if configuration is None:
            return pid in self.named
        return configuration.members.get(pid) in (0, identity)

    def may_vote(self, node: Node) -> bool:
        """True if the node's disk is one whose votes count, and holds all that was decided before they do."""
        image = node.disk.image
        if not self.configurations:
            return image.voter_status is VoterStatus.VOTER
        decided = self.configurations[-1].members.get(node.pid)
        if decided != image.identity:
            return decided == 0 and image.voter_status is VoterStatus.VOTER
        first = next(each for each in self.configurations if each.members.get(node.pid) == image.identity)
        return first.number == 1 or max(image.decided, image.snapshot_position) >= first.since - 1

    def observe(self, observer: Observer) -> None:
        """Registers `observer` for the events that it overrides."""
        self.observers.append(observer)
        for hook, listeners in self.hooks.items():
            if getattr(type(observer), hook) is not getattr(Observer, hook):
                listeners.append(getattr(observer, hook))

    def watching(self, hook: str, node: Node) -> list[Callable[..., None]]:
        """Who is to be told of this step of `node`."""
        return [] if node.foreign else self.hooks[hook]

    def at(self, delay: float, action: Callable[[], None]) -> None:
        """Schedules `action` in `delay` seconds."""
        self._sequence += 1
        heapq.heappush(self._events, (self.now + delay, self._sequence, action))

    def step(self) -> bool:
        """Runs the next event; false if there is none."""
        if not self._events:
            return False
        now, _, action = heapq.heappop(self._events)
        self._at_once = self._at_once + 1 if now == self.now else 0
        if self._at_once > AT_ONCE:
            raise Violation(f"{AT_ONCE} events, and the time is still {now}: somebody goes round in circles")
        self.now = now
        action()
        return True

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self._events and self._events[0][0] <= end:
            self.step()
        self.now = end

    def run_until(self, condition: Callable[[], bool], within: float) -> bool:
        """Runs until `condition` holds; false if it does not within this many virtual seconds."""
        end = self.now + within
        while not condition():
            if not self._events or self._events[0][0] > end:
                return False
            self.step()
        return True

    def start(self, pids: Iterable[int] | None = None) -> None:
        for pid in pids if pids is not None else self.pids:
            self.nodes[pid].start()

    def carry(self, sender: Node, to: int, message: AnyMessage) -> None:
        """The network: loses, delays, duplicates and reorders."""
        self.configured(sender)
        for sent in self.watching("sent", sender):
            sent(self, sender, to, message)
        weather, random = self.weather, self.random
        if (sender.pid, to) in weather.cut or to not in self.nodes:
            self._note_loss(sender.pid, to, message)
            return
        troubled = not weather.only or kind(message) in weather.only
        copies = 1
        if troubled and weather.loss and random.random() < weather.loss:
            copies = 0
            self._note_loss(sender.pid, to, message)
        elif weather.duplicate and random.random() < weather.duplicate:
            copies = 2
        origin, cluster = sender.pid, sender.process.driver.cluster
        for _ in range(copies):
            delay = weather.delay + random.random() * weather.jitter
            if troubled and weather.straggle and random.random() < weather.straggle:
                delay += random.random() * weather.straggle_s
            self._travel(origin, to, message, cluster, delay)

    def _travel(self, origin: int, to: int, message: AnyMessage, cluster: int, delay: float) -> None:
        arrive = partial(self._arrive, origin, to, message, cluster)
        if self.weather.bandwidth:
            self.thin_links.carry(origin, to, message, partial(self.at, delay, arrive))
        else:
            self.at(delay, arrive)

    def _arrive(self, origin: int, to: int, message: AnyMessage, cluster: int) -> None:
        if (origin, to) not in self.weather.cut:
            self.messages += 1
            self.nodes[to].receive(origin, message, cluster)

    def _note_loss(self, origin: int, to: int, message: AnyMessage) -> None:
        if self.trace is not None and not isinstance(message, Heartbeat):
            self.note(f"{origin} -> {to}  lost")

    def note(self, text: str) -> None:
        if self.trace is not None:
            self.trace(self.now, text)


__all__ = [
    "HOOKS", "POINTS", "SIM_LIMITS", "SIM_TIMING", "Disk", "Node", "Observer", "Snapshot", "Violation", "Weather",
    "World",
]
