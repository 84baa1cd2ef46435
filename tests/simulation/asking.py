"""Five nodes, their LLMs and one question in single steps, so that the leader can be killed between any two of them.

Unlike in world.py, asking the LLMs is part of it (server/responder.py, llm/request_scheduler.py): a step is one
message delivered, one commit finished, one LLM's answer given, or one tick of all clocks. The order is always the same.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from random import Random

from config.llm_settings import LlmSettings
from engine.driver import ReplicaDriver
from kvstore.operations import Answer, StoreOperation, unconditional
from kvstore.payloads import decode, encode
from kvstore.store import Outcome, Store
from llm.provider import Progress, Prompt, Reply
from llm.request_scheduler import RequestScheduler
from paxos.limits import Limits, Timing
from paxos.messages import AnyMessage, Snapshot
from paxos.output import Applied, Divergence
from paxos.replica import Replica, Status
from server.responder import Responder
from storage.errors import StorageError
from storage.records import Record
from tests.simulation.disk import Disk
from tests.simulation.founding import CLUSTER, founded
from tests.simulation.virtual_loop import VirtualLoop

PIDS = [1, 2, 3, 4, 5]

Step = Callable[[], None]


class Llm:
    """Of one node; its answers are steps of the world."""

    name = "scripted"
    model = "m"
    parallel = 9

    def __init__(self, node: Node) -> None:
        self._node = node

    async def ask(self, prompt: Prompt, on_progress: Progress | None = None) -> Reply:
        world = self._node.world
        world.asked.append(self._node.pid)
        if world.decided():
            world.too_late.append(self._node.pid)
        given = asyncio.get_running_loop().create_future()
        world.thinking.append((self._node, lambda: None if given.done() else given.set_result(None)))
        await given
        asked = prompt.messages[-1].text
        return Reply(f"answer {len(world.asked)} of node {self._node.pid} to {asked}", self.model, 0.1)

    async def close(self) -> None:
        pass


class Node:
    """One process of a node: the real driver, and what surrounds it, in steps. For its responder it is the engine."""

    full = False

    def __init__(self, world: World, pid: int) -> None:
        self.world, self.pid, self.up = world, pid, True
        self.refused: list[str] = []
        """What the store said."""
        self._contents = world.disks[pid]
        world.processes += 1
        self.store = Store()
        self._due: deque[Step] = deque()
        self._reads: dict[int, asyncio.Future[None]] = {}
        self._driver = ReplicaDriver(
            pid, PIDS, self._contents.reopen(1_000_000 * world.processes), timing=Timing(), limits=Limits(),
            random=Random(world.processes), clock=lambda: world.now, transport=self, disk=self, machine=self.store,
            listener=self, defer=self._due.append,
        )

        def make_scheduler(done: Callable[..., None]) -> RequestScheduler:
            made = RequestScheduler(LlmSettings(), lambda: Llm(self), done)
            made._provider = Llm(self)  # not by a thread, whose timing would vary
            return made

        self.answering = Responder(pid, self, make_scheduler, poll_s=1000)
        self.running = asyncio.get_running_loop().create_task(self.answering.run())
        self._driver.start()

    @property
    def replica(self) -> Replica:
        return self._driver.replica

    def tick(self) -> None:
        self._driver.tick()

    def receive(self, sender: int, message: AnyMessage) -> None:
        if self.up:
            self._driver.receive(sender, message, CLUSTER)

    def pump(self) -> None:
        """Lets the driver work through what has gathered."""
        while self.up and self._due:
            self._due.popleft()()

    async def kill(self) -> None:
        self.up = False
        self.running.cancel()
        await self.answering.close()

    # The engine.

    def submit(self, operation: StoreOperation) -> int:
        return self._driver.submit(encode(operation))

    def read(self) -> asyncio.Future[None]:
        reading = asyncio.get_running_loop().create_future()
        self._reads[self._driver.read()] = reading
        return reading

    # The driver's transport and disk.

    def send(self, to: int, message: AnyMessage) -> None:
        self.world.steps.append(lambda: self.world.nodes[to].receive(self.pid, message))

    def flush(self) -> None:
        """Every message is a step anyway."""

    def write(self, record: Record | None, done: Step) -> None:
        def committed() -> None:
            if self.up:
                if record is not None:
                    self._contents.write([record])
                done()

        self.world.steps.append(committed)

    def load_snapshot(self, done: Callable[[Snapshot | StorageError], None]) -> None:
        raise AssertionError("no node is so far behind here")

    # The driver's listener.

    def on_applied(self, applied: Applied, outcome: Outcome, live: bool) -> None:
        if outcome.error is not None:
            self.refused.append(outcome.error)
        self.answering.on_applied(outcome)

    def on_outcome_unknown(self, ticket: int) -> None:
        """The responder never waits for an outcome."""

    def on_read_ready(self, ticket: int) -> None:
        reading = self._reads.pop(ticket)
        if not reading.done():
            reading.set_result(None)

    def on_installed(self, snapshot: Snapshot) -> None:
        self.answering.review()

    def on_status(self, status: Status) -> None:
        self.answering.see(status.leader, status.links)

    def on_stranger(self, node: int, cluster: int) -> None:
        raise AssertionError("there is one cluster here")

    def on_odd(self, node: int, why: str) -> None:
        raise AssertionError(f"{node} is honest: {why}")

    def on_diverged(self, divergence: Divergence) -> None:
        raise AssertionError("all have the same conversations here")

    def on_failed(self, error: Exception) -> None:
        raise error


class World:
    def __init__(self) -> None:
        self.now = 1.0
        self.processes = 0
        self.steps: deque[Step] = deque()
        """What can happen next, in this order; when there is nothing, time passes."""
        self._ticked = False
        """Since the last step: an LLM thinks longer than it takes until all have heard of what was asked."""
        self.thinking: list[tuple[Node, Step]] = []
        self.asked: list[int] = []
        """The nodes whose LLM was asked."""
        self.too_late: list[int] = []
        """Those asked when an answer was decided already."""
        self.disks = {pid: Disk(pid * 1000 + 7) for pid in PIDS}
        for disk in self.disks.values():
            disk.write([founded({pid: pid * 1000 + 7 for pid in PIDS})])
        self.nodes: dict[int, Node] = {}
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        self._loop = loop

    def start(self, pid: int) -> None:
        self.nodes[pid] = Node(self, pid)

    async def step(self) -> None:
        """Performs the next step, and lets all nodes react."""
        if self.steps:
            self._ticked = False
            self.steps.popleft()()
        elif self.thinking and self._ticked:
            self._ticked = False
            node, answer = self.thinking.pop(0)
            if node.up:
                answer()
        else:
            self._ticked = True
            self.now += Timing().tick_s
            for node in self.up():
                node.tick()
        await self.settle()

    async def settle(self) -> None:
        await self._loop.finish()
        for node in self.up():
            node.pump()
        await self._loop.finish()
        for node in self.up():
            node.pump()

    async def until(self, condition: Callable[[], bool], limit: int = 20_000) -> int:
        """Returns how many steps it took. Raises AssertionError if it takes too many."""
        for count in range(limit):
            if condition():
                return count
            await self.step()
        raise AssertionError("it does not come to that")

    def up(self) -> list[Node]:
        return [node for node in self.nodes.values() if node.up]

    def leader(self) -> int | None:
        """The leader that all running nodes follow, once it knows that it leads."""
        said = {node.replica.status().leader for node in self.up()}
        (leader, *others) = said
        if others or leader is None or not self.nodes[leader].up:
            return None
        return leader if self.nodes[leader].replica.status().role == "leader" else None

    def decided(self) -> bool:
        """Whether a quorum has an answer on disk under one leadership, even if no node knows it."""
        have: dict[tuple[object, ...], int] = {}
        for disk in self.disks.values():
            for entry in disk.entries.values():
                if entry.operation.is_noop or not _is_answer(entry.operation.payload):
                    continue
                key = entry.position, repr(entry.leadership), entry.operation.payload
                have[key] = have.get(key, 0) + 1
        return any(count > len(PIDS) // 2 for count in have.values())


def _is_answer(payload: bytes) -> bool:
    command = unconditional(decode(payload))
    return isinstance(command, Answer) and command.text is not None
