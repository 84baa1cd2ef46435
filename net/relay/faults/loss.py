"""Messages that are lost."""

from __future__ import annotations

from random import Random
from typing import ClassVar

from net.relay.faults.fault import DROP, Decider, Fault, happens, register


@register
class Loss(Fault, frozen=True):
    loss_percent: float = 0.0
    stage: ClassVar[int] = 10

    def decider(self, random: Random) -> Decider:
        return lambda late, size, now, urgent: DROP if happens(self.loss_percent, random) else (late,)

    def words(self) -> str:
        return f"loss {self.loss_percent:g} %"
