"""A simulated machine: its disk and clock, and the process that runs on it, which may die in the middle of anything."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import TYPE_CHECKING

from kvstore.operations import StoreOperation
from kvstore.store import Store
from paxos.messages import AnyMessage, Configuration, Stamp
from paxos.output import Persist, VoterStatus
from paxos.replica import Replica
from tests.simulation.disk import Disk
from tests.simulation.process import Answer, Process, kind

if TYPE_CHECKING:
    from tests.simulation.world import World

POINTS = (
    "sending first", "before the write", "before the commit", "part of the commit", "committed", "releasing",
    "applied", "acknowledged", "piece sent", "piece received", "snapshot installed",
)
"""Where a process may die in the middle of its work. Part of a commit: what one transaction of several had done."""


class Node:
    def __init__(self, world: World, pid: int, foreign: bool = False) -> None:
        self.world = world
        self.pid = pid
        self.foreign = foreign
        """It belongs to another cluster: nobody looks at what it does there."""
        self.old = False
        """It runs release 0.1.0, as far as that matters here: see process.py."""
        self.incarnation = 0
        """Grows whenever a process starts or dies."""
        self.wiped = False
        """Its first disk was lost, and is not back."""
        self._first = 0
        """The identity of that disk."""
        self.put_back = 0
        """The identity of a disk that was put back for this process. It may lack what it never vouched for."""
        self.outdated = 0
        """The identity of an older copy of its disk that was put back: it has forgotten what it promised."""
        self.outdated_since = 0
        """The number of the last configuration by then."""
        self.removed: dict[int, Disk] = {}
        """Disks that were taken out, by their identities."""
        self.noted: Configuration | None = None
        """The last one that it was seen to know, which need not be looked at again."""
        self.drift = 1.0
        """How fast its clock runs."""
        self.offset = float(pid)
        """What its clock shows at time 0; another machine, or another boot, counts from elsewhere."""
        self.epoch_us = 1_000_000_000_000
        """What its calendar shows at time 0."""
        self.disk = self._new_disk()
        self.stalled_until = 0.0
        """The disk completes nothing before."""
        self.disk_failed = False
        """It did not take what this process wrote."""
        self._process: Process | None = None
        """The last one, alive or dead."""
        self.replica: Replica
        self.store: Store
        """Both are the process's."""
        self.trapped_at: str | None = None
        """At this point the process will die."""
        self._trap_count = 0
        self._trap_then: Callable[[], None]
        self._failing = False
        self._failed: Callable[[], None] | None = None

    def _new_disk(self) -> Disk:
        return Disk(self.world.random.getrandbits(62) | 1)

    # ---- What can be seen from outside

    @property
    def process(self) -> Process:
        assert self._process is not None, "it was never started"
        return self._process

    @property
    def up(self) -> bool:
        return self._process is not None and self._process.alive

    @property
    def paused(self) -> bool:
        return self.up and self.process.paused

    @property
    def leaving(self) -> bool:
        """It runs, and has stopped for good."""
        return self.up and self.process.leaving

    @property
    def compacted(self) -> int:
        """The position of its last own or received snapshot, on disk or on the way there."""
        return self.process.driver.snapshot_position

    @property
    def standing_on_disk(self) -> VoterStatus:
        return self.disk.image.voter_status

    @property
    def clock(self) -> float:
        return self.world.now * self.drift + self.offset

    # ---- Starting and dying

    def start(self) -> None:
        """A process starts, with whatever the disk holds."""
        self.incarnation += 1
        self.disk_failed = False
        self._process = process = Process(self)
        self.replica, self.store = process.driver.replica, process.store
        self.world.note(f"{self.pid} starts")
        process.start()

    def crash(self) -> None:
        """The process dies: all that wasn't on the disk is gone; messages that left are still under way."""
        self.world.note(f"{self.pid} crashes, {self.process.disk.waiting} writes lost")
        self.incarnation += 1
        self.process.alive = False
        self.put_back = 0
        self._forget_faults()

    def wipe(self, damaged: bool = False) -> None:
        """The disk of a dead process is lost. `damaged`: the new one is there in its place (see storage/set_aside.py),
        and no founder's."""
        assert not self.up
        self.world.note(f"{self.pid} loses its disk")
        self.removed[self.disk.image.identity] = self.disk
        if not self.wiped:
            self._first = self.disk.image.identity
        self.disk = self._new_disk()
        if self.world.founding is not None:
            self.disk.write([Persist(snapshot=self.world.founding)])
        if damaged:
            self.disk.write([Persist(voter_status=VoterStatus.LEARNER)])
        self.wiped = True

    def backup(self) -> Disk:
        """A copy of what is on the disk."""
        return deepcopy(self.disk)

    def restore(self, copy: Disk, vouched: Stamp | None = None) -> None:
        """A copy of this disk, or of one that was there before, is put in the place of a dead process's disk. It has
        forgotten something if it lacks the last write that it `vouched` for; the last one of all, if that is None."""
        assert not self.up
        identity = copy.image.identity
        last = self.removed[self.disk.image.identity] = self.disk
        last = self.removed.get(identity, last)
        older = copy.image.stamp < (last.image.stamp if vouched is None else vouched)
        self.world.note(f"{self.pid} gets {'an older' if older else 'its former'} disk back")
        self.disk = copy
        self.put_back = identity
        if identity == self._first:
            self.wiped = False
        if older:
            self.outdated = identity
            self.outdated_since = len(self.world.configurations)
        elif self.outdated == identity:
            self.outdated = 0  # The older copy has vouched for nothing.

    def pause(self) -> None:
        self.process.paused = True

    def resume(self) -> None:
        if self.paused:
            self.process.resume()

    def leave(self) -> None:
        """The process is told to stop; it is there until it crashes."""
        self.world.note(f"{self.pid} leaves")
        self.process.leave()

    # ---- Faults to come

    def trap(self, point: str, count: int, then: Callable[[], None]) -> None:
        """Lets the process die when it passes `point` (one of POINTS) for the `count`th time; `then` is called."""
        self.trapped_at, self._trap_count, self._trap_then = point, count, then

    def dies_at_trap(self) -> bool:
        """The process has come to where it was to die: does it, this time?"""
        self._trap_count -= 1
        if self._trap_count > 0:
            return False
        self.world.note(f"{self.pid} dies at {self.trapped_at}")
        self.crash()
        self._trap_then()
        return True

    def fail_commit(self, then: Callable[[], None]) -> None:
        """Lets the next commit fail; `then` is called when the process knows."""
        self._failing, self._failed = True, then

    def takes_failure(self) -> bool:
        """Whether this is the commit that fails."""
        failing, self._failing = self._failing, False
        return failing

    def failed(self) -> None:
        """The process knows that its disk failed."""
        if self._failed is not None:
            self._failed()

    def stall(self, seconds: float) -> None:
        """The disk completes nothing for so long."""
        self.stalled_until = self.world.now + seconds

    def disarm(self) -> None:
        """No trap, no failure, no more waiting for the disk than usual."""
        self._forget_faults()
        self.stalled_until = 0.0

    def _forget_faults(self) -> None:
        self.trapped_at = self._failed = None
        self._failing = False

    # ---- Input

    def receive(self, sender: int, message: AnyMessage, cluster: int | None = None) -> None:
        """`cluster` is the one that its sender had when the message left; as it has now, if None."""
        if self.up:
            known = self.world.nodes[sender].process.driver.cluster if cluster is None else cluster
            self.process.receive(sender, message, known)

    def suspect(self, peer: int) -> None:
        """A hint that the connection of `peer` closed."""
        if self.up:
            self.process.suspect(peer)

    def submit(self, command: StoreOperation, answer: Answer) -> bool:
        """A user's command; `answer` is called once it is applied here (never, if this process dies first).
        False if the queue is full."""
        return self.process.submit(command, answer)

    def read(self, answer: Callable[[], None]) -> bool:
        """A linearizable read; `answer` is called when the store may be looked at. False if the queue is full."""
        return self.process.read(answer)


__all__ = ["POINTS", "Node", "kind"]
