"""Bodies of requests: bounded each, all together, and in time."""

from __future__ import annotations

import asyncio
from typing import TypeVar

import msgspec
from aiohttp import web

from web.errors import ApiError

MAX_BODY = 4 * 1024 * 1024
"""Bytes."""
MAX_TOGETHER = 64 * 1024 * 1024
"""Bytes of all bodies that are being read."""
_WITHIN_S = 30.0

T = TypeVar("T")


class Bodies:
    """Reads the bodies of a node's requests."""

    def __init__(self) -> None:
        self._reserved = 0

    async def read(self, request: web.Request) -> bytes:
        """Raises ApiError."""
        size = request.content_length
        reserved = MAX_BODY if size is None else size
        if reserved > MAX_BODY:
            raise ApiError(413, f"the body has {reserved} bytes; at most {MAX_BODY} are allowed")
        if not request.can_read_body:
            return b""
        if self._reserved + reserved > MAX_TOGETHER:
            raise ApiError(503, "busy, try again: too many large requests at a time", code="busy", retry=True)
        if request.content.is_eof():  # all of it is here, as mostly
            return await request.read()
        self._reserved += reserved
        try:
            async with asyncio.timeout(_WITHIN_S):
                return await request.read()
        except TimeoutError:
            raise ApiError(408, f"the body did not arrive within {_WITHIN_S:g} s") from None
        finally:
            self._reserved -= reserved

    async def decode(self, request: web.Request, kind: type[T]) -> T:
        """The body as a record of this kind; an empty one has no fields. Raises ApiError."""
        body = await self.read(request)
        try:
            return msgspec.json.decode(body or b"{}", type=kind)
        except msgspec.ValidationError as error:
            problem, _, path = str(error).rpartition(" - at `$")
            where = path.rstrip("`").removeprefix(".")
            raise ApiError(400, f"{where}: {problem}" if problem else str(error), param=where or None) from None
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise ApiError(400, f"the body is not valid JSON: {error}") from None
