"""An acknowledged operation stays applied at its position."""

from __future__ import annotations

from kvstore.store import Outcome
from paxos.messages import Operation
from paxos.output import Applied
from tests.simulation.world import Node, Observer, Violation, World


class Lost(Violation):
    pass


class Acknowledged(Observer):
    def __init__(self) -> None:
        self._told: dict[int, Operation] = {}
        self._applied: dict[int, Operation] = {}

    def acknowledged(self, world: World, node: Node, applied: Applied, outcome: Outcome) -> None:
        self._told[applied.position] = applied.operation

    def applied(self, world: World, node: Node, applied: Applied, outcome: Outcome) -> None:
        told = self._told.get(applied.position)
        if told is not None and told != applied.operation:
            raise Lost(f"{node.pid} applies {applied.operation} where a user was told that {told} was done")
        self._applied[applied.position] = applied.operation

    def settled(self, world: World, nodes: list[Node]) -> None:
        last = max(self._told, default=0)
        for node in nodes:
            if node.replica.applied < last:
                raise Lost(f"{node.pid} has settled at {node.replica.applied}, and {last} was acknowledged")
