"""Links that carry only so much in a second."""

from __future__ import annotations

from random import Random
from typing import ClassVar

from net.relay.faults.fault import DROP, Copies, Decider, Fault, register

MAX_QUEUED = 4 * 1024 * 1024
"""Bytes that wait for their turn on one link; what comes on top is lost."""

BYTES_PER_KILOBIT = 125


@register
class Bandwidth(Fault, frozen=True):
    """In kilobits a second; 0 is no limit. Frames take turns in the order they came, but urgent ones go first."""

    bandwidth_kbps: float = 0.0
    stage: ClassVar[int] = 25

    def decider(self, random: Random) -> Decider:
        rate = self.bandwidth_kbps * BYTES_PER_KILOBIT
        free = 0.0
        """When all that has come by now is through."""

        def decide(late: float, size: int, now: float, urgent: bool) -> Copies:
            nonlocal free
            if not rate:
                return (late,)
            begin = max(free, now + late)
            if not urgent and (begin - now) * rate > MAX_QUEUED:
                return DROP
            free = begin + size / rate
            return ((late if urgent else begin - now) + size / rate,)

        return decide

    def words(self) -> str:
        return f"bandwidth {self.bandwidth_kbps:g} kbit/s"
