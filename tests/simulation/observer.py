"""Those who look at a simulated cluster from outside: checkers, traces, users' histories."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvstore.store import Outcome
from paxos.messages import AnyMessage, Snapshot
from paxos.output import Applied, Divergence, Durable, Persist
from storage.records import Compaction

if TYPE_CHECKING:
    from tests.simulation.node import Node
    from tests.simulation.world import World


class Violation(AssertionError):
    """Something happened that must never happen."""


class Observer:
    """Told of every step of every node. Implementations override what they need; the rest costs nothing."""

    def started(self, world: World, node: Node, durable: Durable) -> None:
        """A process starts and has found this on the disk; the replica of the last one is gone."""

    def sent(self, world: World, node: Node, to: int, message: AnyMessage) -> None:
        """A message leaves `node`, maybe to itself (a vote of its own that has become durable)."""

    def stored(self, world: World, node: Node, item: Persist | Compaction) -> None:
        """This has just become durable; what it vouches for has not left yet."""

    def applied(self, world: World, node: Node, applied: Applied, outcome: Outcome) -> None:
        """The store of `node` carried out an operation."""

    def installed(self, world: World, node: Node, snapshot: Snapshot) -> None:
        """The store of `node` was replaced by a snapshot's content."""

    def loaded(self, world: World, node: Node, snapshot: Snapshot, compacted: int) -> None:
        """The disk has read its snapshot for a peer of `node`, whose log began behind `compacted` when that was asked
        for."""

    def acknowledged(self, world: World, node: Node, applied: Applied, outcome: Outcome) -> None:
        """A user of `node` is about to be told."""

    def diverged(self, world: World, node: Node, divergence: Divergence) -> None:
        """The node says that others have another state; if it is in the minority, it has stopped."""

    def odd(self, world: World, node: Node, sender: int, why: str) -> None:
        """`node` did not take in what `sender` said."""

    def stepped(self, world: World, node: Node) -> None:
        """The node has worked through everything that its replica put out, or has stopped."""

    def settled(self, world: World, nodes: list[Node]) -> None:
        """Faults are over, and these nodes, which all are connected, have nothing left to do."""


HOOKS = (
    "started", "sent", "stored", "applied", "installed", "loaded", "acknowledged", "diverged", "odd", "stepped",
    "settled",
)
