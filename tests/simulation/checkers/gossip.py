"""The rows of others that a node gossips are never older than those it gossiped before."""

from __future__ import annotations

from paxos.messages import AnyMessage, Heartbeat
from paxos.output import Durable
from tests.simulation.world import Node, Observer, Violation, World


class StaleGossip(Violation):
    pass


class Gossip(Observer):
    def __init__(self) -> None:
        self._told: dict[int, dict[int, tuple[int, int]]] = {}
        """By node and subject: the version of the state that it sent last since it started."""
        self._last: Heartbeat | None = None
        """The same one goes to every peer."""

    def started(self, world: World, node: Node, durable: Durable) -> None:
        self._told[node.pid] = {}

    def sent(self, world: World, node: Node, to: int, message: AnyMessage) -> None:
        if not isinstance(message, Heartbeat) or message is self._last:
            return
        self._last = message
        told = self._told[node.pid]
        for state in message.states:
            if state.version < told.get(state.pid, state.version):
                raise StaleGossip(f"{node.pid} tells {state}, having told version {told[state.pid]} before")
            told[state.pid] = state.version
