"""What all kinds of faults have in common, and the register of them."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import ClassVar, TypeAlias, TypeVar

import msgspec

Copies: TypeAlias = tuple[float, ...]
"""The delay in seconds of each copy of a frame that continues."""

DROP: Copies = ()

Decider: TypeAlias = Callable[[float, int, float, bool], Copies]
"""Decides about one copy of a frame: gets by how many seconds it is late already, its size in bytes, the time in
seconds and whether it is urgent; returns the copies that go on instead of it."""


class Fault(msgspec.Struct, frozen=True):
    """One kind of fault with the parameters that it has on a link; as made without arguments, it does nothing."""

    stage: ClassVar[int]
    """Frames meet the kinds in this order: what is lost at an early stage is not delayed at a later one."""

    def decider(self, random: Random) -> Decider:
        """What decides about the frames of one link from now on, in the order they come. It may remember them."""
        raise NotImplementedError

    def words(self) -> str:
        """What the parameters mean, for people: `loss 5 %`."""
        raise NotImplementedError


KINDS: list[type[Fault]] = []
"""Sorted by stage."""

F = TypeVar("F", bound=Fault)


def register(kind: type[F]) -> type[F]:
    """Makes a kind known to every network made from now on."""
    KINDS.append(kind)
    KINDS.sort(key=lambda each: each.stage)
    return kind


def happens(percent: float, random: Random) -> bool:
    return percent > 0 and random.random() * 100 < percent
