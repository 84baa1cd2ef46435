"""Whose messages count: each comes with the id of its sender's cluster, and one of another cluster changes nothing.

A node without an id (0) is not founded yet, or has lost its disk. It may ask and follow; it takes the id from the log,
or from a snapshot. Messages that tell what was accepted or decided it takes only from a cluster whose founding it holds
itself: an equal leadership in another cluster would otherwise vouch for what was never decided here.
"""

from __future__ import annotations

from paxos.configuration import read_stop_sign
from paxos.effects import Effects
from paxos.log import Log
from paxos.messages import (
    AnyMessage,
    Behind,
    Fetch,
    Forward,
    Heartbeat,
    Learn,
    Outranked,
    ReadReply,
    ReadRequest,
    Routed,
    SnapshotPiece,
)
from paxos.voter_registry import VoterRegistry

FROM_UNFOUNDED = Heartbeat | Fetch | Forward | ReadRequest | Routed
"""What a founded node takes from one without an id."""
TO_UNFOUNDED = Heartbeat | Learn | SnapshotPiece | Outranked | Behind | ReadReply | Routed
"""What a node without an id takes from a founded one."""


class Admission:
    def __init__(self, registry: VoterRegistry, log: Log, effects: Effects) -> None:
        self._registry = registry
        self._log = log
        self._effects = effects
        self._strangers: dict[int, int] = {}

    def admits(self, sender: int, message: AnyMessage, cluster: int) -> bool:
        """`cluster` is the id that came with the message."""
        own = self._registry.cluster
        if cluster == own:
            return True
        if own and cluster:
            self._tell(sender, cluster)
            return False
        if own:
            return isinstance(message, FROM_UNFOUNDED)
        return isinstance(message, TO_UNFOUNDED) or cluster == self._founding()

    def _founding(self) -> int:
        """The cluster in whose founding this node takes part: the id in what it accepted at its first open position."""
        entry = self._log.get(self._log.decided_upto + 1)
        named = read_stop_sign(entry.operation) if entry is not None else None
        return named.cluster if named is not None else 0

    def _tell(self, sender: int, cluster: int) -> None:
        """Once for each."""
        if self._strangers.get(sender) != cluster:
            self._strangers[sender] = cluster
            self._effects.stranger(sender, cluster)
