"""Five nodes, their LLMs and one question in single steps, so that the leader can be killed between any two of them.

Unlike in world.py, what a node owes is part of it (server/responder.py, llm/request_scheduler.py): a step is one
message delivered, one commit finished, one LLM's answer given, or one tick of all clocks. The order is always the same.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial
from random import Random

from config.llm_settings import LlmSettings
from kvstore.operations import Answer, StoreOperation, decode, encode
from kvstore.store import Store
from llm.provider import Progress, Prompt, Reply
from llm.request_scheduler import RequestScheduler
from paxos.limits import Limits, Timing
from paxos.messages import AnyMessage
from paxos.output import Output
from paxos.replica import Replica
from server.responder import Responder
from tests.simulation.node import Disk

PIDS = [1, 2, 3, 4, 5]
TURNS = 30
"""Of the event loop: more than it takes until all have done what they can do now."""

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
        return Reply(f"answer {len(world.asked)} of node {self._node.pid}", self.model, 0.1)

    async def close(self) -> None:
        pass


class Node:
    """One life of a node. Does what engine/paxos.py does, in steps."""

    def __init__(self, world: World, pid: int) -> None:
        self.world, self.pid, self.up = world, pid, True
        self.disk = world.disks[pid]
        world.lives += 1
        self.store = Store()
        self.replica = Replica(
            pid, PIDS, self.disk.reopen(1_000_000 * world.lives), Timing(), Limits(), Random(world.lives), world.now
        )
        self._reads: dict[int, asyncio.Future[None]] = {}
        self._seen: tuple[object, ...] = ()

        def desk(done: Callable[..., None]) -> RequestScheduler:
            made = RequestScheduler(LlmSettings(), lambda: Llm(self), done)
            made._provider = Llm(self)  # not by a thread, whose time would be another one each time
            return made

        self.answering = Responder(pid, self, desk, poll_s=1000)
        self.running = asyncio.get_running_loop().create_task(self.answering.run())

    def submit(self, command: StoreOperation) -> None:
        self.replica.submit(encode(command))

    def read(self) -> asyncio.Future[None]:
        reading = asyncio.get_running_loop().create_future()
        self._reads[self.replica.read()] = reading
        return reading

    def receive(self, sender: int, message: AnyMessage) -> None:
        if self.up:
            self.replica.receive(sender, message, self.world.now)

    def pump(self) -> None:
        while self.up and (out := self.replica.take_output(self.world.now)):
            self._send(out.send_now)
            self._store(out)
            for applied in out.apply:
                self.answering.on_applied(self.store.apply(applied.position, applied.operation.payload))
            for ticket in out.reads:
                reading = self._reads.pop(ticket)
                if not reading.done():
                    reading.set_result(None)
        status = self.replica.status()
        if self.up and (status.leader, status.links) != self._seen:
            self._seen = status.leader, status.links
            self.answering.see(status.leader, status.links)

    def _store(self, out: Output) -> None:
        def committed() -> None:
            if self.up:
                if out.persist is not None:
                    self.disk.write([out.persist])
                self._send(out.send_after_persist)

        if out.persist is not None or out.send_after_persist:
            self.world.steps.append(committed)

    def _send(self, messages: list[tuple[int, AnyMessage]]) -> None:
        for pid, message in messages:
            self.world.steps.append(partial(self._deliver, pid, message))

    def _deliver(self, pid: int, message: AnyMessage) -> None:
        self.world.nodes[pid].receive(self.pid, message)

    async def kill(self) -> None:
        self.up = False
        self.running.cancel()
        await self.answering.close()


class World:
    def __init__(self) -> None:
        self.now = 1.0
        self.lives = 0
        self.steps: deque[Step] = deque()
        """What can happen next, in this order; when there is nothing, time passes."""
        self.thinking: list[tuple[Node, Step]] = []
        self.asked: list[int] = []
        """The nodes whose LLM was asked."""
        self.too_late: list[int] = []
        """Those asked when an answer was decided already."""
        self.disks = {pid: Disk(pid * 1000 + 7) for pid in PIDS}
        self.nodes: dict[int, Node] = {}

    def start(self, pid: int) -> None:
        self.nodes[pid] = Node(self, pid)

    async def step(self) -> None:
        """The next thing happens, and everybody reacts to it."""
        if self.steps:
            self.steps.popleft()()
        elif self.thinking:
            node, answer = self.thinking.pop(0)
            if node.up:
                answer()
        else:
            self.now += Timing().tick_s
            for node in self.up():
                node.replica.tick(self.now)
        await self.settle()

    async def settle(self) -> None:
        for _ in range(TURNS):
            await asyncio.sleep(0)
        for node in self.up():
            node.pump()
        for _ in range(TURNS):
            await asyncio.sleep(0)
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
        """Whom all that are up follow, once it knows that it leads."""
        said = {node.replica.status().leader for node in self.up()}
        (leader, *others) = said
        if others or leader is None or not self.nodes[leader].up:
            return None
        return leader if self.nodes[leader].replica.status().role == "leader" else None

    def decided(self) -> bool:
        """Whether a quorum has an answer on disk under one leadership, whoever knows it."""
        have: dict[tuple[object, ...], int] = {}
        for disk in self.disks.values():
            for entry in disk.entries.values():
                if entry.operation.is_noop or not _is_answer(entry.operation.payload):
                    continue
                key = entry.position, repr(entry.leadership), entry.operation.payload
                have[key] = have.get(key, 0) + 1
        return any(count > len(PIDS) // 2 for count in have.values())


def _is_answer(payload: bytes) -> bool:
    command = decode(payload)
    return isinstance(command, Answer) and command.text is not None
