"""What was done to the network, and when."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

import msgspec

KEPT = 1000
SHOWN = 30


class Entry(msgspec.Struct, frozen=True):
    time: float
    """Of day, in seconds since 1970."""
    after_s: float
    """Since the orchestrator's start."""
    what: str
    by: str
    """`operator`, `script` or `timer`."""


class FaultHistory:
    """The last faults that were set and taken back, each with its time."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._entries: deque[Entry] = deque(maxlen=KEPT)

    def note(self, what: str, by: str) -> None:
        self._entries.append(Entry(time.time(), round(time.monotonic() - self._began, 3), what, by))

    def last(self, count: int = SHOWN) -> list[dict[str, Any]]:
        """The last entries, the oldest of them first."""
        return [msgspec.to_builtins(entry) for entry in list(self._entries)[-count:]]
