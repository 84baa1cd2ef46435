"""Delays frames on purpose."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable

MAX_DELAYED = 64 * 1024 * 1024
"""Bytes that may be delayed at once; more are dropped."""

_TICK_S = 0.001
"""Event loops have a resolution of a millisecond; waiting for less would spin."""
_AT_ONCE = 1000
"""Frames: then others have their turn."""


class DelayLine:
    """Holds frames until they are due; frames that are due at the same time leave in order of arrival.

    One timer serves all of them: at a hundred thousand frames a second, one each would be too expensive.
    """

    def __init__(self, deliver: Callable[[int, int, bytes], None], limit: int = MAX_DELAYED) -> None:
        self._deliver = deliver
        self._limit = limit
        self._heap: list[tuple[float, int, int, int, bytes]] = []
        self._count = 0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due = 0.0
        self.bytes = 0
        """Bytes held now."""

    def add(self, delay_s: float, src: int, dst: int, raw: bytes) -> bool:
        """False if the frame was dropped because too many bytes are already held."""
        if self.bytes + len(raw) > self._limit:
            return False
        due = asyncio.get_running_loop().time() + delay_s
        self._count += 1
        heapq.heappush(self._heap, (due, self._count, src, dst, raw))
        self.bytes += len(raw)
        if self._timer is None or due < self._timer_due:
            self._schedule()
        return True

    def release(self) -> None:
        """Everything held is due now, in the order in which it was to leave."""
        now = asyncio.get_running_loop().time()
        held = sorted(self._heap)
        self._heap = [(now, number, src, dst, raw) for number, (_, _, src, dst, raw) in enumerate(held)]
        if self._heap:
            self._schedule()

    def clear(self) -> None:
        """Drops everything held."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        self._heap.clear()
        self.bytes = 0

    def _schedule(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        self._timer_due = self._heap[0][0]
        self._timer = loop.call_later(max(self._timer_due - loop.time(), _TICK_S), self._work)

    def _work(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        for _ in range(_AT_ONCE):
            if not self._heap or self._heap[0][0] > now:
                break
            _, _, src, dst, raw = heapq.heappop(self._heap)
            self.bytes -= len(raw)
            self._deliver(src, dst, raw)
        if self._heap:
            self._schedule()
