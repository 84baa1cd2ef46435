"""The rates at which each node sends and receives, measured once a second."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from net.relay.connection import Traffic


class Rate(msgspec.Struct, frozen=True):
    """Per second. `in` is from the node, `out` to it."""

    frames_in: float = 0.0
    frames_out: float = 0.0
    bytes_in: float = 0.0
    bytes_out: float = 0.0


IDLE = Rate()


class Rates:
    def __init__(self) -> None:
        self._at: float | None = None
        self._counts: dict[int, tuple[int, int, int, int]] = {}
        self._rates: dict[int, Rate] = {}

    def of(self, node: int) -> Rate:
        """Between the last two samples."""
        return self._rates.get(node, IDLE)

    def sample(self, traffic: Mapping[int, Traffic], now: float) -> None:
        """`now` in seconds, later than the last time."""
        counts = {
            node: (each.frames_in, each.frames_out, each.bytes_in, each.bytes_out) for node, each in traffic.items()
        }
        if self._at is not None and now > self._at:
            passed = now - self._at
            self._rates = {
                node: Rate(*((new - old) / passed for new, old in zip(count, self._counts[node], strict=True)))
                for node, count in counts.items() if node in self._counts
            }
        self._at, self._counts = now, counts
