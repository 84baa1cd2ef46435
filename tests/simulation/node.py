"""One simulated process: it works off the Outputs of its replica in the order that paxos/output.py demands, on a disk
that takes its time, and it may die in the middle of anything."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import TYPE_CHECKING, TypeAlias

from kvstore.operations import StoreOperation, encode
from kvstore.store import Outcome, Store
from paxos.messages import AnyMessage, Entry, Routed
from paxos.output import Applied, Durable, Output, Persist, VoterStatus
from paxos.replica import QueueFull, Replica
from storage.memory import MemoryDatabase
from storage.records import Compaction

if TYPE_CHECKING:
    from tests.simulation.world import World

POINTS = (
    "sending first", "before the write", "before the commit", "part of the commit", "committed", "releasing",
    "applied", "acknowledged", "piece sent", "piece received", "snapshot installed",
)
"""Where a process may die in the middle of its work. Part of a commit: what one transaction of several had done."""

Write: TypeAlias = tuple[Persist | Compaction | None, list[tuple[int, AnyMessage]]]
"""Something for the disk, and what may leave once it is there."""


class Died(Exception):
    """A trap sprang: the process is gone in the middle of what it did. Stays inside this file."""


def kind(message: AnyMessage) -> str:
    return type(message.message if isinstance(message, Routed) else message).__name__


class Disk(MemoryDatabase):
    """Can be looked at from outside."""

    @property
    def image(self) -> Durable:
        """Without the entries."""
        return self._image

    @property
    def entries(self) -> Mapping[int, Entry]:
        return self._entries


class Node:
    """One process: a replica, its store, its disk; what is not on the disk is gone after a crash."""

    def __init__(self, world: World, pid: int) -> None:
        self.world = world
        self.pid = pid
        self.life = 0
        self.up = False
        self.paused = False
        self.wiped = False
        """Its disk was lost once."""
        self.drift = 1.0
        """How fast its clock runs."""
        self.offset = float(pid)
        """What its clock shows at time 0; another machine, or another boot, counts from elsewhere."""
        self.epoch_us = 1_000_000_000_000
        """What its calendar shows at time 0."""
        self.disk = self._new_disk()
        self.replica: Replica
        self.store: Store
        self.compacted = 0
        self._writing: list[Write] = []
        self._load_after: int | None = None
        """A snapshot is to be read, after so many of the writes that wait: the disk does one thing after the other."""
        self._busy = False
        self._stalled_until = 0.0
        self._pumping = False
        self._turn_pending = False
        self._backlog: list[Callable[[], None]] = []
        """What happened while it was paused."""
        self._ticker = 0
        self._answers: dict[int, Callable[[Applied | None, Outcome | None], None]] = {}
        self._reads: dict[int, Callable[[], None]] = {}
        self._trap: tuple[str, int, Callable[[], None]] | None = None

    def _new_disk(self) -> Disk:
        return Disk(self.world.random.getrandbits(62) | 1)

    @property
    def standing_on_disk(self) -> VoterStatus:
        return self.disk.image.voter_status

    @property
    def clock(self) -> float:
        return self.world.now * self.drift + self.offset

    # ---- Life and death

    def start(self) -> None:
        """A process starts, with whatever its disk holds."""
        self.life += 1
        self.up, self.paused = True, False
        durable = self.disk.reopen(self.epoch_us + int(self.world.now * 1_000_000) + self.life)
        self.store = Store()
        self.store.load(self.disk.rows())
        self.compacted = durable.snapshot_position
        for started in self.world.hooks["started"]:
            started(self.world, self, durable)
        self.replica = Replica(
            self.pid, self.world.pids, durable, self.world.timing, self.world.limits,
            Random(self.world.random.random()), self.clock,
        )
        self.world.note(f"{self.pid} starts")
        self._start_ticking()

    def crash(self) -> None:
        """The process dies: all that wasn't on the disk is gone; messages that left are still under way."""
        self.world.note(f"{self.pid} crashes, {len(self._writing)} writes lost")
        self.up = self.paused = False
        self.life += 1
        self._writing = []
        self._load_after = None
        self._busy = self._pumping = self._turn_pending = False
        self._backlog = []
        self._answers = {}
        self._reads = {}
        self._trap = None

    def wipe(self) -> None:
        """The disk of a dead process is lost."""
        assert not self.up
        self.world.note(f"{self.pid} loses its disk")
        self.disk = self._new_disk()
        self.wiped = True

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        """What arrived meanwhile is read at once, as from a socket's buffer."""
        if not (self.up and self.paused):
            return
        self.paused = False
        backlog, self._backlog = self._backlog, []
        for happened in backlog:
            happened()
        self._start_ticking()

    def trap(self, point: str, count: int, then: Callable[[], None]) -> None:
        """Lets the process die when it passes `point` (one of POINTS) for the `count`th time; `then` is called."""
        self._trap = (point, count, then)

    def stall(self, seconds: float) -> None:
        """The disk completes nothing for so long."""
        self._stalled_until = self.world.now + seconds

    def disarm(self) -> None:
        """No trap, no more waiting for the disk than usual."""
        self._trap = None
        self._stalled_until = 0.0

    def _pass(self, point: str) -> None:
        """Here the process may die. Raises Died, which unwinds all that it was doing."""
        if self._trap is None or self._trap[0] != point:
            return
        _, count, then = self._trap
        if count > 1:
            self._trap = (point, count - 1, then)
            return
        self.world.note(f"{self.pid} dies at {point}")
        self.crash()
        then()
        raise Died

    # ---- Input

    def receive(self, sender: int, message: AnyMessage) -> None:
        if not self.up:
            return
        if self.paused:
            self._backlog.append(lambda: self.receive(sender, message))
            return
        self.replica.receive(sender, message, self.clock)
        if self._trap is not None and kind(message) == "SnapshotPiece":
            try:
                self._pass("piece received")
            except Died:
                return
        if not self.world.weather.turn_s:
            self.pump()
        elif not self._turn_pending:
            self._turn_pending = True
            life = self.life
            self.world.at(self.world.random.random() * self.world.weather.turn_s, lambda: self._end_turn(life))

    def _end_turn(self, life: int) -> None:
        if life == self.life:
            self._turn_pending = False
            self.pump()

    def _start_ticking(self) -> None:
        self._ticker += 1
        self._tick(self._ticker)

    def _tick(self, ticker: int) -> None:
        if self.up and ticker == self._ticker and not self.paused:
            self.replica.tick(self.clock)
            self.pump()
            self.world.at(self.world.timing.tick_s, lambda: self._tick(ticker))

    def suspect(self, peer: int) -> None:
        """A hint that the connection of `peer` closed."""
        if self.up and not self.paused:
            self.replica.suspect(peer, self.clock)
            self.pump()

    def submit(self, command: StoreOperation, answer: Callable[[Applied | None, Outcome | None], None]) -> bool:
        """A user's command; `answer` is called once it is applied here (never, if this process dies first).
        False if the queue is full."""
        try:
            ticket = self.replica.submit(encode(command))
        except QueueFull:
            return False
        self._answers[ticket] = answer
        self.pump()
        return True

    def read(self, answer: Callable[[], None]) -> bool:
        """A linearizable read; `answer` is called when the store may be looked at. False if the queue is full."""
        try:
            ticket = self.replica.read()
        except QueueFull:
            return False
        self._reads[ticket] = answer
        self.pump()
        return True

    # ---- Output, in the order that output.py demands

    def pump(self) -> None:
        if not self.up or self.paused or self._pumping:
            return
        self._pumping = True
        try:
            while out := self.replica.take_output(self.clock):
                self._work_off(out)
        except Died:
            return
        self._pumping = False
        for stepped in self.world.hooks["stepped"]:
            stepped(self.world, self)

    def _work_off(self, out: Output) -> None:
        for to, message in out.send_now:
            self.world.carry(self, to, message)
            self._pass("piece sent" if kind(message) == "SnapshotPiece" else "sending first")
        self._pass("before the write")
        if out.persist is not None or out.send_after_persist:
            self._write(out.persist, out.send_after_persist)
        self._consume(out)

    def _consume(self, out: Output) -> None:
        if out.install is not None:
            self.store.load(out.install.rows)
            self.compacted = out.install.position
            self._pass("snapshot installed")
            for installed in self.world.hooks["installed"]:
                installed(self.world, self, out.install)
        for applied in out.apply:
            self._apply(applied)
        for ticket in out.outcome_unknown:
            self._answers.pop(ticket)(None, None)
        for ticket in out.reads:
            self._reads.pop(ticket)()
        if out.load_snapshot:
            self._load_after = len(self._writing)
            self._load_when_due()
        if self.replica.applied - self.compacted >= self.world.limits.snapshot_every:
            self._compact()

    def _apply(self, applied: Applied) -> None:
        outcome = self.store.apply(applied.position, applied.operation.payload)
        for told in self.world.hooks["applied"]:
            told(self.world, self, applied, outcome)
        self._pass("applied")
        if applied.ticket:
            for told in self.world.hooks["acknowledged"]:
                told(self.world, self, applied, outcome)
            self._answers.pop(applied.ticket)(applied, outcome)
            self._pass("acknowledged")

    def _load_when_due(self) -> None:
        if self._load_after is not None and self._load_after <= 0:
            self._load_after = None
            life = self.life
            self.world.at(self.world.weather.fsync, lambda: self._load_snapshot(life))

    def _load_snapshot(self, life: int) -> None:
        if self.paused:
            self._backlog.append(lambda: self._load_snapshot(life))
        elif life == self.life:
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
        if life != self.life:
            return
        if not self._writing:
            self._busy = False
            return
        count = len(self._writing)
        delay = self.world.weather.fsync * (0.5 + self.world.random.random())
        if all(item is None for item, _ in self._writing):
            delay = 0.0
        delay = max(delay, self._stalled_until - self.world.now)
        self.world.at(delay, lambda: self._committed(life, count))

    def _committed(self, life: int, count: int) -> None:
        if life != self.life:
            return
        if self.paused:
            self._backlog.append(lambda: self._committed(life, count))
            return
        done, self._writing = self._writing[:count], self._writing[count:]
        try:
            self._store(done)
            self._release(done)
        except Died:
            return
        if self._load_after is not None:
            self._load_after -= count
            self._load_when_due()
        self.pump()
        self._commit(life)

    def _store(self, done: list[Write]) -> None:
        self._pass("before the commit")
        for item, _ in done:
            if item is not None:
                self.disk.write([item])
                for stored in self.world.hooks["stored"]:
                    stored(self.world, self, item)
                self._pass("part of the commit")
        self._pass("committed")

    def _release(self, done: list[Write]) -> None:
        life = self.life
        for item, after in done:
            if isinstance(item, Compaction):
                self.replica.snapshot_stored(item.position)
            for to, message in after:
                if to == self.pid:
                    for sent in self.world.hooks["sent"]:
                        sent(self.world, self, to, message)
                    self.world.at(0.0, lambda message=message: self._loop_back(life, message))  # type: ignore[misc]
                else:
                    self.world.carry(self, to, message)
                self._pass("releasing")

    def _loop_back(self, life: int, message: AnyMessage) -> None:
        if life == self.life:
            self.receive(self.pid, message)
