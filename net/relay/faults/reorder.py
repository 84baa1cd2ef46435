"""Messages that arrive out of order."""

from __future__ import annotations

from random import Random
from typing import ClassVar

from net.relay.faults.fault import Copies, Decider, Fault, happens, register

REORDER_S = 0.02
"""A message picked for reordering is delayed by up to this much, so that later ones overtake it."""


@register
class Reorder(Fault, frozen=True):
    reorder_percent: float = 0.0
    stage: ClassVar[int] = 40

    def decider(self, random: Random) -> Decider:
        def decide(late: float, size: int, now: float, urgent: bool) -> Copies:
            return (late + random.uniform(0, REORDER_S),) if happens(self.reorder_percent, random) else (late,)

        return decide

    def words(self) -> str:
        return f"reorder {self.reorder_percent:g} %"
