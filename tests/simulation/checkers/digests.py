"""Who stops because the others have another state is wrong, and who is wrong stops when a majority can be compared."""

from __future__ import annotations

from paxos.output import Divergence
from tests.simulation.world import Node, Observer, Violation, World


class Slandered(Violation):
    pass


class Undetected(Violation):
    pass


class Digests(Observer):
    def diverged(self, world: World, node: Node, divergence: Divergence) -> None:
        if divergence.minority and not node.disk.tampered:
            raise Slandered(f"{node.pid} stops, although its state is what it has to be: {divergence}")
        lied = world.hostile.issuperset(divergence.nodes)  # each about itself
        if not lied and not any(each.disk.tampered for each in world.nodes.values()):
            raise Slandered(f"{node.pid} sees a difference where there is none: {divergence}")

    def settled(self, world: World, nodes: list[Node]) -> None:
        for node in nodes:
            if node.disk.tampered and not node.leaving:
                raise Undetected(f"{node.pid} has another state than the others, and goes on")
