"""Nodes on the fake etcd, in virtual time, and what must hold of them: all apply the same operations at the same
positions, each once and in its node's order, what was acknowledged is there, and reads show it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random

from engine.etcd.client import Access, EtcdClient
from engine.etcd.engine import EtcdEngine
from engine.interface import AppliedOperation, EngineStatus
from kvstore.operations import Create
from paxos.limits import Limits
from tests.simulation.etcd_gateway import FakeEtcd
from tests.simulation.world import Violation

ENDPOINTS = ("http://a:1", "http://b:1", "http://c:1")
PREFIX = "test"
LONGEST_S = 120.0
"""Virtual time in which all must have settled."""


class SimulatedNode:
    """An EngineListener, and its engine."""

    def __init__(self, world: EtcdWorld, number: int) -> None:
        self.number = number
        self.applied: dict[int, AppliedOperation] = {}
        self.tickets: dict[int, str] = {}
        """Of operations that were submitted and have no outcome: which conversation they create."""
        self.failed: str | None = None
        self.told: list[str] = []
        self.removed = False
        self.unknown = 0
        self._world = world
        access = Access(ENDPOINTS, user="u" if world.etcd.tokens is not None else None, password="right")
        self.engine = EtcdEngine(
            number, world.numbers, "test", world.known, world.met,
            lambda changed: EtcdClient(access, changed, http=world.etcd, random=Random(world.random.random())),
            PREFIX, world.limits,
        )
        self.engine.start(self)

    def create(self, name: str) -> None:
        self.tickets[self.engine.submit(Create(name))] = name

    # ---- EngineListener

    def on_applied(self, applied: AppliedOperation) -> None:
        self.applied[applied.position] = applied
        self._world.check(self, applied)
        name = self.tickets.pop(applied.ticket, None)
        if applied.ticket and (name is None or applied.outcome.context != name):
            raise Violation(f"node {self.number} was told of {applied} with a ticket that is not its own")
        if name is not None and applied.outcome.ok:
            self._world.acknowledged.append(name)

    def on_outcome_unknown(self, ticket: int) -> None:
        del self.tickets[ticket]
        self.unknown += 1

    def on_installed(self) -> None:
        self.applied.clear()

    def on_status(self, status: EngineStatus) -> None: ...

    def on_connected(self) -> None:
        self.told.append("connected")

    def on_disconnected(self, reason: str) -> None:
        self.told.append(reason)

    def on_removed(self) -> None:
        self.removed = True

    def on_failed(self, reason: str) -> None:
        self.failed = reason

    def on_refused(self, reason: str) -> None: ...

    def on_stranger(self, reason: str) -> None: ...

    def on_diverged(self, reason: str) -> None:
        self.told.append(reason)

    def on_hint(self, node: int, payload: bytes) -> None: ...


class EtcdWorld:
    def __init__(self, size: int = 3, seed: int = 1, **limits: int) -> None:
        self.random = Random(seed)
        self.numbers = list(range(1, size + 1))
        self.limits = Limits(**limits)
        self.etcd = FakeEtcd(asyncio.get_running_loop().time)
        self.known: str | None = None
        self.acknowledged: list[str] = []
        """Conversations whose creation was."""
        self.nodes: dict[int, SimulatedNode] = {}
        self.former: list[SimulatedNode] = []
        """Processes in whose place others were started while they ran."""
        self._order: dict[int, object] = {}
        self._last: dict[int, tuple[int, int]] = {}

    def met(self, cluster: str) -> None:
        self.known = cluster

    def start(self, *numbers: int) -> None:
        """A node that runs gets a second process, beside the one that was first."""
        for number in numbers:
            if number in self.nodes:
                self.former.append(self.nodes[number])
            self.nodes[number] = SimulatedNode(self, number)

    async def kill(self, number: int) -> None:
        """As by kill -9: nothing is revoked, and what was sent may still arrive."""
        node = self.nodes.pop(number)
        running = node.engine._running
        assert running is not None
        running.cancel()
        await asyncio.wait([running])

    async def close(self) -> None:
        for node in (*self.nodes.values(), *self.former):
            await node.engine.close()

    def check(self, node: SimulatedNode, applied: AppliedOperation) -> None:
        seen = self._order.get(applied.position)
        if seen is None:
            incarnation, number = self._last.get(applied.id.node, (0, 0))
            next_one = applied.id.incarnation == incarnation and applied.id.number == number + 1
            first_one = applied.id.incarnation > incarnation and applied.id.number == 1
            if not (next_one or first_one) or applied.position != len(self._order) + 1:
                raise Violation(f"{applied.id} at {applied.position} follows upon {number} of {incarnation}")
            self._order[applied.position] = applied.id
            self._last[applied.id.node] = applied.id.incarnation, applied.id.number
        elif seen != applied.id:
            raise Violation(f"position {applied.position} is {seen}, and {applied.id} at node {node.number}")

    async def until(self, condition: Callable[[], object], within: float = LONGEST_S) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + within
        while not condition():
            if loop.time() > deadline:
                raise Violation(f"not within {within:g} s: {condition}")
            await asyncio.sleep(0.01)
            self._none_failed()

    def _none_failed(self) -> None:
        failed = [node.failed for node in self.nodes.values() if node.failed is not None]
        if failed:
            raise Violation(f"a node has failed: {failed[0]}")

    async def settled(self) -> None:
        """All have applied everything, and show the same; nothing that was acknowledged is missing."""
        nodes = list(self.nodes.values())
        for former in self.former:
            await former.engine.close()
        self.former.clear()
        await self.until(lambda: not any(node.tickets for node in nodes))
        reads = [node.engine.read() for node in nodes]
        await self.until(lambda: all(reading.done() for reading in reads))
        await self.until(lambda: len({node.engine.status().applied for node in nodes}) == 1)
        if len({node.engine.store.digest() for node in nodes}) > 1:
            raise Violation("the nodes have different conversations")
        missing = [name for name in self.acknowledged if name not in nodes[0].engine.store.conversations]
        if missing:
            raise Violation(f"acknowledged and lost: {missing}")
        created = [each.created for each in nodes[0].engine.store.conversations.values()]
        if len(set(created)) < len(created):
            raise Violation("two operations have one position")
