"""An LLM's server that answers every request with the same bytes, HTTP and all, and a provider that asks it."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from itertools import product
from typing import Any

from llm.provider import Prompt, Provider, ProviderError, Reply
from llm.registry import preload
from tests.fuzz.loop import Loop
from tests.unit.llm.llm_tools import question

KEY = "sk-VerySecretKey0123456789"
_MOST_REQUESTS = 20
_MOST_REASON = 1500
_LENGTH = re.compile(rb"content-length: *([0-9]+)", re.IGNORECASE)


class Server:
    """And its client. `port` is where it listens."""

    def __init__(self) -> None:
        self.response = b""
        self.requests = 0
        self.port = 0
        self.provider: Provider

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = _LENGTH.search(head)
            await reader.readexactly(int(length[1]) if length else 0)
            self.requests += 1
            writer.write(self.response)
            await writer.drain()
            writer.write_eof()
        except (OSError, asyncio.IncompleteReadError):
            pass  # the client has heard enough
        finally:
            writer.close()


def loop_for(provider: str, make: Callable[[str], Provider]) -> Loop[Server]:
    """`make` gets the server's address. What the provider imports is imported now: it is not the first input's time."""
    preload(provider)

    @asynccontextmanager
    async def opened() -> AsyncIterator[Server]:
        server = Server()
        async with await asyncio.start_server(server.serve, "127.0.0.1", 0) as listening:
            server.port = listening.sockets[0].getsockname()[1]
            server.provider = make(f"http://127.0.0.1:{server.port}")
            try:
                yield server
            finally:
                await server.provider.close()

    return Loop(opened)


def asking(data: bytes, *prompts: Prompt) -> Callable[[Server], Coroutine[Any, Any, None]]:
    """These questions, or one, answered with these bytes; and again, streamed."""

    async def attempt(server: Server) -> None:
        server.response = data
        for prompt, on_progress in product(prompts or (question("hi"),), (None, _check_draft)):
            server.requests = 0
            try:
                _check_reply(await server.provider.ask(prompt, on_progress))
            except ProviderError as error:
                assert error.reason.strip() and len(error.reason) < _MOST_REASON, error.reason
                assert KEY not in error.reason, "the key is in the reason"
                assert error.retry_after_s is None or error.retry_after_s >= 0
            assert server.requests <= _MOST_REQUESTS

    return attempt


def _check_draft(pieces: int, text: Callable[[], str] = str) -> None:
    assert KEY not in text(), "the key is in an answer that is being written"


def _check_reply(reply: Reply) -> None:
    """Whether it is blank is for the scheduler to say."""
    assert KEY not in reply.text + reply.thoughts, "the key is in the answer"
    assert len(reply.text) < 1_000_000
    for count in (reply.tokens_in, reply.tokens_out):
        assert count is None or 0 <= count < 2**63


def http(body: bytes, content_type: str = "application/json", status: str = "200 OK", more: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\n{more}\r\n".encode() + body


def variants(body: bytes, content_type: str) -> list[bytes]:
    """The same body in other framings."""
    half = len(body) // 2
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:half], body[half:]))
    return [
        http(body, content_type), http(chunks + b"0\r\n\r\n", content_type, more="transfer-encoding: chunked\r\n"),
        http(gzip.compress(body, mtime=0), content_type, more="content-encoding: gzip\r\n"),
        http(body, content_type, more=f"content-length: {len(body)}\r\n"),
    ]


def events(*chunks: object, done: bytes = b"") -> bytes:
    return b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks) + done


def refusals() -> list[bytes]:
    """Such as any server may send."""
    bomb = gzip.compress(bytes(30_000_000), mtime=0)
    return [
        http(json.dumps({"error": {"code": 400, "message": f"bad key {KEY}", "status": "X"}}).encode(), status="400 X"),
        http(b'{"error":{"message":"slow down","code":429}}', status="429 X", more="retry-after: 7\r\n"),
        http(b'{"detail":[{"loc":["body","seed"],"msg":"extra fields not permitted"}]}', status="422 X"),
        http(b"<html><title>502 Bad Gateway</title></html>", "text/html", "502 Bad Gateway"),
        http(b"", status="301 Moved", more=f"location: http://x/?key={KEY}\r\n"), http(b"", status="204 No Content"),
        http(bomb, more="content-encoding: gzip\r\n"), b"SSH-2.0-OpenSSH\r\n", http(b"[" * 50_000),
    ]
