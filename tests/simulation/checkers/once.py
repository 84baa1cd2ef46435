"""Every operation is applied once, at one position; those of one node in the order in which it issued them."""

from __future__ import annotations

from kvstore.operations import Ask, Query
from kvstore.store import Outcome
from paxos.messages import Snapshot
from paxos.output import Applied, Durable
from tests.simulation.world import Node, Observer, Violation, World


class NotOnce(Violation):
    pass


class ExactlyOnce(Observer):
    def __init__(self) -> None:
        self._places: dict[tuple[int, int, int], int] = {}
        """Where each operation was applied."""
        self._texts: dict[str, int] = {}
        """Where each question was; users never ask the same twice."""
        self._last: dict[int, dict[int, tuple[int, int]]] = {}
        """By node: the last operation of each node that it applied."""
        self._position: dict[int, int] = {}

    def started(self, world: World, node: Node, durable: Durable) -> None:
        self._last[node.pid] = dict(durable.sessions)
        self._position[node.pid] = durable.snapshot_position

    def installed(self, world: World, node: Node, snapshot: Snapshot) -> None:
        self._last[node.pid] = dict(snapshot.sessions)
        self._position[node.pid] = snapshot.position

    def applied(self, world: World, node: Node, applied: Applied, outcome: Outcome) -> None:
        operation, position = applied.operation, applied.position
        if position <= self._position[node.pid]:
            raise NotOnce(f"{node.pid} applies {position} after {self._position[node.pid]}")
        self._position[node.pid] = position
        key = (operation.pid, operation.incarnation, operation.number)
        place = self._places.setdefault(key, position)
        if isinstance(outcome.operation, Query | Ask):
            place = min(place, self._texts.setdefault(outcome.operation.text, position))
        if place != position:
            raise NotOnce(f"{node.pid} applies {operation} at {position}; it was applied at {place} already")
        last, number = self._last[node.pid].get(operation.pid, (0, 0))
        if operation.incarnation < last or operation.number != (number + 1 if operation.incarnation == last else 1):
            raise NotOnce(f"{node.pid} applies {operation} right after number {number} of incarnation {last}")
        self._last[node.pid][operation.pid] = (operation.incarnation, operation.number)
