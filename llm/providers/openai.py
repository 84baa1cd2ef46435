"""Any server with OpenAI's chat completions API: a model, optionally an address and a key."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from config.llm_settings import LlmSettings
from llm.accommodation import Accommodation
from llm.chat_protocol import CLIENT_IMPORTS, CUT_OFF, FILTERED, Completion, chat_messages, streamed
from llm.provider import TEMPERATURE, Progress, Prompt, ProviderError, Reply, cut_at, not_begun, within
from llm.registry import register
from llm.settings import find_key

KEY_VARIABLES = ("OPENAI_API_KEY",)
OPENAI_HOST = "api.openai.com"
OPENAI_URL = f"https://{OPENAI_HOST}/v1"

_CALLS = ("tool_calls", "function_call", "tool_use")


class OpenAIProvider:
    """Needs a model; a key only for OpenAI itself: self-hosted servers often need none.

    `node` seeds the answers unless the settings do, so that nodes with equal settings answer differently even where a
    server has its own seed.
    """

    name = "openai"
    parallel = 4

    def __init__(self, settings: LlmSettings, node: int) -> None:
        if settings.model is None:
            raise ProviderError("the provider openai needs a model in the settings")
        key = find_key(settings, KEY_VARIABLES, OPENAI_HOST)
        if key is None and settings.base_url is None:
            raise ProviderError(f"no OpenAI API key: set {KEY_VARIABLES[0]}, or a base_url for another server")
        self.model = settings.model
        self._node = node
        self._timeout_s = settings.timeout_s
        from llm.chat_client import ChatClient  # not above: see CLIENT_IMPORTS

        who = None if settings.base_url else "OpenAI"
        self._client = ChatClient(who, settings.base_url or OPENAI_URL, key)
        self._accommodation = Accommodation(self._client.who, self._client.private)

    async def ask(self, prompt: Prompt, on_progress: Progress | None = None) -> Reply:
        began = time.monotonic()
        body: dict[str, Any] = streamed({
            "model": self.model,
            "messages": chat_messages(prompt.system, prompt.messages),
            "temperature": prompt.temperature_or(TEMPERATURE),
            "seed": prompt.seed_or(self._node),
        })
        if prompt.max_tokens is not None:
            body["max_tokens"] = prompt.max_tokens
        limit_s = prompt.time_s or self._timeout_s
        until = cut_at(began, limit_s)
        async with within(limit_s, self.model):
            completion = await self._accommodation.ask(
                body, lambda sent: self._client.complete(sent, on_progress, until=until)
            )
        if completion.finish_reason == FILTERED:
            raise ProviderError(f"{self.model} stopped: its content filter does not allow the answer")
        cut_off = completion.finish_reason == CUT_OFF
        if not completion.text.strip():
            raise self._without_text(completion, cut_off)
        return Reply(
            self._client.without_secrets(completion.text), self.model, time.monotonic() - began, completion.tokens_in,
            completion.tokens_written, complete=not cut_off, thoughts=self._client.without_secrets(completion.thoughts),
            cut_s=self._timeout_s if completion.late else 0.0, cut_tokens=prompt.max_tokens,
        )

    def _without_text(self, completion: Completion, cut_off: bool) -> ProviderError:
        thought = " thinking" if completion.thoughts else ""
        if completion.late:
            return not_begun(self.model, self._timeout_s)
        if cut_off:
            return ProviderError(f"{self.model} used up its tokens{thought} before it wrote anything; raise max_tokens")
        if completion.thoughts:
            return ProviderError(f"{self.model} returned an empty answer: it only thought", retryable=True)
        if completion.finish_reason in _CALLS:
            return ProviderError(f"{self.model} wants to call a tool instead of answering")
        return ProviderError(f"{self.model} returned an empty answer", retryable=True)

    async def close(self) -> None:
        await self._client.close()


@register("openai", key_variables=KEY_VARIABLES, context_tokens=32_000, imports=CLIENT_IMPORTS)
def build(settings: LlmSettings, node: int, data_dir: Path) -> OpenAIProvider:
    return OpenAIProvider(settings, node)
