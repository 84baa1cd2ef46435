"""Frames on their way into one transport: gathered, so that one system call sends many, and bounded in bytes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

_JOIN_BELOW = 64 * 1024
"""Up to this many bytes, joining small frames is cheaper than passing the kernel a list of them."""


class SendQueue:
    """Holds at most `limit` bytes, those included that the transport holds; one frame may go beyond. Nothing is queued
    without a transport. `schedule` is called when the first frame is queued: somebody must then call `flush` soon."""

    def __init__(self, limit: int, schedule: Callable[[], object]) -> None:
        self._limit = limit
        self._schedule = schedule
        self._transport: asyncio.Transport | None = None
        self._frames: list[bytes] = []
        self._size = 0
        """Bytes in `_frames` and in the transport, while `_frames` is not empty."""

    def attach(self, transport: asyncio.Transport) -> None:
        self._transport = transport

    def detach(self) -> None:
        """The connection is gone, and with it what is queued."""
        self._transport = None
        self._frames.clear()

    def push(self, frame: bytes, *, bounded: bool = True) -> bool:
        """Queues one frame. False if it was dropped: the queue is full, or there is no transport. What is not `bounded`
        is queued however full the queue is: for control messages, which are few and small."""
        if self._transport is None:
            return False
        if not self._frames:
            self._size = self._transport.get_write_buffer_size()
        if bounded and self._size > self._limit:
            return False
        if not self._frames:
            self._schedule()
        self._frames.append(frame)
        self._size += len(frame)
        return True

    def flush(self) -> None:
        """Hands all that is queued to the transport."""
        frames, self._frames = self._frames, []
        if not frames or self._transport is None or self._transport.is_closing():
            return
        if len(frames) == 1:
            self._transport.write(frames[0])
        elif self._size <= _JOIN_BELOW:
            self._transport.write(b"".join(frames))
        else:
            self._transport.writelines(frames)
