"""Those who wait until there is more to send: woken in portions, and the less often the more they are."""

from __future__ import annotations

import asyncio
from itertools import islice

_LEAST_S, _PER_READER_S = 0.01, 0.0002
"""So that their number costs the node little."""
_AT_A_TIME = 16
"""Woken in one turn of the event loop: what else the node has to do comes between them."""


class Waiters:
    """`readers` is how many wait now and then; whoever uses this counts them."""

    def __init__(self) -> None:
        self.readers = 0
        self._waiting: dict[asyncio.Future[None], None] = {}
        self._waking: asyncio.Handle | None = None

    def add(self, waiting: asyncio.Future[None]) -> None:
        self._waiting[waiting] = None

    def discard(self, waiting: asyncio.Future[None]) -> None:
        self._waiting.pop(waiting, None)

    def wake(self) -> None:
        """Soon."""
        if self._waiting and self._waking is None:
            pause = max(_LEAST_S, _PER_READER_S * self.readers)
            self._waking = asyncio.get_running_loop().call_later(pause, self._wake_some)

    def wake_now(self) -> None:
        self.close()
        self._wake_some()

    def close(self) -> None:
        if self._waking is not None:
            self._waking.cancel()
            self._waking = None

    def _wake_some(self, left: int | None = None) -> None:
        """All who wait now, in portions: of them, `left` are left."""
        left = len(self._waiting) if left is None else left
        for waiting in list(islice(self._waiting, min(left, _AT_A_TIME))):
            del self._waiting[waiting]
            if not waiting.done():  # another one has woken it
                waiting.set_result(None)
        left -= _AT_A_TIME
        more = left > 0 and bool(self._waiting)
        self._waking = asyncio.get_running_loop().call_soon(self._wake_some, left) if more else None
