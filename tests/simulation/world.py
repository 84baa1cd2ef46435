"""A whole cluster in one process, on virtual time, drawn from one seed.

The nodes run the very code of the real ones: paxos.Replica, kvstore.Store and the storage contract. Only the network,
the disk's delay, the clock and the users are played here. Everything happens in one queue of events ordered by time;
equal seeds give equal runs.

Observers (see checkers.py) are told of every step and raise Violation when something must not be.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from random import Random
from typing import Protocol

import msgspec

from kvstore.commands import Command, encode
from kvstore.store import Outcome, Store
from paxos.limits import Limits, Timing
from paxos.messages import AnyMessage, Snapshot
from paxos.output import Applied, Durable, Output, Persist
from paxos.replica import QueueFull, Replica
from storage.memory import MemoryDatabase
from storage.records import Compaction

SIM_TIMING = Timing(heartbeat_s=0.1, election_s=0.5, tick_s=0.025, retry_s=0.2)
SIM_LIMITS = Limits(
    batch_operations=8, pipeline=4, queue=200, forward_window=64, horizon=400, lag=24, learn_operations=16, keep=8,
    hold=400, piece_bytes=512, snapshot_every=40,
)


class Violation(AssertionError):
    """Something happened that must never happen."""


class Observer(Protocol):
    """Told of every step of every node. Implementations override what they need."""

    def sent(self, world: World, node: Node, to: int, message: AnyMessage) -> None: ...
    def stored(self, world: World, node: Node, item: Persist | Compaction) -> None: ...
    def applied(self, world: World, node: Node, applied: Applied, outcome: Outcome) -> None: ...
    def stepped(self, world: World, node: Node) -> None: ...
    def started(self, world: World, node: Node, durable: Durable) -> None: ...
    def acknowledged(self, world: World, node: Node, applied: Applied, outcome: Outcome) -> None: ...


class Weather(msgspec.Struct):
    """What the network and the disks do to what passes through them. Times in seconds, chances in [0, 1]."""

    delay: float = 0.002
    jitter: float = 0.002
    loss: float = 0.0
    duplicate: float = 0.0
    fsync: float = 0.002
    cut: set[tuple[int, int]] = msgspec.field(default_factory=set)
    """Directed links (from, to) that carry nothing."""


class World:
    def __init__(
        self, seed: int, pids: Iterable[int] = (1, 2, 3, 4, 5), *, timing: Timing = SIM_TIMING,
        limits: Limits = SIM_LIMITS, observers: Iterable[Observer] = (), weather: Weather | None = None,
    ) -> None:
        self.seed = seed
        self.random = Random(seed)
        self.now = 0.0
        self.pids = tuple(pids)
        self.timing = timing
        self.limits = limits
        self.weather = weather if weather is not None else Weather()
        self.observers = list(observers)
        self.trace: Callable[[float, str], None] | None = None
        self.messages = 0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._sequence = 0
        self.nodes = {pid: Node(self, pid) for pid in self.pids}

    def at(self, delay: float, action: Callable[[], None]) -> None:
        """Lets `action` happen `delay` seconds from now."""
        self._sequence += 1
        heapq.heappush(self._events, (self.now + delay, self._sequence, action))

    def step(self) -> bool:
        """Lets the next event happen; false if there is none."""
        if not self._events:
            return False
        self.now, _, action = heapq.heappop(self._events)
        action()
        return True

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self._events and self._events[0][0] <= end:
            self.step()
        self.now = end

    def run_until(self, condition: Callable[[], bool], within: float) -> bool:
        """Runs until `condition` holds; false if it doesn't within so many virtual seconds."""
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
        for observer in self.observers:
            observer.sent(self, sender, to, message)
        weather, random = self.weather, self.random
        if (sender.pid, to) in weather.cut or to not in self.nodes:
            return
        copies = 1
        if weather.loss and random.random() < weather.loss:
            copies = 0
        elif weather.duplicate and random.random() < weather.duplicate:
            copies = 2
        origin = sender.pid
        for _ in range(copies):
            delay = weather.delay + random.random() * weather.jitter
            self.at(delay, lambda: self._arrive(origin, to, message))

    def _arrive(self, origin: int, to: int, message: AnyMessage) -> None:
        if (origin, to) not in self.weather.cut:
            self.messages += 1
            self.nodes[to].receive(origin, message)

    def note(self, text: str) -> None:
        if self.trace is not None:
            self.trace(self.now, text)


class Node:
    """One process: a replica, its store, its disk; what is not on the disk is gone after a crash."""

    def __init__(self, world: World, pid: int) -> None:
        self.world = world
        self.pid = pid
        self.life = 0
        self.up = False
        self.paused = False
        self.drift = 1.0
        """How fast its clock runs."""
        self.disk = self._new_disk()
        self.replica: Replica
        self.store: Store
        self.compacted = 0
        self._writing: list[tuple[Persist | Compaction | None, list[tuple[int, AnyMessage]]]] = []
        self._busy = False
        self._backlog: list[tuple[int, AnyMessage]] = []
        self._answers: dict[int, Callable[[Applied | None, Outcome | None], None]] = {}
        self._reads: dict[int, Callable[[], None]] = {}

    def _new_disk(self) -> MemoryDatabase:
        return MemoryDatabase(self.world.random.getrandbits(62) | 1)

    @property
    def clock(self) -> float:
        return self.world.now * self.drift + self.pid

    # ---- Life and death

    def start(self) -> None:
        """A process starts, with whatever its disk holds."""
        self.life += 1
        self.up, self.paused = True, False
        durable = self.disk.reopen(int(self.world.now * 1_000_000) + self.life)
        self.store = Store()
        self.store.load(self.disk.rows())
        self.compacted = durable.snapshot_position
        for observer in self.world.observers:
            observer.started(self.world, self, durable)
        self.replica = Replica(
            self.pid, self.world.pids, durable, self.world.timing, self.world.limits,
            Random(self.world.random.random()), self.clock,
        )
        self.world.note(f"{self.pid} starts")
        self._tick(self.life)

    def crash(self) -> None:
        """The process dies: all that wasn't on the disk is gone; messages that left are still under way."""
        self.world.note(f"{self.pid} crashes, {len(self._writing)} writes lost")
        self.up = self.paused = False
        self.life += 1
        self._writing = []
        self._busy = False
        self._backlog = []
        self._answers = {}
        self._reads = {}

    def wipe(self) -> None:
        """The disk of a dead process is lost."""
        assert not self.up
        self.world.note(f"{self.pid} loses its disk")
        self.disk = self._new_disk()

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        """What arrived meanwhile is read at once, as from a socket's buffer."""
        self.paused = False
        backlog, self._backlog = self._backlog, []
        for sender, message in backlog:
            self.receive(sender, message)
        if self.up:
            self._tick(self.life)

    # ---- Input

    def receive(self, sender: int, message: AnyMessage) -> None:
        if not self.up:
            return
        if self.paused:
            self._backlog.append((sender, message))
            return
        self.replica.receive(sender, message, self.clock)
        self.pump()

    def _tick(self, life: int) -> None:
        if self.up and life == self.life and not self.paused:
            self.replica.tick(self.clock)
            self.pump()
            self.world.at(self.world.timing.tick_s, lambda: self._tick(life))

    def submit(self, command: Command, answer: Callable[[Applied | None, Outcome | None], None]) -> bool:
        """A user's command; `answer` is called once it is applied here (never, if this process dies first).
        False if the queue is full."""
        try:
            ticket = self.replica.submit(encode(command))
        except QueueFull:
            return False
        self._answers[ticket] = answer
        self.pump()
        return True

    def read(self, answer: Callable[[], None]) -> None:
        """A linearizable read; `answer` is called when the store may be looked at."""
        self._reads[self.replica.read()] = answer
        self.pump()

    # ---- Output, in the order that output.py demands

    def pump(self) -> None:
        if not self.up or self.paused:
            return
        while out := self.replica.take_output(self.clock):
            for to, message in out.send_first:
                self.world.carry(self, to, message)
            if out.persist is not None or out.send:
                self._write(out.persist, out.send)
            self._consume(out)
        for observer in self.world.observers:
            observer.stepped(self.world, self)

    def _consume(self, out: Output) -> None:
        if out.install is not None:
            self.store.load(out.install.rows)
            self.compacted = out.install.position
        for applied in out.apply:
            outcome = self.store.apply(applied.position, applied.operation.payload)
            for observer in self.world.observers:
                observer.applied(self.world, self, applied, outcome)
            if applied.ticket:
                for observer in self.world.observers:
                    observer.acknowledged(self.world, self, applied, outcome)
                self._answers.pop(applied.ticket)(applied, outcome)
        for ticket in out.unseen:
            self._answers.pop(ticket)(None, None)
        for ticket in out.reads:
            self._reads.pop(ticket)()
        if out.load_snapshot:
            life = self.life
            self.world.at(self.world.weather.fsync, lambda: self._load_snapshot(life))
        if self.replica.applied - self.compacted >= self.world.limits.snapshot_every:
            self._compact()

    def _load_snapshot(self, life: int) -> None:
        if self.up and life == self.life:
            self.replica.snapshot_loaded(self.disk.load_snapshot(), self.clock)
            self.pump()

    def _compact(self) -> None:
        self.compacted = self.replica.applied
        self._write(Compaction(self.compacted, self.replica.sessions.table(), self.store.changed()), [])

    # ---- The disk: one commit covers what gathered while the last one ran

    def _write(self, item: Persist | Compaction | None, after: list[tuple[int, AnyMessage]]) -> None:
        self._writing.append((item, after))
        if not self._busy:
            self._busy = True
            life = self.life
            self.world.at(0.0, lambda: self._commit(life))

    def _commit(self, life: int) -> None:
        if life != self.life or not self._writing:
            self._busy = False
            return
        count = len(self._writing)
        delay = self.world.weather.fsync * (0.5 + self.world.random.random())
        if all(item is None for item, _ in self._writing):
            delay = 0.0
        self.world.at(delay, lambda: self._committed(life, count))

    def _committed(self, life: int, count: int) -> None:
        if life != self.life:
            return
        done, self._writing = self._writing[:count], self._writing[count:]
        items = [item for item, _ in done if item is not None]
        if items:
            self.disk.write(items)
        for item, after in done:
            if item is not None:
                for observer in self.world.observers:
                    observer.stored(self.world, self, item)
                if isinstance(item, Compaction):
                    self.replica.compacted(item.position)
            for to, message in after:
                if to == self.pid:
                    self.world.at(0.0, lambda message=message: self._loop_back(life, message))  # type: ignore[misc]
                else:
                    self.world.carry(self, to, message)
        self.pump()
        self._commit(life)

    def _loop_back(self, life: int, message: AnyMessage) -> None:
        if self.up and life == self.life:
            self.receive(self.pid, message)


__all__ = ["SIM_LIMITS", "SIM_TIMING", "Node", "Observer", "Snapshot", "Violation", "Weather", "World"]
