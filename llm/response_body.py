"""The body of an HTTP response, read in pieces of bounded size: however well it is compressed, or endless."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, suppress

import httpx

_PIECE = 65_536
_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS
_BARE_DEFLATE = -zlib.MAX_WBITS

ACCEPTED_ENCODINGS = "gzip, deflate"


class BodyError(Exception):
    """Why the rest of the body cannot be read, as the end of a sentence about the server."""


async def pieces(response: httpx.Response, most: int) -> AsyncGenerator[bytes, None]:
    """The decoded body of a streamed response. Raises BodyError, for one of more than `most` bytes, too."""
    encoding = response.headers.get("content-encoding", "").strip().lower()
    if encoding in ("", "identity"):
        inflate = None
    elif encoding in ("gzip", "x-gzip", "deflate"):
        inflate = _Inflating()
    else:
        raise BodyError("compressed its answer in a way that it was not asked for")
    size = 0
    async for compressed in response.aiter_raw():
        for piece in (compressed,) if inflate is None else inflate.pieces(compressed):
            size += len(piece)
            if size > most:
                raise BodyError(f"sent more than {most} bytes in one answer")
            yield piece
            if inflate is not None:
                await asyncio.sleep(0)  # a packed piece may unpack to a thousand: others have their turn meanwhile


async def whole(response: httpx.Response, most: int) -> bytes:
    """All of it at once. Raises BodyError."""
    body = bytearray()
    async with aclosing(pieces(response, most)) as parts:
        async for piece in parts:
            body += piece
    return bytes(body)


async def what_comes(response: httpx.Response, most: int, seconds: float) -> bytes:
    """As much as has come after so many seconds, or before the rest turned out to be lost, damaged or too much; a
    connection may stay open after a body without a length."""
    body = bytearray()
    with suppress(TimeoutError, httpx.TransportError, BodyError):  # words that came are a reason, whole or not
        async with asyncio.timeout(seconds), aclosing(pieces(response, most)) as parts:
            async for piece in parts:
                body += piece
    return bytes(body)


class _Inflating:
    """gzip, with any number of members, or deflate in either of its two forms."""

    def __init__(self) -> None:
        self._stream = zlib.decompressobj(_GZIP_OR_ZLIB)
        self._begun = False

    def pieces(self, compressed: bytes) -> Iterator[bytes]:
        while compressed:
            if self._stream.eof:
                self._stream = zlib.decompressobj(_GZIP_OR_ZLIB)
            yield self._step(compressed)
            compressed = self._stream.unused_data if self._stream.eof else self._stream.unconsumed_tail

    def _step(self, compressed: bytes) -> bytes:
        try:
            piece = self._stream.decompress(compressed, _PIECE)
        except zlib.error as error:
            if self._begun:
                raise BodyError("sent an answer whose compression is damaged") from error
            self._begun = True
            self._stream = zlib.decompressobj(_BARE_DEFLATE)
            return self._step(compressed)
        self._begun = True
        return piece
