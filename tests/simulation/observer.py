"""Observers of a simulated cluster: checkers, traces, users' histories."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvstore.store import Outcome
from paxos.messages import AnyMessage, Snapshot
from paxos.output import Applied, Durable, Persist
from storage.records import Compaction

if TYPE_CHECKING:
    from tests.simulation.node import Node
    from tests.simulation.world import World


class Violation(AssertionError):
    """Something happened that must never happen."""


class Observer:
    """Notified of every step of every node. Implementations override what they need; the rest costs nothing."""

    def started(self, world: World, node: Node, durable: Durable) -> None:
        """A new incarnation starts with this state on disk; the previous replica is gone."""

    def sent(self, world: World, node: Node, to: int, message: AnyMessage) -> None:
        """`node` sends a message, maybe to itself (its own vote that has become durable)."""

    def stored(self, world: World, node: Node, item: Persist | Compaction) -> None:
        """This has just become durable; messages that depend on it have not been sent yet."""

    def applied(self, world: World, node: Node, applied: Applied, outcome: Outcome) -> None:
        """The store of `node` applied an operation."""

    def installed(self, world: World, node: Node, snapshot: Snapshot) -> None:
        """The store of `node` was replaced by a snapshot's content."""

    def loaded(self, world: World, node: Node, snapshot: Snapshot, compacted: int) -> None:
        """The disk has read its snapshot for a peer of `node`, whose log began behind `compacted` when that was asked
        for."""

    def acknowledged(self, world: World, node: Node, applied: Applied, outcome: Outcome) -> None:
        """A user of `node` is about to get a result."""

    def stepped(self, world: World, node: Node) -> None:
        """The node has processed all Outputs of its replica."""

    def settled(self, world: World, nodes: list[Node]) -> None:
        """Faults have ended, and these nodes, which are all connected, have nothing left to do."""


HOOKS = ("started", "sent", "stored", "applied", "installed", "loaded", "acknowledged", "stepped", "settled")
