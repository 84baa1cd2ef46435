"""Output to a reader that may be slow, or gone, without blocking the event loop."""

from __future__ import annotations

import asyncio
import os
import queue
import select
import threading
from collections.abc import Callable

BOUND = 4 * 1024 * 1024
"""Characters that may wait for a slow reader before results are delayed and events are dropped."""
_BATCH = 64 * 1024


class Outbox:
    """A thread that passes text to `sink`, a function that may block; OSError from it means that the reader is gone."""

    def __init__(self, sink: Callable[[str], None], bound: int = BOUND) -> None:
        self._sink = sink
        self._bound = bound
        self._loop = asyncio.get_running_loop()
        self._items: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._backlog = 0
        self._closed = False
        self._moved = asyncio.Event()
        self.gone = asyncio.Event()
        """The reader is gone; anything written from now on is lost."""
        threading.Thread(target=self._run, name="console-output", daemon=True).start()

    @property
    def full(self) -> bool:
        return self._backlog >= self._bound and not self.gone.is_set()

    def write(self, text: str) -> None:
        """Accepts any text, even when full: large producers check `full` or wait for `room` first."""
        if text and not self._closed and not self.gone.is_set():
            self._backlog += len(text)
            self._items.put(text)

    async def room(self) -> None:
        """Waits while the outbox is full."""
        while self.full:
            self._moved.clear()
            await self._moved.wait()

    async def drained(self) -> None:
        """Waits until the sink has accepted everything, or the reader is gone."""
        while self._backlog and not self.gone.is_set():
            self._moved.clear()
            await self._moved.wait()

    def close(self) -> None:
        """Ends the thread once it has flushed its text. Anything written after this is lost."""
        self._closed = True
        self._items.put(None)

    def _run(self) -> None:
        """The thread."""
        last = False
        while not last:
            text, last = self._gather()
            gone = False
            try:
                if text:
                    self._sink(text)
            except OSError:
                gone = True
            try:
                self._loop.call_soon_threadsafe(self._handed_over, len(text), gone)
            except RuntimeError:  # the event loop has ended
                return
            if gone:
                return

    def _gather(self) -> tuple[str, bool]:
        """What waits, up to a batch, and whether it is the last."""
        parts: list[str] = []
        size = 0
        item = self._items.get()
        while item is not None:
            parts.append(item)
            size += len(item)
            if size >= _BATCH:
                break
            try:
                item = self._items.get_nowait()
            except queue.Empty:
                break
        return "".join(parts), item is None

    def _handed_over(self, size: int, gone: bool) -> None:
        self._backlog -= size
        if gone:
            self.gone.set()
        self._moved.set()


def write_all(descriptor: int, text: str) -> None:
    """Writes everything, waiting as long as it takes. Raises OSError when the reader is gone."""
    rest = memoryview(text.encode(errors="backslashreplace"))
    while rest:
        try:
            rest = rest[os.write(descriptor, rest) :]
        except BlockingIOError:  # another process that shares the descriptor made it non-blocking
            select.select([], [descriptor], [])
