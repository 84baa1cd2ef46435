"""What happens to a message on purpose: the operator's faults as a pure decision. No clock, no socket."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

import msgspec

from net.relay.layers import ALL, Layers, Link

__all__ = ["ALL", "DROP", "NOW", "REORDER_S", "Faults", "Link", "Quality"]

NOW = (0.0,)
"""One copy, at once."""
DROP: tuple[float, ...] = ()

REORDER_S = 0.02
"""A message picked for reordering is held back by up to this much, so that later ones overtake it."""


class Quality(msgspec.Struct, frozen=True):
    """How a link treats messages. Percentages are 0..100, times are seconds."""

    delay_s: float = 0.0
    jitter_s: float = 0.0
    """A random part of this comes on top of the delay."""
    loss_percent: float = 0.0
    duplicate_percent: float = 0.0
    reorder_percent: float = 0.0


PERFECT = Quality()


class Faults:
    """Which messages are lost, late, doubled or out of order.

    Of two commands about the same link the later one counts; one about all links covers those about single ones. What
    is set with a `token` is taken back by `lift`, and what was there before, or came after, counts again.
    """

    def __init__(self, random: Random) -> None:
        self._random = random
        self._cuts = Layers(False)
        self._delays = Layers((0.0, 0.0))
        self._losses, self._duplicates, self._reorderings = Layers(0.0), Layers(0.0), Layers(0.0)
        self._cut: set[Link] = set()
        self.general = PERFECT
        """Of every link that is not in `own`."""
        self.own: dict[Link, Quality] = {}
        """Of the links that differ from that."""
        self.quiet = True
        """Nothing is done to any message; lets the relay skip `decide`."""

    @property
    def cut(self) -> list[Link]:
        return sorted(self._cut)

    def is_cut(self, src: int, dst: int) -> bool:
        return (src, dst) in self._cut

    def seed(self, number: int) -> None:
        """From now on the same messages in the same order meet the same fate."""
        self._random.seed(number)

    def fail(self, *links: Link, token: int | None = None) -> None:
        self._cuts.set(dict.fromkeys(links, True), token)
        self._changed()

    def fix(self, *links: Link) -> None:
        self._cuts.set(dict.fromkeys(links, False))
        self._changed()

    def heal(self) -> None:
        """Every link carries messages again; delay, loss and the rest stay as they are."""
        self._cuts.set({ALL: False})
        self._changed()

    def partition(self, groups: Iterable[Iterable[int]], token: int | None = None) -> None:
        """Exactly the links between different groups are cut, whatever was cut before."""
        group_of = {node: number for number, group in enumerate(groups) for node in group}
        between = {(a, b): True for a in group_of for b in group_of if group_of[a] != group_of[b]}
        self._cuts.set({ALL: False, **between}, token)
        self._changed()

    def set_delay(
        self, delay_s: float, jitter_s: float, links: Iterable[Link] = (ALL,), token: int | None = None
    ) -> None:
        """Each message is late by `delay_s` plus a random part of `jitter_s`."""
        self._delays.set(dict.fromkeys(links, (delay_s, jitter_s)), token)
        self._changed()

    def set_loss(self, percent: float, links: Iterable[Link] = (ALL,), token: int | None = None) -> None:
        self._losses.set(dict.fromkeys(links, percent), token)
        self._changed()

    def set_duplicates(self, percent: float, links: Iterable[Link] = (ALL,), token: int | None = None) -> None:
        self._duplicates.set(dict.fromkeys(links, percent), token)
        self._changed()

    def set_reordering(self, percent: float, links: Iterable[Link] = (ALL,), token: int | None = None) -> None:
        self._reorderings.set(dict.fromkeys(links, percent), token)
        self._changed()

    def holds(self, token: int) -> bool:
        """Whether anything that was set with this token is left."""
        layers = (self._cuts, self._delays, self._losses, self._duplicates, self._reorderings)
        return any(each.holds(token) for each in layers)

    def lift(self, token: int) -> bool:
        """Takes back what was set with this token. False if nothing of it was left."""
        found = self.holds(token)
        for each in (self._cuts, self._delays, self._losses, self._duplicates, self._reorderings):
            each.lift(token)
        self._changed()
        return found

    def reset(self) -> None:
        """A network without faults."""
        self.heal()
        self.set_delay(0.0, 0.0)
        self.set_loss(0.0)
        self.set_duplicates(0.0)
        self.set_reordering(0.0)

    def quality(self, src: int, dst: int) -> Quality:
        return self.own.get((src, dst), self.general)

    def decide(self, src: int, dst: int) -> tuple[float, ...]:
        """For each copy that arrives, by how many seconds it is late; empty if none does."""
        if self.quiet:
            return NOW
        link = self.own.get((src, dst), self.general)
        if (src, dst) in self._cut or self._happens(link.loss_percent):
            return DROP
        if self._happens(link.duplicate_percent):
            return (self._lateness(link), self._lateness(link))
        return (self._lateness(link),)

    def _lateness(self, link: Quality) -> float:
        late = link.delay_s
        if link.jitter_s:
            late += self._random.uniform(0, link.jitter_s)
        if self._happens(link.reorder_percent):
            late += self._random.uniform(0, REORDER_S)
        return late

    def _happens(self, percent: float) -> bool:
        return percent > 0 and self._random.random() * 100 < percent

    def _changed(self) -> None:
        self._cut = set(self._cuts.own)  # in general a link is not cut
        rates = (self._losses, self._duplicates, self._reorderings)
        self.general = Quality(*self._delays.general, *(each.general for each in rates))
        special = sorted({link for each in (self._delays, *rates) for link in each.own})
        self.own = {
            link: Quality(
                *self._delays.own.get(link, self._delays.general), *(each.own.get(link, each.general) for each in rates)
            )
            for link in special
        }
        self.quiet = not self._cut and not self.own and self.general == PERFECT
