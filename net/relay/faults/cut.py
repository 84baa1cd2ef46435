"""Links that carry nothing: `failLink`, `partition`, `isolate`."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random
from typing import ClassVar

from net.relay.faults.fault import DROP, Decider, Fault, register
from net.relay.faults.layers import ALL, Link


@register
class Cut(Fault, frozen=True):
    """The relay asks for it by name, too: a cut link does not even carry what is under way on it already."""

    cut: bool = False
    stage: ClassVar[int] = 0

    def decider(self, random: Random) -> Decider:
        return lambda late, size, now, urgent: DROP

    def words(self) -> str:
        return "cut"


def partition(groups: Iterable[Iterable[int]]) -> dict[Link, Cut]:
    """Cuts exactly the links between different groups."""
    group_of = {node: number for number, group in enumerate(groups) for node in group}
    between = {(a, b): Cut(True) for a in group_of for b in group_of if group_of[a] != group_of[b]}
    return {ALL: Cut(False), **between}
