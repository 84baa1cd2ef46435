"""A client for OpenAI-compatible chat completion servers: streams, maps every failure to a reason in plain words."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import msgspec

from llm.chat_protocol import Chunk, Completion, message_of
from llm.provider import Progress, ProviderError
from llm.wording import plain

_CONNECT_S = 10.0
_MAX_CHARS = 1_000_000
"""No answer is read beyond this; how long a valid one may be is for the scheduler to say."""


_chunk_decoder = msgspec.json.Decoder(Chunk)


class ChatClient:
    """A pool of connections to one server. `who` names it in reasons. All methods raise ProviderError."""

    def __init__(self, who: str, base_url: str, key: str | None, *, use_proxies: bool = True) -> None:
        if not base_url.startswith(("http://", "https://")):
            raise ProviderError(f"the base_url must begin with http:// or https://, not {base_url!r}")
        self._who = who
        self._key = key
        try:
            self._http = httpx.AsyncClient(
                base_url=base_url.rstrip("/") + "/",
                headers={} if key is None else {"Authorization": f"Bearer {key}"},
                timeout=httpx.Timeout(None, connect=_CONNECT_S),  # the caller bounds the whole request
                # Some servers close the connection after a stream despite their promise; a new connection is cheap
                # compared with an answer.
                limits=httpx.Limits(max_keepalive_connections=0),
                trust_env=use_proxies,
            )
        except httpx.InvalidURL as error:
            raise ProviderError(f"the base_url {base_url!r} is invalid: {error}") from error

    async def complete(
        self, body: dict[str, Any], on_progress: Progress | None = None, *, stop_after_s: float | None = None
    ) -> Completion:
        """One completion. Cancelling it, or reaching `stop_after_s` with a partial answer (then cut
        off, as by a token limit), closes the stream: a good server then stops generating."""
        began = time.monotonic()
        completion = Completion()
        async with aclosing(self._chunks(body)) as chunks:
            async for chunk in chunks:
                before = completion.pieces
                completion.add(chunk)
                if on_progress is not None and completion.pieces > before:
                    on_progress(completion.pieces)
                late = stop_after_s is not None and time.monotonic() - began > stop_after_s
                if completion.text and (late or len(completion.text) > _MAX_CHARS):
                    completion.finish_reason = completion.finish_reason or "length"
                    return completion
        if not completion.ended:
            raise ProviderError(f"the connection to {self._who} broke in the middle of the answer", retryable=True)
        return completion

    async def post(self, path: str, body: dict[str, Any]) -> bytes:
        """The server's response to a plain request."""
        with self._plain_errors():
            response = await self._http.post(path, json=body)
            await self._check(response)
            return response.content

    async def close(self) -> None:
        await self._http.aclose()

    async def _chunks(self, body: dict[str, Any]) -> AsyncGenerator[Chunk, None]:
        body = {"stream": True, "stream_options": {"include_usage": True}, **body}
        with self._plain_errors():
            async with self._http.stream("POST", "chat/completions", json=body) as response:
                await self._check(response)
                if response.headers.get("content-type", "").startswith("application/json"):
                    yield self._decoded(await response.aread())
                    yield Chunk(last=True)
                    return
                async for line in response.aiter_lines():
                    field, _, data = line.partition(":")
                    if field == "data" and data.strip() == "[DONE]":
                        yield Chunk(last=True)
                    elif field in ("data", "error") and data.strip():
                        yield self._decoded(data.encode(errors="replace"))

    def _decoded(self, data: bytes) -> Chunk:
        try:
            chunk = _chunk_decoder.decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise ProviderError(f"{self._who} sent something that is not a chat completion", retryable=True) from error
        if chunk.error is not None:
            raise ProviderError(f"{self._who} failed: {self._clean(message_of(chunk.error))}", retryable=True)
        return chunk

    async def _check(self, response: httpx.Response) -> None:
        if response.is_success:
            return
        body = await response.aread()
        try:
            said = message_of(msgspec.json.decode(body))
        except (msgspec.MsgspecError, UnicodeDecodeError):
            said = body.decode(errors="replace")
        raise self._refusal(response.status_code, self._clean(said), response.headers.get("retry-after"))

    def _refusal(self, status: int, said: str, retry_after: str | None) -> ProviderError:
        said = f": {said}" if said else ""
        match status:
            case 401 | 403:
                return ProviderError(f"{self._who} does not accept the API key{said}")
            case 404:
                return ProviderError(f"{self._who} does not know this model or address{said}")
            case 429:
                lasting = "insufficient_quota" in said or "current quota" in said
                return ProviderError(
                    f"the quota of {self._who} is exhausted{said}",
                    retryable=not lasting,
                    retry_after_s=_seconds(retry_after),
                )
            case 408 | 409 | 425:
                return ProviderError(f"{self._who} cannot answer now (HTTP {status}){said}", retryable=True)
            case _ if status >= 500:
                return ProviderError(
                    f"{self._who} is failing (HTTP {status}){said}", retryable=True, retry_after_s=_seconds(retry_after)
                )
            case _:
                return ProviderError(f"{self._who} refused the request (HTTP {status}){said}")

    @contextmanager
    def _plain_errors(self) -> Iterator[None]:
        try:
            yield
        except httpx.ConnectTimeout as error:
            raise ProviderError(f"{self._who} cannot be reached: the connection timed out", retryable=True) from error
        except httpx.ConnectError as error:
            said = self._clean(str(error))
            raise ProviderError(f"{self._who} cannot be reached: {said}", retryable=True) from error
        except httpx.TransportError as error:
            raise ProviderError(f"the connection to {self._who} broke", retryable=True) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ProviderError(f"{self._who} sent an invalid response: {self._clean(str(error))}") from error

    def _clean(self, text: str) -> str:
        return plain(text, self._key)


def _seconds(retry_after: str | None) -> float | None:
    """Seconds from now, by a Retry-After header: a number of seconds, or a date."""
    if retry_after is None:
        return None
    if retry_after.isdecimal():
        return float(retry_after)
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    except ValueError:
        return None
