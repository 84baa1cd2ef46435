"""Whose messages count: each comes with the id of its sender's cluster, and one of another cluster changes nothing.

A node without an id (0) is not founded yet, or has lost its disk. It may ask and follow, and gets the id from the log,
or from a snapshot. Until then it takes what is decided from whom it asked only, and from one cluster only, and keeps on
disk from which, together with the first of it: with an empty log, from that which most of those it hears belong to;
else from disks that it met before they had an id, or from others as long as all that it met are said to be in the same
cluster. A snapshot is taken when its last piece comes: until then its source can be lost, or turn out to be one of few.
While a node holds pieces of one and does not vote, it takes nothing from a leader without an id.
A voter among them is needed until the founding is decided where all know it, so it goes on deciding with others who
have no id, whatever cluster it takes the rest from: each quorum of theirs has one who holds the founding.
Messages that tell what was accepted it takes only from a cluster whose founding it holds itself: an equal leadership in
another cluster would otherwise vouch for what was never decided here.
"""

from __future__ import annotations

from collections import Counter

from paxos.catchup import CatchUp
from paxos.configuration import read_stop_sign
from paxos.connectivity import Connectivity
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
    ReadRequest,
    Routed,
    SnapshotPiece,
)
from paxos.output import Durable
from paxos.voter_registry import VoterRegistry

FROM_UNFOUNDED = Heartbeat | Fetch | Forward | ReadRequest
"""What a founded node takes from one without an id, and passes on."""
TO_UNFOUNDED = Heartbeat | Outranked | Behind
"""What a node without an id takes from any founded one. (Up to where to read, it takes from its own cluster only.)"""

TELL_EVERY_S = 600.0
"""After a sender's first message with the id of another cluster, what further ids it names is told so rarely."""


class Admission:
    def __init__(
        self, registry: VoterRegistry, net: Connectivity, log: Log, catch_up: CatchUp, durable: Durable,
        effects: Effects,
    ) -> None:
        self._registry = registry
        self._net = net
        self._log = log
        self._catch_up = catch_up
        self._effects = effects
        self._joins = durable.joins
        """The cluster from which this node, without an id, takes what is decided; 0 if it does from none yet."""
        self._disks: dict[int, int] = {}
        """Of peers, as they said last themselves, while this node has no id."""
        self._strangers: dict[int, tuple[float, int]] = {}
        """Of which cluster each sender was told to be last, and when."""

    def admits(self, sender: int, message: AnyMessage, cluster: int, now: float) -> bool:
        """`cluster` is the id that came with the message."""
        founded = self._registry.cluster
        own = founded or self._joins
        if not founded and isinstance(message, Heartbeat):
            self._disks.update((state.pid, state.identity) for state in message.states if state.pid == sender)
            return True
        inner = message.message if isinstance(message, Routed) else message
        loses_id = cluster != founded and isinstance(message, Routed) and message.target != self._net.pid
        if cluster == own and (own or not self._catch_up.snapshot_of):
            return not loses_id or isinstance(inner, FROM_UNFOUNDED)
        if not cluster:
            return isinstance(inner, FROM_UNFOUNDED) or (not founded and self._registry.votes)
        if own:
            self._tell(sender, cluster, now)
            return False
        if loses_id:
            return False
        if isinstance(message, Routed):
            sender = message.origin
        if isinstance(inner, Learn | SnapshotPiece):
            return self._may_join(sender, cluster)
        return isinstance(inner, TO_UNFOUNDED) or cluster == self._founding()

    def _may_join(self, teacher: int, cluster: int) -> bool:
        """Whether to take what is decided from this cluster. (See `taken` for what follows.)"""
        states, roster = self._net.states, self._registry.roster
        if teacher not in states or states[teacher].cluster != cluster:
            return False
        if self._log.blank:
            claims = Counter(states[node].cluster for node in self._net.fresh | {teacher} if node in states)
            return all(claims[cluster] > claims[other] for other in claims if other not in (0, cluster))
        met = roster.get(teacher)
        return (
            (met is not None and met == self._disks.get(teacher)) or cluster == self._founding()
            or {states[node].cluster for node in roster if node != self._net.pid and node in states
                and states[node].identity == roster[node]} == {cluster}
        )

    def taken(self, cluster: int) -> None:
        """Something decided was taken from this cluster: from now on it is from no other."""
        if cluster not in (self._registry.cluster, self._joins):
            self._joins = self._effects.to_persist().joins = cluster

    def _founding(self) -> int:
        """The cluster in whose founding this node takes part: the id in the founding that it accepted, perhaps behind
        operations of release 0.1.0. Of two foundings only the one under the higher leadership can be decided."""
        accepted = [
            (entry.leadership, named.cluster) for entry in self._log.entries_from(self._log.decided_upto + 1)
            if (named := read_stop_sign(entry.operation)) is not None
        ]
        return max(accepted)[1] if accepted else 0

    def _tell(self, sender: int, cluster: int, now: float) -> None:
        told = self._strangers.get(sender)
        if told is None or (told[1] != cluster and now - told[0] >= TELL_EVERY_S):
            self._strangers[sender] = now, cluster
            self._effects.stranger(sender, cluster)
