"""Tells who belongs to the cluster, when that changes, or differs from the configuration file of this node."""

from __future__ import annotations

from collections.abc import Collection

from api.node_events import MembersEvent
from engine.interface import Membership


class MembersNotice:
    """For node `number` of the `configured` ones, if the file lists it."""

    def __init__(self, number: int, configured: Collection[int]) -> None:
        self._number = number
        self._configured = sorted(configured)
        self._last: list[int] | None = None

    def look(self, membership: Membership | None) -> MembersEvent | None:
        """What there is to tell of the members as they are known now."""
        if membership is None:
            return None
        before, members = self._last, sorted(membership.members)
        self._last = members
        if members == before or (before is None and members == self._configured and self._number in members):
            return None
        text = self._first_words(membership.cluster, members) if before is None else f"members: {_listed(members)}"
        return MembersEvent(
            node=self._number, cluster=membership.cluster, number=membership.number, members=members,
            configured=self._configured, text=text,
        )

    def _first_words(self, cluster: str, members: list[int]) -> str:
        node = self._number
        decided = f"the members of cluster {cluster} are {_listed(members)}, as they have decided"
        if node not in members:
            listed = "listed in config.json, but " if node in self._configured else ""
            how = f"addNode {node} at the network makes it one, or members add {node} here"
            return f"node {node} is {listed}no member: {decided}; {how}"
        own = "" if node in self._configured else f"; node {node} has the common settings"
        file = f"config.json lists {_listed(self._configured)}: that founds a cluster, and is not obeyed later"
        return f"{decided}; {file}{own}"


def _listed(numbers: Collection[int]) -> str:
    return ", ".join(map(str, numbers))
