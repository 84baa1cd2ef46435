"""Which cluster a relay serves, and which numbers of nodes there are in it. Nodes of another cluster are refused.

The id is what the orchestrator remembers from earlier runs, or else what more than half of the nodes that may connect
say at the same time: whoever comes first decides nothing. While it is open, nodes of all clusters are let in; they drop
each other's messages themselves (see paxos/admission.py).

A node that came without an id got it through this relay. So when more than half of the configured nodes came with new
disks and have founded another cluster, that is the one that is served.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import msgspec

from net.control_messages import Hello, Report


class KnownCluster(msgspec.Struct, frozen=True):
    """What is known of the cluster that is served; all zero if nothing is."""

    cluster_id: int = 0
    configuration: int = 0
    """The number of the newest one that a node has told of."""
    members: tuple[int, ...] = ()
    """As decided by it."""


class ServedCluster:
    def __init__(self, name: str, configured: Iterable[int], known: KnownCluster) -> None:
        """`name` and `configured`, the nodes, are those of the configuration file."""
        self.known = known
        self._name = name
        self._configured = frozenset(configured)
        self._wanted: set[int] = set()
        """Let in to become members."""
        self._named: frozenset[int] = frozenset()
        """Whom connected nodes call members, while it is open which cluster is served."""

    @property
    def members(self) -> list[int]:
        """As they were decided, or configured if that is not known."""
        return sorted(self.known.members or self._configured)

    @property
    def nodes(self) -> set[int]:
        """The members and those that are to become members."""
        return {*self.members, *self._wanted}

    @property
    def admitted(self) -> set[int]:
        """The numbers that may connect. A configured node that is no member may, too: it learns so from the others."""
        return {*self._configured, *self._wanted, *self.known.members, *self._named}

    def reopen(self) -> None:
        """It is open again which cluster is served."""
        self.known = KnownCluster()

    def want(self, node: int) -> None:
        self._wanted.add(node)

    def forget(self, node: int) -> None:
        """It is not wanted any more."""
        self._wanted.discard(node)

    def objection(self, node: int, cluster_id: int) -> str | None:
        """Why a node that belongs to this cluster (0: to none yet) is refused; None if it is not."""
        own = self.known.cluster_id
        if not own or cluster_id in (0, own):
            return None
        name = self._name
        return f"this is cluster {name} {own:016x}, node {node} belongs to cluster {name} {cluster_id:016x}"

    def review(self, hellos: Mapping[int, Hello], reports: Mapping[int, Report]) -> bool:
        """Takes in what the connected nodes say now; true if that has changed what is known."""
        before = self.known
        ids = {node: _said(hello, reports.get(node)) for node, hello in hellos.items()}
        if not before.cluster_id:
            self._named = frozenset(member for report in reports.values() for member in report.members)
        voters = self._configured if before.cluster_id else self.admitted
        said = Counter(cluster_id for cluster_id in ids.values() if cluster_id)
        for cluster_id, count in said.items():
            if cluster_id != before.cluster_id and count > len(voters) // 2:
                self.known = KnownCluster(cluster_id)
                self._named = frozenset()
        self._learn_members(reports)
        return self.known != before

    def strangers(self, hellos: Mapping[int, Hello]) -> dict[int, str]:
        """The connected nodes that are to be refused, and why: they came from another cluster. (One that came without
        an id and has founded another one here may not be alone with that.)"""
        found = {node: self.objection(node, hello.cluster_id) for node, hello in hellos.items()}
        return {node: reason for node, reason in found.items() if reason is not None}

    def _learn_members(self, reports: Mapping[int, Report]) -> None:
        """What more than half of the connected nodes say, one of which may be wrong, or the first to be connected. They
        are a majority of the members that it names, or, if it is newer than what is known, of those that are known."""
        known = self.known
        said = Counter(
            KnownCluster(report.cluster_id, report.configuration, tuple(sorted(report.members)))
            for report in reports.values() if known.cluster_id and report.cluster_id == known.cluster_id
        )
        for told, count in said.items():
            is_newer = told.configuration > known.configuration
            enough = min(len(told.members), len(known.members)) if is_newer else len(told.members)
            if 2 * count > said.total() and count > enough // 2 and told.configuration:
                self.known = told


def _said(hello: Hello, report: Report | None) -> int:
    """The id of the node's cluster, as far as it has told."""
    return report.cluster_id if report is not None and report.cluster_id else hello.cluster_id
