"""What passed the relay since its start, and what was lost there, and why."""

from __future__ import annotations

from collections import Counter
from typing import Final, Literal, TypeAlias

from net.frames import HINT, LENGTH_SIZE, NODE, URGENT

KINDS: Final = {NODE: "ordinary", URGENT: "urgent", HINT: "hint"}
"""Of frames, by the number in their header: elections, heartbeats, votes and reads are urgent."""

Cause: TypeAlias = Literal["delay_line_full", "disconnected", "receiver_stalled", "too_many_held", "operator", "cut"]
"""Why the relay lost a frame, but for the faults, which count themselves; and for links cut while it was delayed."""


class Counts:
    __slots__ = ("_bytes", "_messages", "lost")

    def __init__(self) -> None:
        self._messages = [0] * 256
        self._bytes = [0] * 256
        self.lost: Counter[str] = Counter()

    def passed(self, raw: bytes) -> None:
        """A whole frame was given to the connection of its receiver."""
        kind = raw[LENGTH_SIZE]
        self._messages[kind] += 1
        self._bytes[kind] += len(raw)

    @property
    def by_kind(self) -> dict[str, tuple[int, int]]:
        """Messages and bytes."""
        return {name: (self._messages[kind], self._bytes[kind]) for kind, name in KINDS.items()}
