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
        leader = node.replica.leader  # which may know more than its own acceptor, whose disk may be slow
        known = max(node.replica.log.decided_upto, 0 if leader is None else leader.decided_upto)
        if isinstance(own, ReadReply) and own.position > known:
            raise PlacedAhead(f"{node.pid} lets a read wait for {own.position}; {node.replica.status()}")
