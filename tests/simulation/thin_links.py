"""Links of finite bandwidth: what one connection of a node carries in one direction, a message after the other."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from paxos.messages import AnyMessage, is_urgent

if TYPE_CHECKING:
    from tests.simulation.world import World

MAX_UP, MAX_DOWN = 16 * 1024 * 1024, 8 * 1024 * 1024
"""Bytes that wait on the way to the relay, and from there; see net/link_connection.py and net/relay/connection.py."""
FRAME = 9
"""Bytes of a frame besides its payload."""


_encode = msgspec.msgpack.Encoder().encode


class Pipe:
    """Messages take turns in the order they came, but urgent ones go before the others; what is being sent is sent to
    its end first. What does not fit is lost."""

    def __init__(self, world: World, limit: int) -> None:
        self._world = world
        self._limit = limit
        self._urgent: deque[tuple[int, Callable[[], None]]] = deque()
        self._waiting: deque[tuple[int, Callable[[], None]]] = deque()
        self._size = 0
        self._busy = False

    def push(self, size: int, urgent: bool, through: Callable[[], None]) -> bool:
        """`through` is called when all of the message is through. False if it is lost."""
        if not urgent and self._size > self._limit:
            return False
        self._size += size
        (self._urgent if urgent else self._waiting).append((size, through))
        if not self._busy:
            self._next()
        return True

    def _next(self) -> None:
        queue = self._urgent or self._waiting
        self._busy = bool(queue)
        if queue:
            size, through = queue.popleft()
            self._world.at(size / self._world.weather.bandwidth, lambda: self._sent(size, through))

    def _sent(self, size: int, through: Callable[[], None]) -> None:
        self._size -= size
        self._next()
        through()


class ThinLinks:
    """All connections to the relay, in both directions."""

    def __init__(self, world: World) -> None:
        self._up = {pid: Pipe(world, MAX_UP) for pid in world.pids}
        self._down = {pid: Pipe(world, MAX_DOWN) for pid in world.pids}
        self._sized: AnyMessage | None = None
        self._size = 0
        """Of the last message: a broadcast is encoded once."""
        self.sent = 0
        """Bytes that nodes have handed to their connections."""
        self.dropped = 0
        """Messages that did not fit."""

    def size(self, message: AnyMessage) -> int:
        """Bytes of its frame."""
        if message is not self._sized:
            self._sized, self._size = message, len(_encode(message)) + FRAME
        return self._size

    def carry(self, sender: int, to: int, message: AnyMessage, arrive: Callable[[], None]) -> None:
        size, urgent = self.size(message), is_urgent(message)
        self.sent += size

        def at_the_relay() -> None:
            if not self._down[to].push(size, urgent, arrive):
                self.dropped += 1

        if not self._up[sender].push(size, urgent, at_the_relay):
            self.dropped += 1
