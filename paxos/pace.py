"""How fast a link is, as its answers show, and what follows from that: how much may be on its way, and in what pieces.

What is on its way cannot be called back, and what is just being sent cannot be overtaken. So both are bounded by the
time that they take on the link, as far as the round trip and the disk at its end allow.
"""

from __future__ import annotations

SLOWEST = 64 * 1024.0
"""Bytes a second that a link is taken to carry as long as nothing was measured."""
FASTEST = 1e10
LEAST_WINDOW = 256 * 1024
MOST_WINDOW = 4 * 1024 * 1024
WINDOW_S = 0.25
"""As much may be on its way as the link carries in this time, and in two rounds of network and disk."""
PIECE_S = 0.05
LEAST_PIECE = 64 * 1024
"""A message takes about so long on the link, or is so small."""
LEAST_SAMPLE = 16 * 1024
"""The answer to less says nothing of a link's bandwidth."""
SMOOTHING = 0.25


class Pace:
    __slots__ = ("_answered", "_measured", "seconds")

    def __init__(self) -> None:
        self.seconds = 1 / SLOWEST
        """That a byte takes. Answers that come at once, after one that took long, make up for it."""
        self._measured = False
        self._answered = 0.0

    def answered(self, size: int, sent: float, now: float) -> None:
        """What was sent at `sent` is answered."""
        if size >= LEAST_SAMPLE:
            sample = (now - max(sent, self._answered)) / size
            weight = SMOOTHING if self._measured else 1.0
            self.seconds = max(self.seconds + (sample - self.seconds) * weight, 1 / FASTEST)
            self._measured = True
        self._answered = now

    def window(self, round_s: float) -> float:
        """Bytes that may be on their way; `round_s` is how long a message and its answer take however small."""
        return min(max(LEAST_WINDOW, (WINDOW_S + 2 * round_s) / self.seconds), MOST_WINDOW)

    def piece(self) -> float:
        """Bytes of one message at most, if it can be divided."""
        return max(LEAST_PIECE, PIECE_S / self.seconds)
