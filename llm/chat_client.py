"""A client for OpenAI-compatible chat completion servers: streams, maps every failure to a reason in plain words."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from llm import response_body
from llm.chat_protocol import CUT_OFF, FAILED, Chunk, Completion, is_completion, parse, read
from llm.complaints import Complaint, complaint, complaint_of_text
from llm.environment import CERTIFICATES, PROXIES, named
from llm.event_stream import Event, EventStream, EventTooLarge
from llm.provider import Progress, ProviderError
from llm.response_body import BodyError
from llm.server_address import server_address, written_forms
from llm.wording import is_page, plain, said_by_page

_CONNECT_S = 10.0
_MAX_CHARS = 400_000
"""No answer is read beyond this; how long a valid one may be is for the scheduler to say."""
_MAX_EVENT = 2_000_000
"""Bytes of one event, or of an answer that comes as a whole: decoded, it may take twenty times as much."""
_MAX_BODY = 64_000_000
"""Bytes of a stream; each token comes with some hundred bytes around it."""
_MAX_REFUSAL = 200_000

_KEPT_ALIVE = ("ping", "heartbeat", "keepalive", "keep-alive")
"""Events that only say that the server is still there."""

_BLANK = b"\xef\xbb\xbf \t\r\n"



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
            async for chunk in chunks:
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
        begun = False
        with self._plain_errors():
            async with self._http.stream("POST", self._url("chat/completions"), json=body) as response:
                await self._check(response)
                async with aclosing(response_body.pieces(response, _MAX_BODY)) as pieces:
                    head = await _head(pieces)
                    if not head.strip(_BLANK):
                        raise ProviderError(f"{self.who} sent an empty response", retryable=True)
                    if head.lstrip(_BLANK)[:1] in (b"{", b"[", b'"', b"<"):
                        rest = await _rest(head, pieces)
                        for chunk in self._whole(rest.decode("utf-8-sig", "replace")):
                            yield chunk
                        return
                    async with aclosing(_events(head, pieces)) as events:
                        async for event in events:
                            yield self._event(event)
                            begun = True
                    if not begun:
                        said = self._clean(head.decode(errors="replace"))
                        raise ProviderError(
                            f"{self.who} sent something that is not a chat completion: {said}", retryable=True
                        )

    def _whole(self, text: str) -> Iterator[Chunk]:
        """An answer that is not an event stream, whatever its content type says: one JSON value, or one a line."""
        if is_page(text) or text.lstrip().startswith("<"):
            title = self._clean(said_by_page(text))
            raise ProviderError(
                f"{self.who} sent a web page instead of an answer{f' ({title})' if title else ''}: is the base_url "
                "right? Many end in /v1"
            )
        try:
            yield self._chunk(parse(text))
            yield Chunk(last=True)
            return
        except ValueError:
            lines = [line for line in text.splitlines() if line.strip()]
        if len(lines) < 2:
            raise self._not_a_completion()
        for line in lines:
            yield self._decoded(line)

    def _event(self, event: Event) -> Chunk:
        data = event.data.strip()
        if data == "[DONE]":
            return Chunk(last=True)
        if event.kind.lower() == "error":
            raise self._failure(complaint_of_text(data))
        if event.kind.lower() in _KEPT_ALIVE:
            return Chunk()
        return self._decoded(data) if data else Chunk()

    def _decoded(self, data: str) -> Chunk:
        try:
            value = parse(data)
        except ValueError as error:
            if is_page(data):
                raise self._failure(complaint_of_text(data)) from error
            raise self._not_a_completion() from error
        return self._chunk(value)

    def _chunk(self, value: Any) -> Chunk:
        chunk = read(value)
        if chunk.error is not None:
            raise self._failure(complaint(chunk.error))
        if isinstance(value, str) or (isinstance(value, list) and not is_completion(value[0] if value else None)):
            raise self._not_a_completion()
        return chunk

    def _not_a_completion(self) -> ProviderError:
        return ProviderError(f"{self.who} sent something that is not a chat completion", retryable=True)

    def _failure(self, said: Complaint) -> Refused:
        """An error within an answer that began well."""
        reason = self._clean(said.said) or "without a reason"
        return Refused(f"{self.who} failed: {reason}", said, retryable=not said.is_lasting and not said.is_too_long)

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
        retryable, after = False, None
        match status:
            case 401 | 403 | 407:
                hint = "" if self._has_key else " (none was sent: api_key or api_key_env says which)"
                reason = f"{self.who} does not accept the API key{hint}{said}"
            case 404:
                reason = f"{self.who} does not know this model or address{said}"
            case 429:
                lasting = "insufficient_quota" in complaint.everything or "current quota" in said
                reason = f"the quota of {self.who} is exhausted{said}"
                retryable, after = not lasting, _seconds(response.headers.get("retry-after"))
            case 408 | 409 | 425:
                reason, retryable = f"{self.who} cannot answer now (HTTP {status}){said}", True
            case _ if 300 <= status < 400:
                there = self._clean(response.headers.get("location", "").partition("?")[0])
                where = f" to {there}" if there else ""
                reason = f"{self.who} redirects requests{where} (HTTP {status}): set base_url to that"
            case _ if status >= 500:
                reason, retryable = f"{self.who} is failing (HTTP {status}){said}", status != 501
                after = _seconds(response.headers.get("retry-after"))
            case _:
                reason = f"{self.who} refused the request (HTTP {status}){said}"
        return Refused(reason, complaint, retryable=retryable and not complaint.is_too_long, retry_after_s=after)

    @contextmanager
    def _plain_errors(self) -> Iterator[None]:
        try:
            yield
        except httpx.ConnectTimeout as error:
            raise ProviderError(f"{self.who} cannot be reached: the connection timed out", retryable=True) from error
        except httpx.ProxyError as error:
            raise ProviderError(f"the proxy{named(*PROXIES)} refuses: {self._clean(str(error))}") from error
        except httpx.ConnectError as error:
            said = self._clean(str(error))
            by_proxy = "" if self._address.is_loopback else named(*PROXIES)
            if "CERTIFICATE" in said.upper():
                hint = f"its certificate is not trusted{named(*CERTIFICATES) or '; SSL_CERT_FILE names others'}"
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
            raise ProviderError(f"the base_url{named(*PROXIES)} is invalid: {self._clean(str(error))}") from error
        except (ValueError, ImportError, OSError) as error:
            given = named(*PROXIES, *CERTIFICATES)
            raise ProviderError(f"cannot connect with these settings{given}: {self._clean(str(error))}") from error

    def _clean(self, text: str) -> str:
        return plain(text, *self.secrets)


async def _head(pieces: AsyncGenerator[bytes, None]) -> bytes:
    """The beginning of a body, up to the first byte that tells what it is."""
    head = b""
    async for piece in pieces:
        head += piece
        if len(head) > _MAX_EVENT or (head.strip(_BLANK) and len(head) >= 4):
            break
    return head


async def _events(head: bytes, pieces: AsyncGenerator[bytes, None]) -> AsyncGenerator[Event, None]:
    """The events of a stream that begins with `head`."""
    stream = EventStream(_MAX_EVENT)
    for event in stream.feed(head):
        yield event
    async for piece in pieces:
        for event in stream.feed(piece):
            yield event
    last = stream.end()
    if last is not None:
        yield last


async def _rest(head: bytes, pieces: AsyncGenerator[bytes, None]) -> bytes:
    """All of a body that comes as a whole."""
    body = bytearray(head)
    async for piece in pieces:
        body += piece
        if len(body) > _MAX_EVENT:
            raise EventTooLarge
    return bytes(body)


def _seconds(retry_after: str | None) -> float | None:
    """Seconds from now, by a Retry-After header: a number of seconds, or a date."""
    if retry_after is None:
        return None
    if retry_after.isdecimal():
        return float(retry_after)
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None
