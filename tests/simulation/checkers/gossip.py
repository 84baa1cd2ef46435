"""The rows of others that a node gossips are never older than those it gossiped before, unless these have not changed
for so long that they may have been made up."""

from __future__ import annotations

from paxos.detector import MOST_PATIENT
from paxos.messages import AnyMessage, Heartbeat
from paxos.output import Durable
from tests.simulation.world import Node, Observer, Violation, World

PART = 0.7
"""Of a time by the world's clock is less than that time by any node's."""


class StaleGossip(Violation):
    pass


class Gossip(Observer):
    def __init__(self) -> None:
        self._told: dict[int, dict[int, tuple[tuple[int, int], float]]] = {}
        """By node and subject: the version of the state that it sent last since it started, and since when."""
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
            version, since = told.get(state.pid, ((0, 0), 0.0))
            if state.version < version and world.now - since < PART * MOST_PATIENT * world.timing.election_s:
                raise StaleGossip(f"{node.pid} tells {state}, having told version {version} before")
            if state.version != version:
                told[state.pid] = state.version, world.now
