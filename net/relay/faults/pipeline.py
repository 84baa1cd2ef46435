"""Which faults are in force on which link, and what becomes of a frame there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from random import Random
from typing import Any, TypeAlias, cast

from net.relay.faults.cut import Cut
from net.relay.faults.fault import KINDS, Copies, Decider, F, Fault
from net.relay.faults.layers import ALL, Layers, Link

NOW: Copies = (0.0,)
"""One copy, at once."""

_Chain: TypeAlias = tuple[tuple[Fault, Decider], ...]


class Faults:
    """A pure decision: no clock, no socket; only the random source is given.

    Of two commands for the same link the later one applies; one for all links overrides those for single ones. A fault
    set with a `token` is removed by `lift`; the setting before or after it then applies again.
    """

    def __init__(self, random: Random) -> None:
        self._random = random
        self._layers: dict[type[Fault], Layers[Any]] = {kind: Layers(kind()) for kind in KINDS}
        self._chains: dict[Link, _Chain] = {}
        """Of the links that have carried something since the last change."""
        self._deciders: dict[Link, dict[Fault, Decider]] = {}
        """Those of a fault that a change does not touch go on remembering what they have seen."""
        self.dropped: Counter[str] = Counter()
        """Copies of frames, by the kind of fault that lost them."""
        self.quiet = True
        """No message is affected; lets the relay skip `decide`."""

    def set(self, kind: type[F], values: Mapping[Link, F], token: int | None = None) -> None:
        self._layers[kind].set(values, token)
        self._changed()

    def get(self, kind: type[F], link: Link = ALL) -> F:
        """What is in force on a link; ALL stands for every link that does not differ."""
        return cast(F, self._layers[kind].of(link))

    def in_force(self, link: Link = ALL) -> list[Fault]:
        """One fault of each kind, in the order of their stages, whether it does anything or not."""
        return [layers.of(link) for layers in self._layers.values()]

    @property
    def cut(self) -> list[Link]:
        return list(self._layers[Cut].own)  # ALL is never cut

    def is_cut(self, src: int, dst: int) -> bool:
        return (src, dst) in self._layers[Cut].own

    @property
    def different(self) -> list[Link]:
        """The links that differ from the general rule in anything but being cut."""
        return sorted({link for kind, layers in self._layers.items() if kind is not Cut for link in layers.own})

    def seed(self, number: int) -> None:
        """From now on the same messages in the same order have the same fate."""
        self._random.seed(number)

    def holds(self, token: int) -> bool:
        """Whether anything set with this token is left."""
        return any(layers.holds(token) for layers in self._layers.values())

    def lift(self, token: int) -> bool:
        """Removes what was set with this token. False if nothing of it was left."""
        found = self.holds(token)
        for layers in self._layers.values():
            layers.lift(token)
        self._changed()
        return found

    def reset(self) -> None:
        """A network without faults."""
        for kind, layers in self._layers.items():
            layers.set({ALL: kind()})
        self._changed()

    def decide(self, src: int, dst: int, size: int = 0, now: float = 0.0, urgent: bool = False) -> Copies:
        """For each copy that arrives of a frame of so many bytes, by how many seconds it is late; empty if none does.
        `now` is in seconds, from any moment on."""
        if self.quiet:
            return NOW
        chain = self._chains.get((src, dst))
        if chain is None:
            chain = self._chain((src, dst))
        return self._through(chain, 0.0, size, now, urgent)

    def _chain(self, link: Link) -> _Chain:
        known = self._deciders.get(link, {})
        faults = [fault for fault in self.in_force(link) if fault != type(fault)()]
        self._deciders[link] = {fault: known.get(fault) or fault.decider(self._random) for fault in faults}
        chain = self._chains[link] = tuple(self._deciders[link].items())
        return chain

    def _through(self, chain: _Chain, late: float, size: int, now: float, urgent: bool) -> Copies:
        """What comes out of one copy. One copy after the other passes what is left of the chain, so that random
        decisions are made in an order that depends on nothing else."""
        for index, (fault, decide) in enumerate(chain):
            copies = decide(late, size, now, urgent)
            if len(copies) != 1:
                if not copies and size:  # what has no size is no frame, but a notice of the relay's own
                    self.dropped[type(fault).__name__.lower()] += 1
                rest = chain[index + 1 :]
                return tuple(final for copy in copies for final in self._through(rest, copy, size, now, urgent))
            late = copies[0]
        return (late,)

    def _changed(self) -> None:
        self._chains.clear()
        for link, deciders in self._deciders.items():  # an equal fault later is another one
            in_force = self.in_force(link)
            self._deciders[link] = {fault: decide for fault, decide in deciders.items() if fault in in_force}
        self.quiet = all(not layers.own and layers.general == kind() for kind, layers in self._layers.items())
