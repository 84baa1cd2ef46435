"""Exactly once, first in first out: which operations of each node count, and which are duplicates.

The table is derived from the decided log alone, so it is equal on all nodes at equal positions; it travels with the
snapshot. The proposer uses a second copy to keep duplicates out of the log, but only the table used when applying
operations makes them exactly-once.
"""

from __future__ import annotations

from collections.abc import Mapping

from paxos.ceilings import INCARNATION_STEP, USUAL_INCARNATION
from paxos.messages import Operation


class Sessions:
    def __init__(self, last: Mapping[int, tuple[int, int]] | None = None) -> None:
        self._last: dict[int, tuple[int, int]] = dict(last or {})

    def admit(self, operation: Operation) -> bool:
        """True if and only if `operation` is the next of its node: then it is recorded as done.

        A repetition, an operation of an earlier incarnation, or one whose predecessor is missing does not count. Nor
        does one of an incarnation that no clock shows and that is no small step from the last one either: its node
        could soon not get past that any more (see paxos/ceilings.py).
        """
        incarnation, number = self._last.get(operation.pid, (0, 0))
        if operation.incarnation == incarnation:
            if operation.number != number + 1:
                return False
        elif operation.incarnation < incarnation or operation.number != 1:
            return False
        if operation.incarnation > USUAL_INCARNATION and operation.incarnation - incarnation > INCARNATION_STEP:
            return False
        self._last[operation.pid] = (operation.incarnation, operation.number)
        return True

    def precedes(self, operation: Operation) -> bool:
        """True if `operation` will count later, after others of its node that are still missing."""
        incarnation, number = self._last.get(operation.pid, (0, 0))
        if operation.incarnation == incarnation:
            return operation.number > number + 1
        return operation.incarnation > incarnation

    def last(self, pid: int) -> tuple[int, int]:
        """(incarnation, number) of the last operation of `pid` that counted."""
        return self._last.get(pid, (0, 0))

    def table(self) -> dict[int, tuple[int, int]]:
        return dict(self._last)
