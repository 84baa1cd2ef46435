"""The position at which a leader says that a read is linearizable is one that it knows to be decided."""

from __future__ import annotations

from paxos.messages import AnyMessage, ReadReply, Routed
from tests.simulation.world import Node, Observer, Violation, World


class PlacedAhead(Violation):
    pass


class Placed(Observer):
    def sent(self, world: World, node: Node, to: int, message: AnyMessage) -> None:
        own = message
        if isinstance(message, Routed) and message.origin == node.pid and not world.hostile:  # who may have named it
            own = message.message
        if isinstance(own, ReadReply) and own.position > node.replica.log.decided_upto:
            raise PlacedAhead(f"{node.pid} lets a read wait for {own.position}; {node.replica.status()}")
