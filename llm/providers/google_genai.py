"""Google's Gemini, through the SDK google-genai, the successor of google-generativeai.

What its defaults would do is turned off or checked: its own retries (the scheduler has the only retry loop), its lack
of a time limit, variables of the environment that redirect it, and its readiness to take half an answer for a whole
one.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import ssl
import time
import warnings
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

from config.llm_settings import LlmSettings
from llm.environment import CERTIFICATES, PROXIES, named
from llm.gemini_responses import (
    CONTEXT_TOKENS,
    DEFAULT_MODEL,
    GOOGLE_HOST,
    KEY_VARIABLES,
    MAX_BODY,
    Answer,
    ResponseCollector,
    explain_status,
    no_key,
    secrets_of,
    with_scheme,
)
from llm.provider import Progress, Prompt, ProviderError, Reply, within
from llm.registry import register
from llm.server_address import is_loopback, server_address
from llm.settings import find_key
from llm.wording import plain
from llm.workers import Workers

_SDK = "google.genai"
_GOOGLE = f"https://{GOOGLE_HOST}"
_SPARE_S = 1.0
"""Added to the time limit, which stops the SDK from outside."""


class GoogleGenaiProvider:
    """Needs a key, from the settings or the environment. `base_url` replaces Google's endpoint."""

    name = "google-genai"
    parallel = 4

    def __init__(self, settings: LlmSettings) -> None:
        key = find_key(settings, KEY_VARIABLES, GOOGLE_HOST)
        if key is None:
            raise ProviderError(no_key(settings))
        if not is_installed():
            raise ProviderError(
                "the package google-genai is not installed: pip install -r requirements-google-genai.txt"
            )
        self.model = settings.model or DEFAULT_MODEL
        self._key = key
        self._secrets = secrets_of(key, settings)
        self._base_url = (settings.base_url or _GOOGLE).rstrip("/")
        self._direct = is_loopback(server_address(with_scheme(self._base_url)).host)
        self._timeout_s = settings.timeout_s
        self._workers = Workers("google-genai")
        self._building = asyncio.Lock()
        self._client: Any = None
        self._http: Any = None
        """The client that the SDK uses, which does not close it."""

    async def ask(self, prompt: Prompt, on_progress: Progress | None = None) -> Reply:
        """Streams if progress is requested."""
        began = time.monotonic()
        async with within(self._timeout_s, self.model):
            answer = await self._answer(prompt, on_progress)
        seconds = time.monotonic() - began
        return Reply(
            answer.text, self.model, seconds, answer.tokens_in, answer.tokens_out, answer.complete,
            thoughts=answer.thoughts, cut_tokens=prompt.max_tokens,
        )

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aio.aclose()
            await self._http.aclose()

    async def _answer(self, prompt: Prompt, on_progress: Progress | None) -> Answer:
        collector = ResponseCollector(self.model)
        async with aclosing(self._responses(prompt, streamed=on_progress is not None)) as responses:
            async for response in responses:
                collector.add(response)
                if on_progress is not None:
                    on_progress(collector.tokens)
                if collector.too_much:
                    break
        return collector.answer(streamed=on_progress is not None)

    async def _responses(self, prompt: Prompt, *, streamed: bool) -> AsyncGenerator[Any, None]:
        """The chunks of a streamed response, or the single whole response. Closing it closes the connection."""
        try:
            async with self._building:
                if self._client is None:
                    self._client = await self._workers.run(self._connected)
            models, request = self._client.aio.models, self._request(prompt)
            if not streamed:
                yield await models.generate_content(**request)
                return
            async with aclosing(await models.generate_content_stream(**request)) as chunks:
                async for chunk in chunks:
                    yield chunk
        except ProviderError:
            raise
        except Exception as error:  # noqa: BLE001 - the SDK documents no list of what it raises
            # Not chained: a printed traceback must not show the key either.
            raise _explain(error, self.model, self._secrets, self._given) from None

    def _request(self, prompt: Prompt) -> dict[str, Any]:
        config: dict[str, Any] = {
            "temperature": prompt.temperature, "automatic_function_calling": {"disable": True},
            "automatic_continuation": False,  # it would send further requests by itself
        }
        options = {
            "system_instruction": prompt.system, "max_output_tokens": prompt.max_tokens, "seed": prompt.seed_or(None),
        }
        config |= {name: value for name, value in options.items() if value is not None}
        contents = [
            {"role": "user" if message.role == "user" else "model", "parts": [{"text": message.text}]}
            for message in prompt.messages
        ]
        return {"model": self.model, "contents": contents, "config": config}

    @property
    def _given(self) -> str:
        """What the environment says of the way to the server."""
        return "" if self._direct else named(*PROXIES, *CERTIFICATES)

    def _connected(self) -> Any:
        """Blocks. Raises ProviderError."""
        try:
            return self._build()
        except (ValueError, ImportError, OSError) as error:
            said = plain(str(error), *self._secrets)
            raise ProviderError(f"cannot connect with these settings{self._given}: {said}") from None

    def _build(self) -> Any:
        """Blocks: the import takes a second."""
        # It warns about every unknown word and repeats its text, which must not appear on a node's screen.
        warnings.filterwarnings("ignore", module=r"google\.genai\b")
        sdk = importlib.import_module(_SDK)
        from llm.response_body import bounded_client  # not above: httpx is slow to import

        self._http = bounded_client(MAX_BODY, direct=self._direct)
        options: dict[str, Any] = {}
        if self._direct:
            # For clients that are not used: the SDK would give them the proxies and certificates of the environment.
            nothing = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            options["client_args"] = {"verify": nothing, "trust_env": False}
            options["async_client_args"] = {"verify": nothing, "ssl": nothing}
        return sdk.Client(
            enterprise=False,
            api_key=self._key,
            http_options={
                "base_url": self._base_url, "api_version": "v1beta",
                "timeout": int((self._timeout_s + _SPARE_S) * 1000), "retry_options": {"attempts": 1},
                "httpx_async_client": self._http, **options,
            },
        )


def is_installed() -> bool:
    try:
        return importlib.util.find_spec(_SDK) is not None
    except ModuleNotFoundError:
        return False


def _explain(error: Exception, model: str, secrets: Sequence[str], given: str) -> ProviderError:
    """Translates an exception of the SDK, or of the libraries below it, for users."""
    kinds = {kind.__name__ for kind in type(error).__mro__}  # by name, because the libraries below the SDK change
    if "APIError" in kinds:
        return _explain_refusal(error, model, secrets)
    if "BodyError" in kinds:
        return ProviderError(f"Gemini {error}")
    if kinds & {"ConnectTimeout", "ConnectError", "ClientConnectorError"}:
        return ProviderError(f"Gemini cannot be reached{given}: no connection", retryable=True)
    if kinds & {"TimeoutException", "TimeoutError"}:
        return ProviderError(f"{model} gave no answer in time", retryable=True)
    if kinds & {"InvalidURL", "UnsupportedProtocol"}:
        return ProviderError(f"the base_url of Gemini{given} is invalid")
    if kinds & {"TransportError", "ClientPayloadError", "ClientConnectionError"}:
        return ProviderError("the connection to Gemini broke", retryable=True)
    if kinds & {"ValueError", "DecodingError", "UnknownApiResponseError", "AttributeError", "TypeError"}:
        return ProviderError("Gemini sent something that is not an answer", retryable=True)
    return ProviderError(f"Gemini failed{given}: {plain(f'{type(error).__name__}: {error}', *secrets)}")


def _explain_refusal(error: Any, model: str, secrets: Sequence[str]) -> ProviderError:
    said = error.details if isinstance(error.details, dict) else {}
    inner = said.get("error")
    inner = inner if isinstance(inner, dict) else {}
    details = [detail for detail in inner.get("details") or () if isinstance(detail, dict)]
    return explain_status(int(error.code or 0), str(error.message or ""), details, model, secrets)


@register("google-genai", key_variables=KEY_VARIABLES, context_tokens=CONTEXT_TOKENS, imports=(_SDK,))
def build(settings: LlmSettings, node: int, data_dir: Path) -> GoogleGenaiProvider:
    return GoogleGenaiProvider(settings)
