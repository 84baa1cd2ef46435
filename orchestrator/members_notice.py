"""Tells the operator who belongs to the cluster, when that changes, or differs from the configuration file."""

from __future__ import annotations

from collections.abc import Callable, Collection

from api.operator_events import ClusterMembersEvent
from net.relay.served_cluster import KnownCluster


class MembersNotice:
    def __init__(self, cluster: str, configured: Collection[int], emit: Callable[[ClusterMembersEvent], None]) -> None:
        self._cluster = cluster
        self._configured = sorted(configured)
        self._emit = emit
        self._last = KnownCluster()

    def known(self, known: KnownCluster) -> None:
        """From now on, this is known."""
        before, self._last = self._last, known
        members = list(known.members)
        if not members or members == list(before.members):
            return
        name = f"cluster {self._cluster} {known.cluster_id:016x}"
        if before.members:
            text = f"members of {name}: {_listed(members)}"
        elif members == self._configured:
            return
        else:
            text = (
                f"the members of {name} are {_listed(members)}, as they have decided; config.json lists "
                f"{_listed(self._configured)}: that founds a cluster, and is not obeyed later (addNode, removeNode)"
            )
        cluster = f"{known.cluster_id:016x}"
        self._emit(ClusterMembersEvent(cluster, known.configuration, members, self._configured, text))


def _listed(numbers: Collection[int]) -> str:
    return ", ".join(map(str, numbers))
