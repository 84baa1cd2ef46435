"""Agreement: at each position, all nodes that know a decision know the same one."""

from __future__ import annotations

from paxos.messages import Operation
from paxos.output import Durable
from tests.simulation.world import Node, Observer, Violation, World


class Disagreement(Violation):
    pass


class Agreement(Observer):
    def __init__(self) -> None:
        self.decided: dict[int, Operation] = {}
        self._looked: dict[int, int] = {}

    def started(self, world: World, node: Node, durable: Durable) -> None:
        self._looked[node.pid] = 0

    def stepped(self, world: World, node: Node) -> None:
        log = node.replica.log
        looked = self._looked[node.pid]
        if log.decided_upto == looked:
            return
        if log.decided_upto < looked:
            raise Disagreement(f"{node.pid} knew decisions up to {looked} and now up to {log.decided_upto}")
        self._looked[node.pid] = log.decided_upto
        for position in range(max(looked, log.compacted) + 1, log.decided_upto + 1):
            entry = log.get(position)
            if entry is None:
                raise Disagreement(f"{node.pid} knows {position} as decided, but not what")
            agreed = self.decided.setdefault(position, entry.operation)
            if agreed != entry.operation:
                raise Disagreement(f"{node.pid} knows {entry} as decided; elsewhere it is {agreed}")
