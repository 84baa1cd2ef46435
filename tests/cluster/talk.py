"""One user's session with a process under attack: commands out, results in, until one of the two is gone."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

LONGEST_LINE = 256 * 1024 * 1024
"""A viewall late in a long run is one line of many megabytes."""

_RESULT = b'{"event":"result",'


class Answer(NamedTuple):
    """`at` is the monotonic time at which the result was read: no earlier than it was given."""

    at: float
    said: dict[str, Any]


class Talk:
    """Lines of commands to a prompt or a control socket. `event` gets every line that is no result."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, event: Callable[[bytes], None] | None = None
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._event = event
        self._lines = 0
        self._pending: dict[int, asyncio.Future[Answer | None]] = {}
        self._reading = asyncio.ensure_future(self._read())

    @property
    def over(self) -> bool:
        return self._reading.done()

    def say(self, command: str) -> asyncio.Future[Answer | None]:
        """Types one line. The future is None if the other side went away without answering."""
        answer: asyncio.Future[Answer | None] = asyncio.get_running_loop().create_future()
        if self.over:
            answer.set_result(None)
            return answer
        self._lines += 1
        self._pending[self._lines] = answer
        self._writer.write(f"{command}\n".encode())
        return answer

    async def ended(self) -> None:
        """Returns when the other side is gone and all that it said was read."""
        await asyncio.wait([self._reading])

    async def close(self) -> None:
        self._writer.close()
        self._reading.cancel()
        await self.ended()

    async def _read(self) -> None:
        try:
            with contextlib.suppress(ConnectionError):
                while (line := await self._reader.readline()).endswith(b"\n"):  # a killed process may stop in mid-line
                    self._take(line)
        finally:
            for answer in self._pending.values():
                if not answer.done():
                    answer.set_result(None)

    def _take(self, line: bytes) -> None:
        if not line.startswith(_RESULT):
            if self._event is not None:
                self._event(line)
            return
        now = time.monotonic()
        said = msgspec.json.decode(line)
        answer = self._pending.pop(said["line"], None)
        if answer is not None and not answer.done():
            answer.set_result(Answer(now, said))
