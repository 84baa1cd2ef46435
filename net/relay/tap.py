"""Messages of the protocol as they pass the relay, for those who watch.

Nodes label messages only while somebody wants to see them. Under load that is a fraction of the time: once so many
messages have been seen in a short while, no labels are asked for until a pause is over. Counters tell the rest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Literal, TypeAlias

import msgspec

AT_ONCE = 40
"""Messages seen without a pause in between."""
PAUSE_S = 0.5
MAX_KEPT = 200
"""Messages that wait to be taken."""

Fate: TypeAlias = Literal["passed", "late", "lost", "held", "released", "dropped"]
"""What becomes of it at the relay: it goes on at once, or later, is lost to a fault, begins to wait for the operator,
goes on after that, or is lost by the operator's word."""


class SeenMessage(msgspec.Struct, frozen=True, gc=False):
    at: float
    """Loop time."""
    src: int
    dst: int
    label: str
    fate: Fate
    late_s: float = 0.0


class Tap:
    """`labels` is called whenever labels must be asked for, or need not be any more: see `wants_labels`."""

    def __init__(self, labels: Callable[[], None]) -> None:
        self._labels = labels
        self._seen: list[SeenMessage] = []
        self._left = AT_ONCE
        self._timer: asyncio.TimerHandle | None = None
        self.active = False
        """Somebody watches."""
        self.wants_labels = False
        self.sampled = False
        """Some messages were not seen since the last `take`."""

    def start(self) -> None:
        if not self.active:
            self.active = True
            self._go_on()

    def stop(self) -> None:
        self.active = False
        self._seen.clear()
        if self._timer is not None:
            self._timer.cancel()
        self._want_labels(False)

    def saw(self, src: int, dst: int, label: str, fate: Fate, late_s: float = 0.0) -> None:
        if not self.active:
            return
        if len(self._seen) < MAX_KEPT:
            now = asyncio.get_running_loop().time()
            self._seen.append(SeenMessage(now, src, dst, label, fate, late_s))
        else:
            self.sampled = True
        self._left -= 1
        if self._left == 0:
            self.sampled = True
            self._want_labels(False)

    def take(self) -> tuple[list[SeenMessage], bool]:
        """What was seen since the last time, and whether there was more."""
        seen, sampled = self._seen, self.sampled
        self._seen, self.sampled = [], not self.wants_labels
        return seen, sampled

    def _go_on(self) -> None:
        """Every PAUSE_S: so many messages may be seen again."""
        self._left = AT_ONCE
        self._timer = asyncio.get_running_loop().call_later(PAUSE_S, self._go_on)
        self._want_labels(True)

    def _want_labels(self, wanted: bool) -> None:
        if wanted != self.wants_labels:
            self.wants_labels = wanted
            self._labels()
