"""Frames on their way into one transport: gathered for few system calls, bounded, urgent ones first."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

_JOIN_BELOW = 64 * 1024
"""Up to this many bytes, joining small frames is cheaper than passing the kernel a list of them."""
_AT_ONCE = 256 * 1024
"""About so many bytes are passed to the transport before it is asked whether it takes more."""
MAX_IN_TRANSPORT = 64 * 1024
"""Beyond that the transport calls `pause_writing`: what it holds cannot be overtaken any more."""


class SendQueue:
    """Holds at most `limit` bytes, those included that the transport holds; one frame may go beyond. Nothing is queued
    without a transport. `schedule` is called when the first frame is queued: somebody must then call `flush` soon.

    Urgent frames overtake all others, and have a bound of their own: they find room in a queue that is full of others.
    """

    def __init__(self, limit: int, schedule: Callable[[], object]) -> None:
        self._limit = limit
        self._schedule = schedule
        self._transport: asyncio.Transport | None = None
        self._urgent: list[bytes] = []
        self._urgent_size = 0
        self._frames: deque[bytes] = deque()
        self._size = 0
        """Bytes in `_frames`, and what the transport held when the first of them came."""
        self._scheduled = False
        self._paused = False

    def attach(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        transport.set_write_buffer_limits(high=MAX_IN_TRANSPORT)

    def detach(self) -> None:
        """The connection is gone, and with it what is queued."""
        self._transport = None
        self._paused = False
        self._urgent.clear()
        self._frames.clear()
        self._urgent_size = self._size = 0

    def push(self, frame: bytes, *, urgent: bool = False, bounded: bool = True) -> bool:
        """Queues one frame. False if it was dropped: the queue is full, or there is no transport. What is not `bounded`
        is urgent, and queued however full the queue is: for control messages, which are few and small."""
        if self._transport is None:
            return False
        if urgent or not bounded:
            if bounded and self._urgent_size > self._limit:
                return False
            self._urgent.append(frame)
            self._urgent_size += len(frame)
        else:
            if not self._frames:
                self._size = self._transport.get_write_buffer_size()
            if self._size > self._limit:
                return False
            self._frames.append(frame)
            self._size += len(frame)
        if not self._scheduled and not self._paused:
            self._scheduled = True
            self._schedule()
        return True

    def end(self, frame: bytes) -> None:
        """This is the last frame: what is queued is dropped, and the transport gets this however much it holds."""
        transport = self._transport
        self.detach()
        if transport is not None and not transport.is_closing():
            transport.write(frame)

    def pause(self) -> None:
        """The transport has enough (`pause_writing`): what is queued waits here, where it can be overtaken."""
        self._paused = True

    def resume(self) -> None:
        """The transport takes more (`resume_writing`)."""
        self._paused = False
        self.flush()

    @property
    def is_paused(self) -> bool:
        """The transport has more than it can pass on."""
        return self._paused

    def flush(self) -> None:
        """Passes what is queued to the transport, as far as it takes it."""
        self._scheduled = False
        while (self._urgent or self._frames) and not self._paused:
            if self._transport is None or self._transport.is_closing():
                self._urgent.clear()
                self._frames.clear()
                self._urgent_size = self._size = 0
                return
            self._write(self._transport)

    def _write(self, transport: asyncio.Transport) -> None:
        frames, size = self._urgent, self._urgent_size
        self._urgent, self._urgent_size = [], 0
        while self._frames and size < _AT_ONCE:
            frame = self._frames.popleft()
            frames.append(frame)
            size += len(frame)
            self._size -= len(frame)
        if len(frames) == 1:
            transport.write(frames[0])
        elif size <= _JOIN_BELOW:
            transport.write(b"".join(frames))
        else:
            transport.writelines(frames)
