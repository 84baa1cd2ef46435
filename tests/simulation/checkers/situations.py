"""What a node remembers of its situation is what it is: the driver asks for it at every turn, and it is computed anew
only after a refresh."""

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
        told, present = node.replica.situation(), node.replica.present_situation()
        if told != present:
            raise OutOfDate(f"node {node.pid} takes its situation for {told}; it is {present}")
