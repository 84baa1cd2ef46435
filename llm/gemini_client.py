"""Asks Gemini. Google's SDKs only prepare the requests: they know of no bound on what they read, take no shape of a
response but one, cannot be cancelled in every state, and lose the server's words."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

from config.llm_settings import LlmSettings
from llm.accommodation import Accommodation, Body
from llm.body_parser import Kind, Part
from llm.chat_protocol import chat_messages
from llm.complaints import Refused, complaint
from llm.gemini_responses import (
    DEFAULT_MODEL,
    GOOGLE_HOST,
    KEY_VARIABLES,
    Answer,
    ResponseCollector,
    explained,
    failure_in,
    retry_delay,
)
from llm.http_client import HttpClient, following
from llm.post import Post
from llm.provider import TEMPERATURE, Progress, Prompt, ProviderError, Reply, cut_at, not_begun, within
from llm.server_address import server_address, written_forms
from llm.settings import find_key, held_back

_MAX_VALUE = 4_000_000
"""Bytes of a response, or of a chunk of one, that are read at most."""

Prepare = Callable[[Body], Awaitable[Post]]
"""Makes a request of `messages`, `temperature` and what else is in it; streamed if it has `stream`."""


class GeminiClient:
    """Needs a key, from the settings or the environment. `base_url` replaces Google's endpoint. `has_seeds`: the SDK
    knows of them."""

    def __init__(self, settings: LlmSettings, *, has_seeds: bool) -> None:
        self._has_seeds = has_seeds
        key = find_key(settings, KEY_VARIABLES, GOOGLE_HOST)
        if key is None:
            raise ProviderError(_no_key(settings))
        self.key = key
        self.model = settings.model or DEFAULT_MODEL
        self._timeout_s = settings.timeout_s
        base_url = settings.base_url or GOOGLE_HOST
        address = server_address(base_url if "://" in base_url else f"https://{base_url}")
        keys = tuple(written_forms(key))
        self._http = HttpClient("Gemini", address, keys, {}, max_value=_MAX_VALUE)
        self._accommodation = Accommodation("Gemini", (*keys, *address.private), renames=False)

    async def ask(self, prompt: Prompt, on_progress: Progress | None, prepare: Prepare) -> Reply:
        """Streams if progress is requested."""
        began = time.monotonic()
        body: Body = {
            "messages": chat_messages(prompt.system, prompt.messages),
            "temperature": prompt.temperature_or(TEMPERATURE),
        }
        seed = prompt.seed_or(None) if self._has_seeds else None
        options = {"max_tokens": prompt.max_tokens, "seed": seed, "stream": True if on_progress is not None else None}
        body |= {name: value for name, value in options.items() if value is not None}

        limit_s = prompt.time_s or self._timeout_s
        until = cut_at(began, limit_s)

        async def ask(sent: Body) -> Answer:
            return await self._answer(await prepare(sent), on_progress, until, streamed="stream" in sent)

        async with within(limit_s, self.model):
            answer = await self._accommodation.ask(body, ask)
        if answer.late and not answer.text.strip():
            raise not_begun(self.model, self._timeout_s)
        return Reply(
            self._http.without_secrets(answer.text), self.model, time.monotonic() - began, answer.tokens_in,
            answer.tokens_out, answer.complete, thoughts=self._http.without_secrets(answer.thoughts),
            cut_s=self._timeout_s if answer.late else 0.0, cut_tokens=prompt.max_tokens,
        )

    async def close(self) -> None:
        await self._http.close()

    async def _answer(self, post: Post, on_progress: Progress | None, until: float, *, streamed: bool) -> Answer:
        collector = ResponseCollector(self.model)
        async with aclosing(self._responses(post)) as responses:
            try:
                while (response := await _next(responses, collector, until)) is not None:
                    collector.add(response)
                    if on_progress is not None:
                        on_progress(collector.tokens, lambda: self._http.beginning_without_secrets(collector.text))
                    if collector.too_much:
                        break
                    del response  # while the next one is awaited
            except TimeoutError:
                collector.late = True
        return collector.answer(streamed=streamed)

    async def _responses(self, post: Post) -> AsyncGenerator[dict[str, Any], None]:
        """The chunks of a streamed response, or the single whole response. Closing it closes the connection."""
        try:
            async with aclosing(self._http.parts(post)) as parts:
                async for part in parts:
                    if part.kind is Kind.VALUE:
                        yield self._response(part)
                    del part
        except Refused as refused:
            said = refused.complaint
            reason = explained(said, self._http.clean(said.said), refused.reason, self.model)
            delay = retry_delay(said)
            after = refused.retry_after_s if delay is None else delay
            raise Refused(reason, said, retryable=refused.retryable, retry_after_s=after) from refused

    def _response(self, part: Part) -> dict[str, Any]:
        value = part.value
        if isinstance(value, list) and value:
            value = value[0]
        if not isinstance(value, dict):
            raise self._http.no_answer(str(part.value))
        failure = failure_in(value)
        if failure is not None:
            raise self._http.failure(complaint(failure))
        return value


async def _next(
    responses: AsyncGenerator[dict[str, Any], None], collector: ResponseCollector, until: float
) -> dict[str, Any] | None:
    return await following(responses, is_over=collector.is_over, until=until if collector.has_begun else None)


def _no_key(settings: LlmSettings) -> str:
    """Why there is no key for the configured address, as a sentence."""
    if held_back(settings, KEY_VARIABLES):
        return "no API key for this base_url: say which with api_key or api_key_env; that of Google goes to Google only"
    return f"no Gemini API key: set {KEY_VARIABLES[0]}, or choose the provider local"
