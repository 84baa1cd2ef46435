"""A node that has stopped, because its disk failed or its user wants it to, says and does nothing any more."""

from __future__ import annotations

from kvstore.store import Outcome
from paxos.messages import AnyMessage, Snapshot
from paxos.output import Applied, Durable, Persist
from storage.records import Compaction
from tests.simulation.world import Node, Observer, Violation, World


class Restless(Violation):
    pass


class Stopped(Observer):
    def __init__(self) -> None:
        self._memory: dict[int, tuple[object, ...]] = {}
        """By node, what a stopped one had in memory."""

    def started(self, world: World, node: Node, durable: Durable) -> None:
        self._memory.pop(node.pid, None)

    def sent(self, world: World, node: Node, to: int, message: AnyMessage) -> None:
        if node.leaving:
            raise Restless(f"{node.pid} has stopped, and sends {message}")

    def applied(self, world: World, node: Node, applied: Applied, outcome: Outcome) -> None:
        if node.leaving:
            raise Restless(f"{node.pid} has stopped, and applies {applied}")

    def acknowledged(self, world: World, node: Node, applied: Applied, outcome: Outcome) -> None:
        if node.leaving:
            raise Restless(f"{node.pid} has stopped, and tells its user of {applied}")

    def installed(self, world: World, node: Node, snapshot: Snapshot) -> None:
        if node.leaving:
            raise Restless(f"{node.pid} has stopped, and installs a snapshot at {snapshot.position}")

    def stored(self, world: World, node: Node, item: Persist | Compaction) -> None:
        if node.disk_failed:
            raise Restless(f"{node.pid} stores {item} behind what its disk did not take")

    def stepped(self, world: World, node: Node) -> None:
        if node.leaving:
            replica = node.replica
            memory = (replica.acceptor.promised, replica.log.decided_upto, replica.log.last, replica.applied)
            if self._memory.setdefault(node.pid, memory) != memory:
                raise Restless(f"{node.pid} has stopped, and goes from {self._memory[node.pid]} on to {memory}")
