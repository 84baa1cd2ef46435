"""What a node remembers of its situation is what it is: the driver asks for it at every turn, and it is computed anew
only after a refresh. So is what it remembers of its own standing as a voter, which is judged when something changes."""

from __future__ import annotations

from tests.simulation.world import Node, Observer, Violation, World

LOOK_EVERY = 8
"""Steps: what is out of date stays so until the next refresh."""


class OutOfDate(Violation):
    pass


class Situations(Observer):
    def __init__(self) -> None:
        self._steps = 0

    def stepped(self, world: World, node: Node) -> None:
        self._steps += 1
        if self._steps % LOOK_EVERY:
            return
        replica = node.replica
        told, present = replica.situation(), replica.present_situation()
        if told != present:
            raise OutOfDate(f"node {node.pid} takes its situation for {told}; it is {present}")
        status, judged = replica.registry.voter_status, replica.registry._judge()
        if status is not judged:
            raise OutOfDate(f"node {node.pid} takes itself for a {status}; it is a {judged}")
