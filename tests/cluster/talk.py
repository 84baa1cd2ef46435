"""One user's session with a process under test: commands out, results in, until either side is gone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from api.client import LONGEST_LINE, Client, Reply

__all__ = ["LONGEST_LINE", "Answer", "Talk"]


class Answer(NamedTuple):
    """`at` is the monotonic time at which the result was read: not before it was sent."""

    at: float
    said: dict[str, Any]


class Talk:
    """Lines of commands to a prompt or a control socket. `event` gets every line that is not a result."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter,
        event: Callable[[bytes], None] = lambda line: None,
    ) -> None:
        self._client = Client(reader, writer, on_event=lambda received: event(received.raw + b"\n"))

    @property
    def over(self) -> bool:
        return self._client.over

    def say(self, command: str) -> asyncio.Future[Answer | None]:
        """Types one line. The future's result is None if the other side exited without answering."""
        answer: asyncio.Future[Answer | None] = asyncio.get_running_loop().create_future()

        def settle(reply: asyncio.Future[Reply]) -> None:
            if not answer.done():
                answer.set_result(None if reply.exception() else Answer(time.monotonic(), reply.result().values()))

        self._client.submit(command).add_done_callback(settle)
        return answer

    async def ended(self) -> None:
        """Returns when the other side is gone and all its output was read."""
        await self._client.ended()

    async def close(self) -> None:
        await self._client.close()
