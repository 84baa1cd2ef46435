"""The cluster's latest events, for streams that continue where they, or those of another node, broke off.

An event is known by the log position of the operation that it is about: the same at every node and after every restart.
Events about no operation (a new leader, for example) come between them and are not repeated.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice

import msgspec

from api.base import Event, encode, name_of
from api.node_events import GapEvent
from web.waiters import Waiters

KEPT = 4096
"""Events. Their texts are those of the store."""
PIECE = 64 * 1024
"""Bytes that a stream gets at a time, and what the last event has beyond: a client that does not read holds no more."""


class Entry(msgspec.Struct, frozen=True, gc=False):
    event: Event
    position: int | None
    """Of its operation."""

    @property
    def frame(self) -> bytes:
        return frame(self.event, self.position)


def frame(event: Event, position: int | None) -> bytes:
    """As a server-sent event."""
    head = b"" if position is None else b"id: %d\n" % position
    return b"%bevent: %b\ndata: %b\n\n" % (head, name_of(type(event)).encode(), encode(event))


def piece(frames: Iterable[bytes]) -> list[bytes]:
    """The first of them, as many as a stream gets at a time."""
    taken, size = [], 0
    for one in frames:
        taken.append(one)
        size += len(one)
        if size >= PIECE:
            break
    return taken


class EventLog:
    """Of a node that has applied all up to `position`, whose events are not here."""

    def __init__(self, position: int, kept: int = KEPT) -> None:
        self.applied = position
        self._kept = kept
        self._entries: deque[Entry] = deque()
        self._first = 0
        """The number of the oldest entry, counted from the start."""
        self._forgotten = position
        """The highest position of which an event may be missing."""
        self.waiters = Waiters()
        self._joined: tuple[int, int, int, bytes] = (0, 0, 0, b"")
        """What there was for who had come to a number at an end, and how far it goes: most readers want the same."""

    @property
    def _end(self) -> int:
        """The number of the next entry."""
        return self._first + len(self._entries)

    def add(self, event: Event, position: int | None) -> None:
        self._entries.append(Entry(event, position))
        if len(self._entries) > self._kept:
            oldest = self._entries.popleft()
            self._first += 1
            self._forgotten = max(self._forgotten, oldest.position or 0)
        self.waiters.wake()

    def skip(self, position: int) -> None:
        """A snapshot brought everything up to `position` without events."""
        self._first += len(self._entries)
        self._entries.clear()
        self._forgotten = self.applied = position
        self.add(GapEvent(position), position)

    def _after(self, number: int) -> tuple[int, bytes]:
        """A piece of the frames of the entries from `number` on, and the number after its last."""
        if number >= self._end:
            return number, b""
        if self._joined[:2] != (number, self._end):
            found = piece(entry.frame for entry in islice(self._entries, number - self._first, None))
            self._joined = number, self._end, number + len(found), b"".join(found)
        return self._joined[2:]


class EventReader:
    """One stream's place in the log. `after`: the position of the last event that its client has seen; None: it wants
    those from now on. It also waits with the `others`."""

    def __init__(self, log: EventLog, after: int | None, others: Iterable[Waiters] = ()) -> None:
        self._log = log
        self._waiters = (log.waiters, *others)
        for waiters in self._waiters:
            waiters.readers += 1
        self._seen = after or 0
        self._begun = after is None
        self._next = self._live = log._end
        """Of the entries before `_live`, it gets only those of later positions than it has seen."""

    def take(self) -> bytes:
        """A piece of what there is for the client and was not taken yet; empty if there is nothing."""
        log = self._log
        lost = self._next < log._first
        if not self._begun:
            if log.applied < self._seen:
                return b""  # this node is behind the one where the client was
            self._begun = True
            self._next, self._live = log._first, log._end
            lost = self._seen < log._forgotten
        self._next = max(self._next, log._first)
        frames = b"".join(piece(self._repeated())) if self._next < self._live else b""
        if not frames:
            self._next, frames = log._after(self._next)
        return frame(GapEvent(log._forgotten), log._forgotten) + frames if lost else frames

    def _repeated(self) -> Iterator[bytes]:
        """From then on this client is like any other."""
        log = self._log
        for entry in islice(log._entries, self._next - log._first, max(0, self._live - log._first)):
            self._next += 1
            if entry.position is not None and entry.position > self._seen:
                yield entry.frame

    async def wait(self, timeout_s: float) -> bool:
        """Until there may be more; False if there is nothing for so long."""
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        for waiters in self._waiters:
            waiters.add(waiting)
        try:
            await asyncio.wait([waiting], timeout=timeout_s)
        finally:
            for waiters in self._waiters:
                waiters.discard(waiting)
        return waiting.done()

    def close(self) -> None:
        for waiters in self._waiters:
            waiters.readers -= 1
