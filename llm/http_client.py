"""Asks an LLM's server over HTTP: what it says comes in bounded parts, and every failure as a reason in plain words."""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing, contextmanager
from typing import TypeVar

import httpx

from llm import response_body, retry_after
from llm.body_parser import BodyParser, Kind, Part, decoded
from llm.complaints import Complaint, Refused, complaint, complaint_of_text
from llm.environment import BUNDLES, CERTIFICATES, PROXIES, named
from llm.event_stream import EventTooLarge
from llm.post import Post
from llm.provider import ProviderError
from llm.response_body import BodyError
from llm.server_address import ServerAddress
from llm.unfinished import without_beginnings
from llm.wording import plain, said_by_page

T = TypeVar("T")

_CONNECT_S = 10.0
_MAX_BODY = 64_000_000
"""Bytes of a stream; each token comes with some hundred bytes around it."""
_MAX_REFUSAL = 200_000
_REFUSAL_S = 3.0
"""How long the words of a refusal may take after its status."""
_MOST_UNFINISHED = 48_000_000
"""Bytes of values without an end yet, in all answers on their way together."""
_LONG_SECRET = 8
"""Characters; shorter ones may be words of an answer."""
_AT_A_TIME = 20
"""Parts of an answer that are taken in before whatever else waits has its turn: a small packed body holds millions."""
_AFTER_END_S = 2.0
"""How long a server may take to close what it says is over."""


class HttpClient:
    """A pool of connections to one server. `who` names it in reasons. `max_value`: bytes of one event, or of an answer
    that comes as a whole; decoded, it may take twenty times as much. `keys` are shown nowhere, nor are the secrets of
    the address. `key_hint` follows the word that the key is not accepted. All methods raise ProviderError."""

    def __init__(
        self, who: str, address: ServerAddress, keys: tuple[str, ...], headers: Mapping[str, str],
        auth: httpx.Auth | None = None, *, key_hint: str = "", max_value: int = 2_000_000,
    ) -> None:
        self._who = who
        self._key_hint = key_hint
        self._secrets = (*keys, *address.secrets)
        self._private = (*keys, *address.private)
        self._address = address
        self._max_value = max_value
        with self._environment_errors():
            # No proxy reaches this machine's loopback, whatever the environment says of proxies.
            self._http = httpx.AsyncClient(
                headers={"Accept-Encoding": response_body.ACCEPTED_ENCODINGS, **headers}, auth=auth,
                timeout=httpx.Timeout(None, connect=_CONNECT_S),  # the caller bounds the whole request
                # Some servers close the connection after a stream despite their promise; a new connection is cheap
                # compared with an answer.
                limits=httpx.Limits(max_keepalive_connections=0),
                trust_env=not address.is_this_machine,
                verify=_tls() if address.url.startswith("https:") else False,
            )
            self._http.headers.setdefault("User-Agent", "consensusllm")

    async def parts(self, post: Post) -> AsyncGenerator[Part, None]:
        """What the server answers, without failures: those are raised, Refused if it said why."""
        begun = False
        with self._plain_errors():
            async with self._http.stream("POST", post.url, content=post.content, headers=post.headers) as response:
                await self._check(response)
                parser = BodyParser(self._max_value, response.charset_encoding)
                async with aclosing(_parts(parser, response)) as parts:
                    async for part in parts:
                        self._raise_if_failed(part)
                        begun = True
                        yield part
                        del part  # while the next one is awaited
                if not begun:
                    raise self.no_answer(decoded(parser.head))

    async def whole(self, post: Post) -> bytes:
        """The server's response to a plain request."""
        with self._plain_errors():
            async with self._http.stream("POST", post.url, content=post.content, headers=post.headers) as response:
                await self._check(response)
                return await response_body.whole(response, self._max_value)

    async def close(self) -> None:
        await self._http.aclose()

    def clean(self, text: str) -> str:
        """As a reason may have it."""
        return plain(text, *self._private)

    def without_secrets(self, answer: str) -> str:
        """A server may repeat what it was sent; an answer goes to all nodes, and to their disks."""
        for secret in self._secrets:
            if len(secret) >= _LONG_SECRET:
                answer = answer.replace(secret, "***")
        return answer

    def beginning_without_secrets(self, answer: str) -> str:
        """Of an answer that may go on: nor does it end in the middle of a secret."""
        return without_beginnings(self.without_secrets(answer), self._secrets)

    def failure(self, said: Complaint) -> Refused:
        """An error within an answer that began well."""
        reason = self.clean(said.said) or "without a reason"
        return Refused(
            f"{self._who} failed: {reason}", said, retryable=said.is_passing,
            retry_after_s=retry_after.from_words(said.said) if said.is_passing else None,
        )

    def no_answer(self, text: str) -> ProviderError:
        """`text` is what came in place of an answer."""
        if not text.strip():
            return ProviderError(f"{self._who} sent an empty response", retryable=True)
        return ProviderError(f"{self._who} sent something that is not an answer: {self.clean(text)}", retryable=True)

    def _raise_if_failed(self, part: Part) -> None:
        value = part.value
        if part.kind is Kind.PAGE:
            title = self.clean(said_by_page(value))
            raise ProviderError(
                f"{self._who} sent a web page instead of an answer{f' ({title})' if title else ''}: is the base_url "
                "right? Many end in /v1"
            )
        if part.kind is Kind.FAILURE:
            raise self.failure(complaint_of_text(value) if isinstance(value, str) else complaint(value))
        if part.kind is Kind.TEXT:
            if not value.strip():
                raise ProviderError(f"the connection to {self._who} broke in the middle of the answer", retryable=True)
            raise self.no_answer(value)

    async def _check(self, response: httpx.Response) -> None:
        if response.is_success:
            return
        body = await response_body.what_comes(response, _MAX_REFUSAL, _REFUSAL_S)
        status, headers = response.status_code, response.headers
        said = complaint_of_text(decoded(body, response.charset_encoding), status)
        after = None
        if said.is_passing:
            after = retry_after.from_headers(headers)
            after = retry_after.from_words(said.everything) if after is None else after
        there = self.clean(headers.get("location", "").partition("?")[0])
        raise Refused(
            self._reason(status, self.clean(said.said), there, after), said, retryable=said.is_passing,
            retry_after_s=after,
        )

    def _reason(self, status: int, said: str, there: str, after: float | None) -> str:
        who = self._who
        said = f": {said}" if said else ""
        match status:
            case 401 | 403 | 407:
                return f"{who} does not accept the API key{self._key_hint}{said}"
            case 404:
                return f"{who} does not know this model or address{said}"
            case 429:
                when = "" if after is None or after < 1 else f" (retry in {after:.0f} s)"
                return f"the quota of {who} is exhausted{said}{when}"
            case 408 | 409 | 425:
                return f"{who} cannot answer now (HTTP {status}){said}"
            case _ if 300 <= status < 400:
                to = f" to {there}" if there else ""
                return f"{who} redirects requests{to} (HTTP {status}): set base_url to that"
            case _ if status >= 500:
                return f"{who} is failing (HTTP {status}){said}"
        return f"{who} refused the request (HTTP {status}){said}"

    @contextmanager
    def _plain_errors(self) -> Iterator[None]:
        who = self._who
        try:
            yield
        except httpx.ConnectTimeout as error:
            raise ProviderError(f"{who} cannot be reached: the connection timed out", retryable=True) from error
        except httpx.ProxyError as error:
            raise ProviderError(f"the proxy{named(*PROXIES)} refuses: {self.clean(str(error))}") from error
        except httpx.ConnectError as error:
            said = self.clean(str(error))
            by_proxy = "" if self._address.is_this_machine else named(*PROXIES)
            if "CERTIFICATE" in said.upper():
                given = named(*CERTIFICATES, *BUNDLES) or "; SSL_CERT_FILE names others"
                hint = f"its certificate is not trusted{given}"
                raise ProviderError(f"{who} cannot be reached: {hint}: {said}") from error
            raise ProviderError(f"{who} cannot be reached{by_proxy}: {said}", retryable=True) from error
        except httpx.TransportError as error:
            raise ProviderError(f"the connection to {who} broke", retryable=True) from error
        except EventTooLarge as error:
            raise ProviderError(f"{who} sent more than {self._max_value} bytes at once") from error
        except BodyError as error:
            raise ProviderError(f"{who} {error}") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ProviderError(f"{who} sent an invalid response: {self.clean(str(error))}") from error

    @contextmanager
    def _environment_errors(self) -> Iterator[None]:
        """What httpx takes from the environment may make no sense; then it is named."""
        try:
            yield
        except httpx.InvalidURL as error:
            raise ProviderError(f"the base_url{named(*PROXIES)} is invalid: {self.clean(str(error))}") from error
        except (ValueError, ImportError, OSError) as error:
            given = named(*PROXIES, *CERTIFICATES, *BUNDLES)
            raise ProviderError(f"cannot connect with these settings{given}: {self.clean(str(error))}") from error


async def following(source: AsyncGenerator[T, None], *, is_over: bool, until: float | None) -> T | None:
    """What comes next, None if nothing does. Once all is said, nothing that goes wrong can take it back. Raises
    TimeoutError if nothing has come when time.monotonic() reaches `until`."""
    left = None if until is None else until - time.monotonic()
    if not is_over:
        if left is not None and left <= 0:  # what waits already would come without a chance to time out
            raise TimeoutError
        async with asyncio.timeout(left):
            return await anext(source, None)
    try:
        async with asyncio.timeout(_AFTER_END_S if left is None else min(left, _AFTER_END_S)):
            return await anext(source, None)
    except (TimeoutError, ProviderError):
        return None


_unfinished: dict[BodyParser, int] = {}
"""Bytes that the answers on their way hold."""


async def _parts(parser: BodyParser, response: httpx.Response) -> AsyncGenerator[Part, None]:
    """What a body says, a part at a time."""
    count = 0
    try:
        async with aclosing(response_body.pieces(response, _MAX_BODY)) as pieces:
            async for piece in pieces:
                parts = parser.feed(piece)
                while (part := next(parts, None)) is not None:
                    yield part
                    count += 1
                    if count % _AT_A_TIME == 0:
                        await asyncio.sleep(0)
                _unfinished[parser] = parser.unfinished
                if sum(_unfinished.values()) > _MOST_UNFINISHED:
                    raise BodyError("sent too much, and other servers with it")
        for last in parser.end():
            yield last
    finally:
        _unfinished.pop(parser, None)


def _tls() -> ssl.SSLContext:
    """Trusts what httpx does, by the environment or its own list, and what the environment names for other clients."""
    context = httpx.create_ssl_context()
    for name in BUNDLES:
        path = os.environ.get(name)
        if path:
            is_directory = os.path.isdir(path)
            context.load_verify_locations(None if is_directory else path, path if is_directory else None)
    return context
