"""Google's Gemini, through the SDK google-generativeai.

The SDK blocks and takes a third of a second to import, so all its calls run in worker threads. Its own retries are off:
the scheduler has the only retry loop. What it reads is bounded, and a stream taken apart, by llm/bounded_session.py.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import json
import sys
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from config.llm_settings import LlmSettings
from llm.bounded_session import bound, elements
from llm.environment import BUNDLES, PROXIES, named
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

_SDK = "google.generativeai"


class GeminiProvider:
    """Needs a key, from the settings or the environment. `base_url` replaces Google's endpoint."""

    name = "gemini"
    parallel = 4

    def __init__(self, settings: LlmSettings) -> None:
        key = find_key(settings, KEY_VARIABLES, GOOGLE_HOST)
        if key is None:
            raise ProviderError(no_key(settings))
        if not _is_installed():
            raise ProviderError("the package google-generativeai is not installed")
        self.model = settings.model or DEFAULT_MODEL
        self._key = key
        self._secrets = secrets_of(key, settings)
        self._endpoint = None if settings.base_url is None else settings.base_url.rstrip("/")
        self._timeout_s = settings.timeout_s
        self._limits = {"timeout": self._timeout_s, "retry": None}
        self._workers = Workers("gemini")

    async def ask(self, prompt: Prompt, on_progress: Progress | None = None) -> Reply:
        """Streams if progress is requested. The SDK does not support seeds."""
        began = time.monotonic()
        loop = asyncio.get_running_loop()

        def report(tokens: int) -> None:
            if on_progress is not None and not call.abandoned:
                on_progress(tokens)

        call = _Call(self.model, lambda tokens: loop.call_soon_threadsafe(report, tokens))
        try:
            async with within(self._timeout_s, self.model):
                answer = await self._workers.run(lambda: self._answer(call, prompt, streamed=on_progress is not None))
        finally:
            call.abandon()
        seconds = time.monotonic() - began
        return Reply(
            answer.text, self.model, seconds, answer.tokens_in, answer.tokens_out, answer.complete,
            thoughts=answer.thoughts, cut_tokens=prompt.max_tokens,
        )

    async def close(self) -> None:
        """Nothing to release: a thread that still waits for Google ends with its request, or with the process."""

    def _answer(self, call: _Call, prompt: Prompt, *, streamed: bool) -> Answer:
        """Blocks; runs in a worker thread."""
        try:
            return self._stream(call, prompt) if streamed else self._generate(call, prompt)
        except ProviderError:
            raise
        except Exception as error:  # noqa: BLE001 - the SDK documents no list of what it raises
            # Not chained: a printed traceback must not show the key either.
            raise explain(error, self.model, self._secrets, self._given) from None

    @property
    def _given(self) -> str:
        """What the environment says of the way to the server."""
        return "" if _is_direct(self._endpoint) else named(*PROXIES, *BUNDLES)

    def _generate(self, call: _Call, prompt: Prompt) -> Answer:
        model, contents = self._prepared(prompt)
        return call.whole(model.generate_content(contents, request_options=self._limits))

    def _stream(self, call: _Call, prompt: Prompt) -> Answer:
        """Bypasses the SDK's `generate_content(stream=True)`, which delays each chunk until the next one arrives, and
        cannot be cancelled."""
        model, contents = self._prepared(prompt)
        client = importlib.import_module(f"{_SDK}.client").get_default_generative_client()
        request = model._prepare_request(contents=contents, tools=None, tool_config=None)
        return call.collect(client.stream_generate_content(request, **self._limits))

    def _prepared(self, prompt: Prompt) -> tuple[Any, list[dict[str, Any]]]:
        """The SDK's model, and the contents to pass to it."""
        sdk = _configured_sdk(self._key, self._endpoint)
        options: dict[str, Any] = {"temperature": prompt.temperature}
        if prompt.max_tokens is not None:
            options["max_output_tokens"] = prompt.max_tokens
        model = sdk.GenerativeModel(self.model, generation_config=options, system_instruction=prompt.system)
        contents = [
            {"role": "user" if message.role == "user" else "model", "parts": [message.text]}
            for message in prompt.messages
        ]
        return model, contents


class _Call:
    """One request: its answer is read in a worker thread, and abandoned from outside of it."""

    def __init__(self, model: str, report: Callable[[int], object]) -> None:
        self.abandoned = False
        self._collector = ResponseCollector(model)
        self._report = report
        self._stream: Any = None

    def whole(self, response: Any) -> Answer:
        self._collector.add(response)
        return self._collector.answer(streamed=False)

    def collect(self, stream: Any) -> Answer:
        """Blocks until all has come, or it is abandoned."""
        self._stream = stream
        try:
            for chunk in elements(stream._response):
                self._collector.take_thoughts(chunk)
                known = stream._response_message_cls.from_json(json.dumps(chunk), ignore_unknown_fields=True)
                self._collector.add(known)
                if self._collector.too_much or self.abandoned:
                    break
                with suppress(RuntimeError):  # the loop is closed: nothing waits any more
                    self._report(self._collector.tokens)
        finally:
            stream.cancel()
        return self._collector.answer(streamed=True)

    def abandon(self) -> None:
        """Wakes the thread that waits for more of a stream; it then closes the connection."""
        self.abandoned = True
        if self._stream is not None:
            with suppress(ValueError, RuntimeError, OSError):  # it has already ended
                self._stream._response.raw.shutdown()


def explain(error: Exception, model: str, secrets: Sequence[str], given: str = "") -> ProviderError:
    """Translates an exception of the SDK, or of the libraries below it, for users."""
    kinds = {kind.__name__ for kind in type(error).__mro__}  # by name, because the libraries below the SDK change
    if "GoogleAPICallError" in kinds:
        return _explain_status(error, model, secrets)
    if kinds & {"Timeout", "ReadTimeoutError"}:
        return ProviderError(f"{model} gave no answer in time", retryable=True)
    if "ConnectionError" in kinds:
        return ProviderError(f"Gemini cannot be reached{given}: no connection", retryable=True)
    if "ProtocolError" in kinds:
        return ProviderError("the connection to Gemini broke", retryable=True)
    if kinds & {"InvalidURL", "InvalidSchema"}:
        return ProviderError(f"the base_url of Gemini{given} is invalid")
    if "ResponseTooLarge" in kinds:
        return ProviderError(f"Gemini sent more than {MAX_BODY} bytes in one answer")
    if kinds & {
        "ResponseCompressed", "ParseError", "ValueError", "AttributeError", "ContentDecodingError",
        "ChunkedEncodingError",
    }:
        return ProviderError("Gemini sent something that is not an answer", retryable=True)
    return ProviderError(f"Gemini failed{given}: {plain(f'{type(error).__name__}: {error}', *secrets)}")


def _explain_status(error: Any, model: str, secrets: Sequence[str]) -> ProviderError:
    # The SDK puts "POST <address>: " in front of what Google said.
    said = str(error.message).split(": ", 1)[-1]
    details = [detail for detail in error.details or () if isinstance(detail, dict)]
    return explain_status(int(error.code or 0), said, details, model, secrets)


_configuring = threading.Lock()
_configuration: tuple[str, str | None] | None = None


def _configured_sdk(key: str, endpoint: str | None) -> Any:
    """The SDK, which keeps its key and address in global variables: a process can have only one of each."""
    global _configuration
    with _configuring:
        if _SDK not in sys.modules:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # users need not know that the SDK has a successor
                importlib.import_module(_SDK)
        sdk: Any = sys.modules[_SDK]
        if _configuration != (key, endpoint):
            options = None if endpoint is None else {"api_endpoint": endpoint}
            sdk.configure(api_key=key, transport="rest", client_options=options)
            client = importlib.import_module(f"{_SDK}.client").get_default_generative_client()
            bound(client.transport._session, MAX_BODY, direct=_is_direct(endpoint))
            _configuration = key, endpoint
        return sdk


def _is_direct(endpoint: str | None) -> bool:
    return endpoint is not None and is_loopback(server_address(with_scheme(endpoint)).host)


def _is_installed() -> bool:
    try:
        return importlib.util.find_spec(_SDK) is not None
    except ModuleNotFoundError:
        return False


@register("gemini", key_variables=KEY_VARIABLES, context_tokens=CONTEXT_TOKENS, imports=(_SDK,))
def build(settings: LlmSettings, node: int, data_dir: Path) -> GeminiProvider:
    return GeminiProvider(settings)
