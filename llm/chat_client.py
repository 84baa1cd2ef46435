"""A client for OpenAI-compatible chat completion servers."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import httpx

from llm.body_parser import Kind, Part
from llm.chat_protocol import CUT_OFF, FAILED, Chunk, Completion, read
from llm.complaints import complaint
from llm.http_client import HttpClient, following
from llm.post import Post
from llm.provider import Progress, ProviderError
from llm.server_address import server_address, written_forms

_MAX_CHARS = 400_000
"""No answer is read beyond this; how long a valid one may be is for the scheduler to say."""
_HEADERS = {"Content-Type": "application/json"}
_NO_KEY = " (none was sent: api_key or api_key_env says which)"


class ChatClient:
    """A server. `who` names it in reasons; otherwise its address does, without what may be secret in it. All methods
    raise ProviderError."""

    def __init__(self, who: str | None, base_url: str, key: str | None) -> None:
        address = server_address(base_url)
        self.who = who or address.shown
        keys = () if key is None else tuple(written_forms(key))
        self.private = (*keys, *address.private)
        """What reasons do not show."""
        self._address = address
        self._client = HttpClient(
            self.who, address, keys, {} if key is None else {"Authorization": f"Bearer {key}"},
            None if key is not None or address.user is None else httpx.BasicAuth(*address.user),
            key_hint="" if key is not None or address.user is not None else _NO_KEY,
        )

    async def complete(
        self, body: dict[str, Any], on_progress: Progress | None = None, *, until: float
    ) -> Completion:
        """One completion. Once a piece of it has come, the rest is cut off when time.monotonic() reaches `until`, as
        by a token limit. This, or cancelling it, closes the stream: a good server then stops generating."""
        completion = Completion()
        async with aclosing(self._chunks(body)) as chunks:
            try:
                while (chunk := await _next(chunks, completion, until)) is not None:
                    before = completion.pieces
                    completion.add(chunk)
                    if on_progress is not None and completion.pieces > before:
                        on_progress(completion.pieces, lambda: self._client.beginning_without_secrets(completion.text))
                    if completion.size > _MAX_CHARS:
                        completion.finish_reason = completion.finish_reason or CUT_OFF
                        return completion
            except TimeoutError:
                completion.finish_reason, completion.late = CUT_OFF, True
                return completion
        if completion.finish_reason == FAILED:
            raise ProviderError(f"{self.who} broke off in the middle of the answer", retryable=True)
        if not completion.ended:
            raise ProviderError(f"the connection to {self.who} broke in the middle of the answer", retryable=True)
        return completion

    async def post(self, path: str, body: dict[str, Any]) -> bytes:
        """The server's response to a plain request."""
        return await self._client.whole(self._post(path, body))

    def without_secrets(self, answer: str) -> str:
        return self._client.without_secrets(answer)

    async def close(self) -> None:
        await self._client.close()

    def _post(self, path: str, body: dict[str, Any]) -> Post:
        query = f"?{self._address.query}" if self._address.query else ""
        content = json.dumps(body, ensure_ascii=False).encode(errors="replace")
        return Post(f"{self._address.url}/{path}{query}", content, _HEADERS)

    async def _chunks(self, body: dict[str, Any]) -> AsyncGenerator[Chunk, None]:
        is_part = False
        async with aclosing(self._client.parts(self._post("chat/completions", body))) as parts:
            async for part in parts:
                if part.kind is Kind.CLOSED and is_part:
                    continue
                chunk = self._chunk(part)
                is_part = is_part or chunk.is_part
                del part  # while the next one is awaited
                yield chunk

    def _chunk(self, part: Part) -> Chunk:
        if part.kind is not Kind.VALUE:
            return Chunk(last=True)
        first = part.value[0] if isinstance(part.value, list) and part.value else part.value
        if not isinstance(first, dict):
            raise self._client.no_answer(json.dumps(part.value))
        chunk = read(first)
        if chunk.error is not None:
            raise self._client.failure(complaint(chunk.error))
        return chunk


async def _next(chunks: AsyncGenerator[Chunk, None], completion: Completion, until: float) -> Chunk | None:
    return await following(chunks, is_over=completion.is_over, until=until if completion.pieces else None)
