"""A rate limit: at most so many requests within any minute."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

MINUTE_S = 60.0


class RateLimiter:
    """`per_minute` None: no limit. First come, first served."""

    def __init__(self, per_minute: int | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._started: deque[float] = deque(maxlen=per_minute)
        self._lock = asyncio.Lock()

    async def acquire(self) -> None:
        """Returns when a request may begin, and counts it."""
        if self._per_minute is None:
            return
        async with self._lock:
            if len(self._started) == self._per_minute:
                await asyncio.sleep(max(0.0, self._started[0] + MINUTE_S - self._clock()))
            self._started.append(self._clock())
