"""A process of a simulated node: the real driver (engine/driver.py) on a simulated network, disk, clock and loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from random import Random
from typing import TYPE_CHECKING, TypeAlias

from engine.driver import Diverged, ReplicaDriver
from engine.ticks import Ticks
from kvstore.operations import StoreOperation
from kvstore.payloads import encode
from kvstore.store import Outcome, Store
from paxos.leader import Leader
from paxos.messages import AnyMessage, Change, Routed, Snapshot
from paxos.operations_version import LOWEST
from paxos.output import Applied, Divergence
from paxos.replica import QueueFull, Replica, Status
from storage.errors import StorageError
from tests.simulation.disk import InjectedDamage, InjectedFailure, ProcessDisk
from tests.simulation.observer import Violation

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tests.simulation.node import Node
    from tests.simulation.world import World

Answer: TypeAlias = Callable[[Applied | None, Outcome | None], None]
"""Gets (None, None) if the outcome cannot be known."""


class Died(BaseException):
    """The process is gone in the middle of what it did. No `except Exception` of the code that runs here sees it; it
    ends in `Process.do`."""


def kind(message: AnyMessage) -> str:
    return type(message.message if isinstance(message, Routed) else message).__name__


class Timer:
    def __init__(self, action: Callable[[], None]) -> None:
        self._action: Callable[[], None] | None = action

    def expire(self) -> None:
        if self._action is not None:
            self._action()

    def cancel(self) -> None:
        self._action = None


class Process:
    """Everything that happens in it happens in `do`. Implements the driver's Transport, DriverListener and
    DriverObserver."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.world: World = node.world
        self.alive = True
        self.paused = False
        self.leaving = False
        """It was told to stop, or its disk failed: nothing may move any more."""
        self.differs: list[Divergence] = []
        """What it was told of nodes with another state."""
        self.finding: BaseException | None = None
        """An error that nobody injected, which driver and group commit would keep from going further up."""
        self._deferred: Callable[[], None] | None = None
        self._turn_pending = False
        self._backlog: list[Callable[[], None]] = []
        """What happened while it was paused."""
        self._releasing = False
        self._answers: dict[int, Answer] = {}
        self._reads: dict[int, Callable[[], None]] = {}
        world = self.world
        self._found = durable = node.disk.reopen(node.epoch_us + int(world.now * 1_000_000) + node.incarnation)
        self.store = Store()
        self.store.load(node.disk.rows())
        self.disk = ProcessDisk(self)
        self.random = Random(world.random.random())
        self.driver = ReplicaDriver(
            node.pid, world.named, durable, timing=world.timing, limits=world.limits,
            random=self.random, clock=self._clock, transport=self, disk=self.disk,
            machine=self.store, listener=self, defer=self._defer,
        )
        if node.old:
            _as_release_0_1_0(self.driver.replica)
        self._ticks = Ticks(self.driver, self._call_later)
        self.driver.observer = self

    def start(self) -> None:
        for started in self.world.watching("started", self.node):
            started(self.world, self.node, self._found)
        self.do(self.driver.start)
        self.do(self._ticks.start)

    def _clock(self) -> float:
        return self.node.clock

    # ---- The event loop

    def do(self, action: Callable[[], None], gather: bool = False) -> None:
        """Something happens in the process. `gather`: the loop may be busy for a while before it looks at this and
        what else has come by then."""
        if not self.alive:
            return
        if self.paused:
            self._backlog.append(partial(self.do, action, gather))
            return
        try:
            action()
            if gather and self.world.weather.turn_s:
                self._gather()
                return
            while self._deferred is not None:
                deferred, self._deferred = self._deferred, None
                deferred()
        except Died:
            return
        finally:
            if self.finding is not None:
                raise self.finding
        self.world.configured(self.node)
        for stepped in self.world.watching("stepped", self.node):
            stepped(self.world, self.node)

    def _defer(self, action: Callable[[], None]) -> None:
        self._deferred = action

    def _gather(self) -> None:
        if not self._turn_pending:
            self._turn_pending = True
            delay = self.world.random.random() * self.world.weather.turn_s
            self.world.at(delay, partial(self.do, self._end_turn))

    def _end_turn(self) -> None:
        self._turn_pending = False

    def _call_later(self, seconds: float, action: Callable[[], None]) -> Timer:
        timer = Timer(action)
        self.world.at(seconds, partial(self.do, timer.expire))
        return timer

    def resume(self) -> None:
        """What arrived meanwhile is read at once, as from a socket's buffer."""
        self.paused = False
        backlog, self._backlog = self._backlog, []
        for happened in backlog:
            happened()

    def leave(self) -> None:
        """Its user types `exit`: what waits for the disk is still written, and nothing else happens."""
        self.leaving = True
        self.driver.stop()
        answers, self._answers = self._answers, {}
        for answer in answers.values():
            answer(None, None)

    def passes(self, point: str) -> None:
        """One of node.POINTS: the process may die here. Raises Died, which unwinds all that it was doing."""
        if self.node.trapped_at == point and self.node.dies_at_trap():
            raise Died

    # ---- Input

    def receive(self, sender: int, message: AnyMessage, cluster: int) -> None:
        self.do(partial(self._receive, sender, message, cluster), gather=True)

    def _receive(self, sender: int, message: AnyMessage, cluster: int) -> None:
        self.driver.receive(sender, message, cluster)
        if self.node.trapped_at is not None and kind(message) == "SnapshotPiece":
            self.passes("piece received")

    def linked(self, peers: Iterable[int]) -> None:
        self.do(self.driver.linked)
        for peer in peers:
            self.meet(peer)

    def meet(self, peer: int) -> None:
        self.do(partial(self.driver.meet, peer))

    def suspect(self, peer: int) -> None:
        self.do(partial(self.driver.suspect, peer))

    def submit(self, command: StoreOperation, answer: Answer) -> bool:
        try:
            self._answers[self.driver.submit(encode(command))] = answer
        except QueueFull:
            return False
        self.do(_nothing_else)
        return True

    def read(self, answer: Callable[[], None]) -> bool:
        try:
            self._reads[self.driver.read()] = answer
        except QueueFull:
            return False
        self.do(_nothing_else)
        return True

    def change_members(self, change: Change, member: int) -> None:
        self.do(partial(self.driver.change_members, change, member))

    # ---- The driver's transport

    def send(self, to: int, message: AnyMessage) -> None:
        self.world.carry(self.node, to, message)
        if self.node.trapped_at is None:
            return
        if self._releasing:
            self.passes("releasing")
        else:
            self.passes("piece sent" if kind(message) == "SnapshotPiece" else "sending first")

    def flush(self) -> None:
        """Every message leaves at once here."""

    @contextmanager
    def releasing(self) -> Iterator[None]:
        """What is sent meanwhile has waited for the disk."""
        self._releasing = True
        try:
            yield
        finally:
            self._releasing = False

    # ---- The driver's listener

    def on_applied(self, applied: Applied, outcome: Outcome, live: bool) -> None:
        self._ticks.hurry()
        for told in self.world.watching("applied", self.node):
            told(self.world, self.node, applied, outcome)
        self.passes("applied")
        if applied.ticket:
            for told in self.world.watching("acknowledged", self.node):
                told(self.world, self.node, applied, outcome)
            self._answers.pop(applied.ticket)(applied, outcome)
            self.passes("acknowledged")

    def on_outcome_unknown(self, ticket: int) -> None:
        self._answers.pop(ticket)(None, None)

    def on_read_ready(self, ticket: int) -> None:
        self._reads.pop(ticket)()

    def on_installed(self, snapshot: Snapshot) -> None:
        self.passes("snapshot installed")
        for installed in self.world.watching("installed", self.node):
            installed(self.world, self.node, snapshot)

    def on_status(self, status: Status) -> None:
        """What else matters is looked at from outside."""
        self._ticks.hurry()

    def on_stranger(self, node: int, cluster: int) -> None:
        self.world.note(f"{self.node.pid} hears that {node} belongs to cluster {cluster:x}")

    def on_odd(self, node: int, why: str) -> None:
        if not self.world.hostile:  # what is routed comes in whosever name the hostile one wrote there
            self.finding = Violation(f"{self.node.pid} takes {node} for odd, and it is honest: {why}")
        for told in self.world.watching("odd", self.node):
            told(self.world, self.node, node, why)

    def on_diverged(self, divergence: Divergence) -> None:
        self.differs.append(divergence)
        for told in self.world.hooks["diverged"]:
            told(self.world, self.node, divergence)

    def on_failed(self, error: Exception) -> None:
        """An error that nobody injected is a finding, of a checker or in itself."""
        self.leaving = True
        if isinstance(error, Diverged):
            for told in self.world.hooks["diverged"]:
                told(self.world, self.node, error.divergence)
        if isinstance(error, (InjectedFailure, InjectedDamage, Diverged)):
            self.world.note(f"{self.node.pid} stops: {error}")
            self.node.failed()
        else:
            self.finding = error.__cause__ or error

    def disk_failed(self, error: StorageError) -> None:
        self.driver.fail(error)

    # ---- The driver's observer

    def received(self, sender: int, message: AnyMessage) -> None:
        if sender == self.node.pid:
            for sent in self.world.watching("sent", self.node):
                sent(self.world, self.node, sender, message)

    def sent(self, messages: Sequence[tuple[int, AnyMessage]]) -> None:
        """The world sees each of them in `send`."""

    def applied(self, applied: Sequence[Applied]) -> None:
        """The world sees each of them in `on_applied`."""

    def installed(self, position: int) -> None:
        """The world sees it in `on_installed`."""

    def changed(self, status: Status) -> None:
        """See `on_status`."""


def _as_release_0_1_0(replica: Replica) -> None:
    """It founds nothing, and says nothing of what it understands."""
    replica._versions.own = replica._heartbeats._operations_version = LOWEST
    replica._heartbeats._described = ()
    replica._reconfiguration.drive = _nothing_to_change  # type: ignore[method-assign]


def _nothing_to_change(leader: Leader, now: float) -> None:
    """Release 0.1.0 has no configurations."""


def _nothing_else() -> None:
    """Only what the driver has deferred happens."""
