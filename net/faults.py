"""What happens to a message on purpose: the operator's faults as a pure decision. No clock, no socket."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

Link = tuple[int, int]
"""(from, to): one direction."""

NOW = (0.0,)
"""One copy, at once."""
DROP: tuple[float, ...] = ()

REORDER_S = 0.02
"""A message picked for reordering is held back by up to this much, so that later ones overtake it."""


class Faults:
    """Which messages are lost, late, doubled or out of order. Percentages are 0..100, times are seconds."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._cut: set[Link] = set()
        self.delay_s = 0.0
        self.jitter_s = 0.0
        self.loss_percent = 0.0
        self.duplicate_percent = 0.0
        self.reorder_percent = 0.0
        self.quiet = True
        """Nothing is done to any message; lets the relay skip `decide`."""

    @property
    def cut(self) -> list[Link]:
        return sorted(self._cut)

    def is_cut(self, src: int, dst: int) -> bool:
        return (src, dst) in self._cut

    def fail(self, *links: Link) -> None:
        self._cut.update(links)
        self._changed()

    def fix(self, *links: Link) -> None:
        self._cut.difference_update(links)
        self._changed()

    def heal(self) -> None:
        """Every link carries messages again; delay, loss and the rest stay as they are."""
        self._cut.clear()
        self._changed()

    def partition(self, groups: Iterable[Iterable[int]]) -> None:
        """Exactly the links between different groups are cut, whatever was cut before."""
        group_of = {node: number for number, group in enumerate(groups) for node in group}
        self._cut = {(a, b) for a in group_of for b in group_of if group_of[a] != group_of[b]}
        self._changed()

    def set_delay(self, delay_s: float, jitter_s: float) -> None:
        """Each message is late by `delay_s` plus a random part of `jitter_s`."""
        self.delay_s, self.jitter_s = delay_s, jitter_s
        self._changed()

    def set_loss(self, percent: float) -> None:
        self.loss_percent = percent
        self._changed()

    def set_duplicates(self, percent: float) -> None:
        self.duplicate_percent = percent
        self._changed()

    def set_reordering(self, percent: float) -> None:
        self.reorder_percent = percent
        self._changed()

    def decide(self, src: int, dst: int) -> tuple[float, ...]:
        """For each copy that arrives, by how many seconds it is late; empty if none does."""
        if self.quiet:
            return NOW
        if (src, dst) in self._cut or self._happens(self.loss_percent):
            return DROP
        if self._happens(self.duplicate_percent):
            return (self._lateness(), self._lateness())
        return (self._lateness(),)

    def _lateness(self) -> float:
        late = self.delay_s
        if self.jitter_s:
            late += self._random.uniform(0, self.jitter_s)
        if self._happens(self.reorder_percent):
            late += self._random.uniform(0, REORDER_S)
        return late

    def _happens(self, percent: float) -> bool:
        return percent > 0 and self._random.random() * 100 < percent

    def _changed(self) -> None:
        self.quiet = not (
            self._cut or self.delay_s or self.jitter_s or self.loss_percent or self.duplicate_percent
            or self.reorder_percent
        )
