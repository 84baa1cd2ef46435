"""A client for OpenAI-compatible chat completion servers: streams, maps every failure to a reason in plain words."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from typing import Any

import httpx

from llm import response_body, retry_after
from llm.body_parser import BodyParser, Kind, Part, decoded
from llm.chat_protocol import CUT_OFF, FAILED, Chunk, Completion, read
from llm.complaints import Complaint, complaint, complaint_of_text
from llm.event_stream import EventTooLarge
from llm.provider import Progress, ProviderError
from llm.response_body import BodyError
from llm.server_address import server_address, written_forms
from llm.wording import plain, said_by_page

_CONNECT_S = 10.0
_MAX_CHARS = 400_000
"""No answer is read beyond this; how long a valid one may be is for the scheduler to say."""
_MAX_EVENT = 2_000_000
"""Bytes of one event, or of an answer that comes as a whole: decoded, it may take twenty times as much."""
_MAX_BODY = 64_000_000
"""Bytes of a stream; each token comes with some hundred bytes around it."""
_MAX_REFUSAL = 200_000
_AT_A_TIME = 100
"""Parts of an answer that are taken in before whatever else waits has its turn: a small packed body holds millions."""
_AFTER_END_S = 2.0
"""How long a server may take to close what it says is over."""

_PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")
_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR")


class Refused(ProviderError):
    """The server refused or failed, and said what its `complaint` is."""

    def __init__(
        self, reason: str, complaint: Complaint, *, retryable: bool, retry_after_s: float | None = None
    ) -> None:
        super().__init__(reason, retryable=retryable, retry_after_s=retry_after_s)
        self.complaint = complaint


class ChatClient:
    """A pool of connections to one server. `who` names it in reasons; otherwise its address does, without what may be
    secret in it. All methods raise ProviderError."""

    def __init__(self, who: str | None, base_url: str, key: str | None) -> None:
        address = server_address(base_url)
        self.who = who or address.shown
        self._has_key = key is not None or address.user is not None
        keys = () if key is None else written_forms(key)
        self.secrets = (*keys, *address.secrets)
        self._address = address
        with self._environment_errors():
            # No proxy reaches this machine's loopback, whatever the environment says of proxies.
            self._http = httpx.AsyncClient(
                headers={"Accept-Encoding": response_body.ACCEPTED_ENCODINGS}
                | ({} if key is None else {"Authorization": f"Bearer {key}"}),
                auth=None if key is not None or address.user is None else httpx.BasicAuth(*address.user),
                timeout=httpx.Timeout(None, connect=_CONNECT_S),  # the caller bounds the whole request
                # Some servers close the connection after a stream despite their promise; a new connection is cheap
                # compared with an answer.
                limits=httpx.Limits(max_keepalive_connections=0),
                trust_env=not address.is_loopback,
                verify=httpx.create_ssl_context() if address.url.startswith("https:") else False,
            )
            self._http.headers.setdefault("User-Agent", "consensusllm")

    async def complete(
        self, body: dict[str, Any], on_progress: Progress | None = None, *, stop_after_s: float | None = None
    ) -> Completion:
        """One completion. Cancelling it, or reaching `stop_after_s` with a partial answer (then cut
        off, as by a token limit), closes the stream: a good server then stops generating."""
        began = time.monotonic()
        completion = Completion()
        async with aclosing(self._chunks(body)) as chunks:
            while (chunk := await self._next(chunks, completion)) is not None:
                before = completion.pieces
                completion.add(chunk)
                if on_progress is not None and completion.pieces > before:
                    on_progress(completion.pieces)
                completion.late = stop_after_s is not None and time.monotonic() - began > stop_after_s
                if completion.size > _MAX_CHARS or (completion.late and completion.has_text):
                    completion.finish_reason = completion.finish_reason or CUT_OFF
                    return completion
        if completion.finish_reason == FAILED:
            raise ProviderError(f"{self.who} broke off in the middle of the answer", retryable=True)
        if not completion.ended:
            raise ProviderError(f"the connection to {self.who} broke in the middle of the answer", retryable=True)
        return completion

    async def _next(self, chunks: AsyncGenerator[Chunk, None], completion: Completion) -> Chunk | None:
        """The next chunk; None if there is none. Once all is said, nothing that goes wrong can take it back."""
        if not completion.is_over:
            return await anext(chunks, None)
        try:
            async with asyncio.timeout(_AFTER_END_S):
                return await anext(chunks, None)
        except (TimeoutError, ProviderError):
            return None

    async def post(self, path: str, body: dict[str, Any]) -> bytes:
        """The server's response to a plain request."""
        with self._plain_errors():
            async with self._http.stream("POST", self._url(path), json=body) as response:
                await self._check(response)
                return await response_body.whole(response, _MAX_EVENT)

    async def close(self) -> None:
        await self._http.aclose()

    def _url(self, path: str) -> str:
        query = f"?{self._address.query}" if self._address.query else ""
        return f"{self._address.url}/{path}{query}"

    async def _chunks(self, body: dict[str, Any]) -> AsyncGenerator[Chunk, None]:
        begun = is_part = False
        with self._plain_errors():
            async with self._http.stream("POST", self._url("chat/completions"), json=body) as response:
                await self._check(response)
                parser = BodyParser(_MAX_EVENT, response.charset_encoding)
                async with aclosing(_parts(parser, response)) as parts:
                    async for part in parts:
                        if part.kind is Kind.CLOSED and is_part:
                            continue
                        chunk = self._chunk(part)
                        begun, is_part = True, is_part or chunk.is_part
                        yield chunk
                if not begun:
                    raise self._no_completion(decoded(parser.head))

    def _chunk(self, part: Part) -> Chunk:
        value = part.value
        match part.kind:
            case Kind.DONE | Kind.CLOSED:
                return Chunk(last=True)
            case Kind.PAGE:
                title = self._clean(said_by_page(value))
                raise ProviderError(
                    f"{self.who} sent a web page instead of an answer{f' ({title})' if title else ''}: is the base_url "
                    "right? Many end in /v1"
                )
            case Kind.FAILURE:
                raise self._failure(complaint_of_text(value) if isinstance(value, str) else complaint(value))
            case Kind.TEXT:
                raise self._no_completion(value)
        first = value[0] if isinstance(value, list) and value else value
        if not isinstance(first, dict):
            raise self._no_completion(json.dumps(value))
        chunk = read(first)
        if chunk.error is not None:
            raise self._failure(complaint(chunk.error))
        return chunk

    def _no_completion(self, text: str) -> ProviderError:
        if not text.strip():
            return ProviderError(f"{self.who} sent an empty response", retryable=True)
        said = self._clean(text)
        return ProviderError(f"{self.who} sent something that is not a chat completion: {said}", retryable=True)

    def _failure(self, said: Complaint) -> Refused:
        """An error within an answer that began well."""
        reason = self._clean(said.said) or "without a reason"
        return Refused(
            f"{self.who} failed: {reason}", said, retryable=said.is_passing,
            retry_after_s=retry_after.from_words(said.said) if said.is_passing else None,
        )

    async def _check(self, response: httpx.Response) -> None:
        if response.is_success:
            return
        try:
            body = await response_body.whole(response, _MAX_REFUSAL)
        except BodyError:
            body = b""
        said = complaint_of_text(body.decode("utf-8-sig", "replace"), response.status_code)
        raise self._refusal(response, said)

    def _refusal(self, response: httpx.Response, complaint: Complaint) -> Refused:
        status = response.status_code
        said = self._clean(complaint.said)
        said = f": {said}" if said else ""
        retryable = complaint.is_passing
        after = retry_after.from_headers(response.headers) if retryable else None
        if retryable and after is None:
            after = retry_after.from_words(complaint.said)
        match status:
            case 401 | 403 | 407:
                hint = "" if self._has_key else " (none was sent: api_key or api_key_env says which)"
                reason = f"{self.who} does not accept the API key{hint}{said}"
            case 404:
                reason = f"{self.who} does not know this model or address{said}"
            case 429:
                when = "" if after is None or after < 1 else f" (retry in {after:.0f} s)"
                reason = f"the quota of {self.who} is exhausted{said}{when}"
            case 408 | 409 | 425:
                reason = f"{self.who} cannot answer now (HTTP {status}){said}"
            case _ if 300 <= status < 400:
                there = self._clean(response.headers.get("location", "").partition("?")[0])
                where = f" to {there}" if there else ""
                reason = f"{self.who} redirects requests{where} (HTTP {status}): set base_url to that"
            case _ if status >= 500:
                reason = f"{self.who} is failing (HTTP {status}){said}"
            case _:
                reason = f"{self.who} refused the request (HTTP {status}){said}"
        return Refused(reason, complaint, retryable=retryable, retry_after_s=after)

    @contextmanager
    def _plain_errors(self) -> Iterator[None]:
        try:
            yield
        except httpx.ConnectTimeout as error:
            raise ProviderError(f"{self.who} cannot be reached: the connection timed out", retryable=True) from error
        except httpx.ProxyError as error:
            raise ProviderError(f"the proxy{_named(_PROXIES)} refuses: {self._clean(str(error))}") from error
        except httpx.ConnectError as error:
            said = self._clean(str(error))
            by_proxy = "" if self._address.is_loopback else _named(_PROXIES)
            if "CERTIFICATE" in said.upper():
                hint = f"its certificate is not trusted{_named(_CERTIFICATES) or '; SSL_CERT_FILE names others'}"
                raise ProviderError(f"{self.who} cannot be reached: {hint}: {said}") from error
            raise ProviderError(f"{self.who} cannot be reached{by_proxy}: {said}", retryable=True) from error
        except httpx.TransportError as error:
            raise ProviderError(f"the connection to {self.who} broke", retryable=True) from error
        except EventTooLarge as error:
            raise ProviderError(f"{self.who} sent more than {_MAX_EVENT} bytes at once") from error
        except BodyError as error:
            raise ProviderError(f"{self.who} {error}") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ProviderError(f"{self.who} sent an invalid response: {self._clean(str(error))}") from error

    @contextmanager
    def _environment_errors(self) -> Iterator[None]:
        """What httpx takes from the environment may make no sense; then it is named."""
        try:
            yield
        except httpx.InvalidURL as error:
            raise ProviderError(f"the base_url{_named(_PROXIES)} is invalid: {self._clean(str(error))}") from error
        except (ValueError, ImportError, OSError) as error:
            given = _named((*_PROXIES, *_CERTIFICATES))
            raise ProviderError(f"cannot connect with these settings{given}: {self._clean(str(error))}") from error

    def _clean(self, text: str) -> str:
        return plain(text, *self.secrets)


async def _parts(parser: BodyParser, response: httpx.Response) -> AsyncGenerator[Part, None]:
    """What a body says, a part at a time."""
    count = 0
    async with aclosing(response_body.pieces(response, _MAX_BODY)) as pieces:
        async for piece in pieces:
            for part in parser.feed(piece):
                yield part
                count += 1
                if count % _AT_A_TIME == 0:
                    await asyncio.sleep(0)
    for part in parser.end():
        yield part


def _named(variables: tuple[str, ...]) -> str:
    """Those of these environment variables that are set, for a sentence."""
    found = [name for upper in variables for name in (upper, upper.lower()) if os.environ.get(name)]
    return f" ({', '.join(found)} is set)" if found else ""
