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
        free = urgent_free = 0.0
        """When all that has come by now is through, and when all of it that is urgent is."""

        def decide(late: float, size: int, now: float, urgent: bool) -> Copies:
            nonlocal free, urgent_free
            if not rate:
                return (late,)
            begin = max(urgent_free if urgent else free, now + late)
            if (begin - now) * rate > MAX_QUEUED:
                return DROP
            end = begin + size / rate
            if urgent:
                urgent_free, free = end, max(free, now + late) + size / rate
            else:
                free = end
            return (end - now,)

        return decide

    def words(self) -> str:
        return f"bandwidth {self.bandwidth_kbps:g} kbit/s"
