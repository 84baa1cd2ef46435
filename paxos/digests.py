"""Do the nodes have the same state? What the state is, is not known here: the driver hands in its digest at certain
positions, each node tells its latest one in what it says of itself, and equal positions must have equal digests.

A node whose digest differs from that of a *quorum of members* is wrong, and must stop. No other verdict is possible:
quorums intersect, so no two nodes can both be told to stop by disjoint sides, none that agrees with a majority ever is,
and whoever stops is not needed to decide anything. Where no quorum agrees (one against one of three, with the third
one down) it cannot be known who is wrong; to stop either might stop the right one, and the cluster with it. Both say so
then, until more nodes can be compared.

Of a node that is not heard directly, what others say of it counts: so a wrong one at the end of a chain stops, too. A
member that lies about another's digest could stop one that does not hear that other; a lie about its own stops nobody.

Digests of nodes that understand other operations are not compared: the state may look different to another release.
"""

from __future__ import annotations

from paxos.connectivity import Connectivity
from paxos.effects import Effects
from paxos.messages import Heartbeat, NodeState
from paxos.output import Divergence
from paxos.voter_registry import VoterRegistry

KEPT = 256
"""Digests remembered of each node: so many is one node ahead of another, at most, that is compared with it."""

Told = dict[int, int]
"""Digest by position, in the order in which they came."""


class Digests:
    def __init__(
        self, net: Connectivity, registry: VoterRegistry, operations_version: int, effects: Effects
    ) -> None:
        self._net = net
        self._registry = registry
        self._operations_version = operations_version
        self._effects = effects
        self._told: dict[int, Told] = {net.pid: {}}
        self._identities: dict[int, int] = {}
        """Of the disks whose digests these are."""
        self.latest = (0, 0)
        """For the next heartbeat: position, and this node's digest there."""
        self.differing: frozenset[int] = frozenset()
        """Nodes that were last seen to have another state than this one."""

    def taken(self, position: int, digest: int) -> bool:
        """This node's state has this digest when everything up to `position` is applied, and nothing else. True if it
        is wrong: the others must hear of it before it stops."""
        self.latest = position, digest
        self._remember(self._net.pid, position, digest)
        return self._is_wrong(position)

    def heard(self, sender: int, message: Heartbeat) -> bool:
        """True if this node's state is wrong. Whoever is heard directly speaks for itself."""
        wrong = False
        for state in message.states:
            if state.pid != sender and state.pid in self._net.hears:
                continue
            if state.digest[0] > 0 and state.pid != self._net.pid and self._comparable(state):
                position, digest = state.digest
                if self._identities.get(state.pid) != state.identity:
                    self._identities[state.pid] = state.identity
                    self._told[state.pid] = {}
                if self._told[state.pid].get(position) != digest:
                    self._remember(state.pid, position, digest)
                    wrong = self._is_wrong(position) or wrong
        return wrong

    def _comparable(self, state: NodeState) -> bool:
        return (
            state.pid in self._net.peers and state.operations_version == self._operations_version
            and state.cluster == self._registry.cluster
        )

    def _remember(self, node: int, position: int, digest: int) -> None:
        told = self._told[node]
        told.pop(position, None)
        told[position] = digest
        if len(told) > KEPT:
            del told[next(iter(told))]

    def _is_wrong(self, position: int) -> bool:
        """Looks at all digests at this position, one of which is new."""
        own = self._told[self._net.pid].get(position)
        if own is None:
            return False
        nodes: dict[int, set[int]] = {}
        for node, told in self._told.items():
            if position in told:
                nodes.setdefault(told[position], set()).add(node)
        agreeing = nodes.pop(own)
        others = frozenset().union(*nodes.values())
        news = others - self.differing
        self.differing = (self.differing - agreeing) | others
        quorum = next((there for there in nodes.values() if self._is_quorum(there)), None)
        if quorum is not None:
            self._effects.diverged(Divergence(position, tuple(sorted(quorum)), minority=True))
        elif news:
            self._effects.diverged(Divergence(
                position, tuple(sorted(others)), minority=False, majority=self._is_quorum(agreeing)))
        return quorum is not None

    def _is_quorum(self, nodes: set[int]) -> bool:
        return sum(self._counts(node) for node in nodes) >= self._net.quorum

    def _counts(self, node: int) -> bool:
        """True for a member whose disk is the one that the configuration names, or that names none for it."""
        identity = self._registry.identity if node == self._net.pid else self._identities.get(node)
        return node in self._net.members and self._registry.decided.get(node, identity) == identity
