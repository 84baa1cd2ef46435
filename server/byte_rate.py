"""How many bytes a minute a node takes from its users."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, Final

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
        self._come_back()
        return math.ceil(self._used)

    def _come_back(self) -> None:
        now = self._clock()
        self._used = max(0.0, self._used - (now - self._as_of) * self.per_minute / _MINUTE_S)
        self._as_of = now

    def take(self, operation: StoreOperation) -> str | None:
        """Why the node does not take this operation now, as a sentence for users; None if it does."""
        measure = _SIZES.get(type(operation))
        size = _OVERHEAD if measure is None else _OVERHEAD + measure(operation)
        self._come_back()
        missing = math.ceil(self._used) + size - self.per_minute
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
        if self._used < WARN_AT * self.per_minute:
            return None  # and less by now
        used = self.used
        if used < WARN_AT * self.per_minute:
            return None
        return f"{used} of the {self.per_minute} bytes are used that this node takes a minute"


def _text(operation: Query | Ask | SetSystem) -> int:
    return utf8_bytes(operation.text)


def _question(operation: AskOnce) -> int:
    return utf8_bytes(operation.text) + len(operation.history or b"")


def _turns(operation: Import) -> int:
    return len(operation.turns)


def _conversation(operation: ImportInFull) -> int:
    return len(operation.turns) + utf8_bytes(operation.title) + utf8_bytes(operation.system)


def _title(operation: SetTitle) -> int:
    return utf8_bytes(operation.title)


_SIZES: Final[dict[type, Callable[[Any], int]]] = {
    Query: _text, Ask: _text, SetSystem: _text, SetTitle: _title, AskOnce: _question, Import: _turns,
    ImportInFull: _conversation,
}
"""Bytes of what a user wrote."""
