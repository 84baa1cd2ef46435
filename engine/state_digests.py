"""When the digest of the state machine is taken, for nodes to compare (see paxos/digests.py): where all of them take
it, at round positions and where the log comes to rest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

REST_S: Final = 1.0
"""After so long without another operation."""

DIGITS: Final = 16
"""Of a digest, so many hexadecimal digits are compared."""


class Digested(Protocol):
    def digest(self) -> str:
        """Hexadecimal; equal for equal content. Must cost no more than what has changed since the last call."""


class StateDigests:
    """`hand_in` gets a position and the digest there. All was loaded up to position `loaded`."""

    def __init__(self, machine: Digested, hand_in: Callable[[int, int], None], every: int, loaded: int) -> None:
        self._machine = machine
        self._hand_in = hand_in
        self._every = every
        self._loaded = loaded
        self._last = 0
        """The last position whose digest was handed in."""
        self.due = every + 1
        """Before an operation at this position or a later one is applied, `before` must be called."""
        self._applied = 0
        self._look_at = 0.0

    def loaded(self, position: int) -> None:
        """A snapshot replaced everything: of positions before, nothing is known."""
        self._loaded = position

    def before(self, position: int) -> None:
        """The operation at this position is applied next: now everything holds what the round one before it left."""
        rounded = (position - 1) // self._every * self._every
        self.due = rounded + self._every + 1
        if rounded > self._last and rounded >= self._loaded:
            self._take(rounded)

    def look(self, applied: int, now: float) -> None:
        """Everything up to `applied` is, and there is nothing else to do."""
        if now < self._look_at:
            return
        before, self._applied, self._look_at = self._applied, applied, now + REST_S
        if before == applied > self._last:
            self._take(applied)

    def _take(self, position: int) -> None:
        self._last = position
        self._hand_in(position, int(self._machine.digest()[:DIGITS], 16))
