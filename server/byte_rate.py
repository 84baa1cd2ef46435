"""How many bytes a minute a node takes from its users."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from kvstore.conversation import utf8_bytes
from kvstore.operations import Ask, AskOnce, Import, ImportInFull, Query, SetSystem, SetTitle, StoreOperation
from kvstore.quotas import WARN_AT

_OVERHEAD = 64
"""Bytes that every operation takes, about."""
_MINUTE_S = 60.0


class ByteRate:
    """Lets a minute's bytes in at once; what was used comes back evenly, all of it within a minute."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.per_minute = per_minute
        self._clock = clock
        self._used = 0.0
        self._as_of = clock()

    @property
    def used(self) -> int:
        now = self._clock()
        self._used = max(0.0, self._used - (now - self._as_of) * self.per_minute / _MINUTE_S)
        self._as_of = now
        return math.ceil(self._used)

    def take(self, operation: StoreOperation) -> str | None:
        """Why the node does not take this operation now, as a sentence for users; None if it does."""
        size = _OVERHEAD + _size(operation)
        missing = self.used + size - self.per_minute
        if missing <= 0:
            self._used += size
            return None
        seconds = math.ceil(missing * _MINUTE_S / self.per_minute)
        return (
            f"this node takes {self.per_minute} bytes a minute from its users, and they are used up: try again in "
            f"{seconds} s, at another node, or raise limits.bytes_per_minute in the configuration"
        )

    def warning(self) -> str | None:
        """What to tell users when nearly all is used up."""
        used = self.used
        if used < WARN_AT * self.per_minute:
            return None
        return f"{used} of the {self.per_minute} bytes are used that this node takes a minute"


def _size(operation: StoreOperation) -> int:
    """Of what a user wrote."""
    match operation:
        case Query(text=text) | Ask(text=text) | SetSystem(text=text) | SetTitle(title=text):
            return utf8_bytes(text)
        case AskOnce(text=text, history=history):
            return utf8_bytes(text) + len(history or b"")
        case ImportInFull(turns=turns, title=title, system=system):
            return len(turns) + utf8_bytes(title) + utf8_bytes(system)
        case Import(turns=turns):
            return len(turns)
    return 0
