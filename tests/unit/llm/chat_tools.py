"""A provider `openai` whose server is a function: no sockets, so that hundreds of answers take a second."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any, Literal, NamedTuple

import httpx

from config.llm_settings import LlmSettings
from llm.provider import Prompt, Reply
from llm.providers.openai import OpenAIProvider
from tests.unit.llm.llm_tools import question

URL = "http://127.0.0.1:9/v1"


class Response(NamedTuple):
    """What the server says, in pieces."""

    status: int = 200
    pieces: tuple[bytes, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    then: Literal["close", "hold", "break"] = "close"
    """What becomes of the connection afterwards."""


class _Stream(httpx.AsyncByteStream):
    def __init__(self, response: Response) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._response.pieces:
            yield piece
        if self._response.then == "hold":
            await asyncio.Event().wait()
        if self._response.then == "break":
            raise httpx.RemoteProtocolError("peer closed connection")


def said(body: object, status: int = 200) -> Response:
    return Response(status, (json.dumps(body).encode(),))


def stream(*chunks: object, done: bool = True) -> Response:
    events = [b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks]
    return Response(200, (*events, *([b"data: [DONE]\n\n"] if done else [])))


def whole(text: object, finish: object = "stop") -> Response:
    return said({"choices": [{"message": {"content": text}, "finish_reason": finish}]})


def as_httpx(response: Response) -> httpx.Response:
    return httpx.Response(response.status, headers=list(response.headers), stream=_Stream(response))


class Chat:
    """A provider and what its server was asked."""

    def __init__(self, server: Callable[[dict[str, Any]], Response], **settings: Any) -> None:
        self.asked: list[dict[str, Any]] = []
        self.headers: list[httpx.Headers] = []
        self.urls: list[str] = []
        self._server = server
        self.provider = OpenAIProvider(self.settings(**settings), 1)

    @staticmethod
    def settings(**settings: Any) -> LlmSettings:
        return LlmSettings(**{"provider": "openai", "model": "m", "base_url": URL, **settings})

    def ask(self, *prompts: Prompt) -> list[Reply]:
        async def main() -> list[Reply]:
            client = self.provider._client._client
            before, client._http = client._http, httpx.AsyncClient(
                headers=client._http.headers, auth=client._http.auth, transport=httpx.MockTransport(self._handle)
            )
            try:
                return [await self.provider.ask(prompt) for prompt in prompts]
            finally:
                await client.close()
                client._http = before

        return asyncio.run(main())

    def one(self, prompt: Prompt | None = None) -> Reply:
        return self.ask(prompt or question("hi"))[0]

    def _handle(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(json.loads(request.content))
        self.headers.append(request.headers)
        self.urls.append(str(request.url))
        return as_httpx(self._server(self.asked[-1]))
