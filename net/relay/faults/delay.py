"""Messages that arrive later."""

from __future__ import annotations

from random import Random
from typing import ClassVar

from net.relay.faults.fault import Copies, Decider, Fault, register


@register
class Delay(Fault, frozen=True):
    """A delay in milliseconds, plus a random part of the jitter."""

    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    stage: ClassVar[int] = 30

    def decider(self, random: Random) -> Decider:
        delay_s, jitter_s = self.delay_ms / 1000, self.jitter_ms / 1000

        def decide(late: float, size: int, now: float, urgent: bool) -> Copies:
            late += delay_s
            return (late + random.uniform(0, jitter_s),) if jitter_s else (late,)

        return decide

    def words(self) -> str:
        return f"delay {self.delay_ms:g}{f' + {self.jitter_ms:g}' if self.jitter_ms else ''} ms"
