"""Messages that arrive twice; each copy meets the later stages for itself."""

from __future__ import annotations

from random import Random
from typing import ClassVar

from net.relay.faults.fault import Decider, Fault, happens, register


@register
class Duplicate(Fault, frozen=True):
    duplicate_percent: float = 0.0
    stage: ClassVar[int] = 20

    def decider(self, random: Random) -> Decider:
        return lambda late, size, now, urgent: (late, late) if happens(self.duplicate_percent, random) else (late,)

    def words(self) -> str:
        return f"duplicate {self.duplicate_percent:g} %"
