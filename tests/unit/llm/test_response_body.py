"""Bodies of responses are read in bounded pieces, compressed or not."""

from __future__ import annotations

import asyncio
import gzip
import tracemalloc
import zlib
from collections.abc import AsyncIterator

import httpx
import pytest

from llm.response_body import BodyError, whole

TEXT = b"The Nile. " * 500


class _Pieces(httpx.AsyncByteStream):
    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece


def read(pieces: list[bytes], encoding: str = "", most: int = 100_000) -> bytes:
    headers = {"content-encoding": encoding} if encoding else {}
    return asyncio.run(whole(httpx.Response(200, headers=headers, stream=_Pieces(pieces)), most))


def bare_deflate(text: bytes) -> bytes:
    packing = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packing.compress(text) + packing.flush()


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("", TEXT), ("identity", TEXT), ("gzip", gzip.compress(TEXT)), ("X-GZip", gzip.compress(TEXT)),
        ("gzip", gzip.compress(TEXT[:100]) + gzip.compress(TEXT[100:])), ("deflate", zlib.compress(TEXT)),
        ("deflate", bare_deflate(TEXT)),
    ],
    ids=["none", "identity", "gzip", "x-gzip", "gzip in two", "deflate", "bare deflate"],
)
def test_every_encoding_that_was_offered(encoding: str, body: bytes) -> None:
    assert read([body], encoding) == TEXT
    assert read([body[:10], body[10:11], body[11:]], encoding) == TEXT


def test_what_cannot_be_read_is_said() -> None:
    with pytest.raises(BodyError, match="in a way that it was not asked for"):
        read([TEXT], "br")
    with pytest.raises(BodyError, match="damaged"):
        read([TEXT], "gzip")
    with pytest.raises(BodyError, match="more than 100 bytes"):
        read([TEXT], most=100)


def test_a_bomb_is_given_up_early() -> None:
    bomb = gzip.compress(b"\0" * 200_000_000, compresslevel=1)
    tracemalloc.start()
    with pytest.raises(BodyError, match="more than 1000000 bytes"):
        read([bomb], "gzip", 1_000_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < len(bomb) + 10_000_000
