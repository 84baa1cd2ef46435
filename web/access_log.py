"""The file that says what was called, by which role, and the outcome."""

from __future__ import annotations

import asyncio
import logging
import logging.handlers
import queue
from pathlib import Path

from web.guard import access_log
from web.listener import LEAVE_WITHIN_S

_LOG_BYTES = 4 * 1024 * 1024


class AccessLog:
    """What `access_log` is told, in a file of bounded size. A thread writes it, since a disk may hang."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._listener: logging.handlers.QueueListener | None = None
        self._handler: logging.handlers.QueueHandler | None = None

    def start(self) -> None:
        file = logging.handlers.RotatingFileHandler(self._path, maxBytes=_LOG_BYTES, backupCount=1, delay=True)
        file.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        lines: queue.Queue[logging.LogRecord] = queue.Queue(10_000)
        self._handler = logging.handlers.QueueHandler(lines)
        self._handler.handleError = lambda record: None  # type: ignore[method-assign]  # full: the disk hangs
        self._listener = logging.handlers.QueueListener(lines, file)
        access_log.setLevel(logging.INFO)
        access_log.propagate = False
        access_log.addHandler(self._handler)
        self._listener.start()

    async def close(self) -> None:
        if self._listener is None or self._handler is None:
            return
        access_log.removeHandler(self._handler)
        try:
            async with asyncio.timeout(LEAVE_WITHIN_S):
                await asyncio.to_thread(self._listener.stop)
        except TimeoutError:
            return  # the disk hangs, and the node leaves all the same
