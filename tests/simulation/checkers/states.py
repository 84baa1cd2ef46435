"""Nodes that have applied the log up to the same position are in the same state: conversations and sessions."""

from __future__ import annotations

from kvstore.store import Outcome
from paxos.output import Applied, Durable
from tests.simulation.world import Node, Observer, Violation, World


class DifferentStates(Violation):
    pass


class EqualStates(Observer):
    def __init__(self) -> None:
        self._digests: dict[int, str] = {}
        self._sessions: dict[int, dict[int, tuple[int, int]]] = {}
        self._looked: dict[int, int] = {}

    def started(self, world: World, node: Node, durable: Durable) -> None:
        if node.disk.tampered:
            return
        self._looked[node.pid] = -1
        self._compare(node, durable.snapshot_position)

    def applied(self, world: World, node: Node, applied: Applied, outcome: Outcome) -> None:
        if not node.disk.tampered:
            self._compare(node, applied.position)

    def stepped(self, world: World, node: Node) -> None:
        position = node.replica.applied
        if node.disk.tampered or position == self._looked[node.pid] or node.leaving:
            return  # a node may have stopped with output in its replica that its store will never see
        self._looked[node.pid] = position
        self._compare(node, position)
        table = node.replica.sessions.table()
        if self._sessions.setdefault(position, table) != table:
            raise DifferentStates(f"{node.pid} at {position} remembers {table}, others {self._sessions[position]}")

    def _compare(self, node: Node, position: int) -> None:
        digest = node.store.digest()
        if self._digests.setdefault(position, digest) != digest:
            raise DifferentStates(f"{node.pid} at {position} has another state than others had there")
