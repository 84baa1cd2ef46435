"""Streams of server-sent events, which end in words."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable

from aiohttp import web

from web.errors import ApiError
from web.guard import stream_headers

PULSE_S = 15.0
MAX_STREAMS = 2000
"""At a time, at a node."""
TAKEN_WITHIN_S = 60.0
"""A client that has not taken what was sent by then is let go: it may come again, and go on where it was."""


class _Stream(web.StreamResponse):
    """Nothing that is written to it waits for ever."""

    def __init__(self, request: web.Request, headers: dict[str, str]) -> None:
        super().__init__(headers=headers)
        self._request = request

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        """Raises ConnectionError if the client has gone, or does not read."""
        await self._in_time(super().write(data))

    async def write_eof(self, data: bytes = b"") -> None:
        """As `write`."""
        await self._in_time(super().write_eof(data))

    async def _in_time(self, writing: Awaitable[None]) -> None:
        try:
            async with asyncio.timeout(TAKEN_WITHIN_S):
                await writing
        except TimeoutError:
            if self._request.transport is not None:
                self._request.transport.abort()
            raise ConnectionResetError("the client does not read") from None


class Streams:
    """Counts the streams of a process, of which there may be so many."""

    def __init__(self, most: int | None = None) -> None:
        self.open = 0
        self._most = most

    async def begin(self, request: web.Request, headers: dict[str, str] | None = None) -> web.StreamResponse:
        """The client gets a stream. Raises ApiError if there are too many already; `end` is to be called."""
        most = self._most or MAX_STREAMS
        if self.open >= most:
            words = f"{most} streams are open here already: try again later, or at another node"
            raise ApiError(429, words, code="too_many")
        response = _Stream(request, headers={
            **stream_headers(request), **(headers or {}), "Content-Type": "text/event-stream; charset=utf-8",
            "X-Accel-Buffering": "no",
        })
        self.open += 1
        try:
            await response.prepare(request)
        except BaseException:
            self.open -= 1
            raise
        return response

    async def end(self, response: web.StreamResponse, last: bytes = b"") -> None:
        self.open -= 1
        with contextlib.suppress(ConnectionError):  # the client has gone
            if last:
                await response.write(last)
            await response.write_eof()


class Pulse:
    """Within it, a comment is sent every PULSE_S, so that nobody in between takes a quiet stream for a lost one."""

    def __init__(self, response: web.StreamResponse) -> None:
        self._response = response
        self._beating: asyncio.Task[None] | None = None

    async def __aenter__(self) -> None:
        self._beating = asyncio.create_task(self._beat())

    async def __aexit__(self, *_: object) -> None:
        assert self._beating is not None
        self._beating.cancel()
        await asyncio.wait([self._beating])

    async def _beat(self) -> None:
        with contextlib.suppress(ConnectionError):  # the client has gone, as whoever writes next will notice
            while True:
                await asyncio.sleep(PULSE_S)
                await self._response.write(b": working\n\n")
