"""The file that says what was called, by which role, and the outcome."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from pathlib import Path

from web.listener import LEAVE_WITHIN_S

_LOG_BYTES = 4 * 1024 * 1024
_MOST_LINES = 10_000
"""That wait to be written; what comes when so many do is dropped: the disk hangs."""
_WRITE_AFTER_S = 0.1
"""A thread that is woken for each line costs more than most requests."""


class AccessLog:
    """A file of bounded size, and the one before it. Lines that come together are written together, by a thread, since
    a disk may hang."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines: list[tuple[float, str]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._writing: asyncio.Future[None] | None = None
        self._open = True

    def add(self, line: str) -> None:
        if not self._open or len(self._lines) >= _MOST_LINES:
            return
        self._lines.append((time.time(), line))
        if self._timer is None and self._writing is None:
            self._timer = asyncio.get_running_loop().call_later(_WRITE_AFTER_S, self._write)

    async def close(self) -> None:
        """Writes what is left, unless the disk hangs: the node leaves all the same."""
        self._open = False
        if self._timer is not None:
            self._timer.cancel()
            self._write()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LEAVE_WITHIN_S):
                while self._writing is not None:
                    await asyncio.wait([self._writing])

    def _write(self) -> None:
        self._timer = None
        lines, self._lines = self._lines, []
        self._writing = asyncio.get_running_loop().run_in_executor(None, self._append, lines)
        self._writing.add_done_callback(self._written)

    def _written(self, writing: asyncio.Future[None]) -> None:
        self._writing = None
        if self._lines and not self._open:
            self._write()
        elif self._lines:
            self._timer = asyncio.get_running_loop().call_later(_WRITE_AFTER_S, self._write)

    def _append(self, lines: list[tuple[float, str]]) -> None:
        text = "".join([f"{_shown(at)} {line}\n" for at, line in lines])
        with contextlib.suppress(OSError):  # nothing depends on it, and a full disk is told of by those who do
            with self._path.open("a", encoding="utf-8") as file:
                file.write(text)
                size = file.tell()
            if size > _LOG_BYTES:
                os.replace(self._path, f"{self._path}.1")


def _shown(at: float) -> str:
    """As Python's logging shows a time."""
    return f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(at))},{int(at % 1 * 1000):03d}"
