"""Any server with OpenAI's chat completions API: a model, optionally an address and a key."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from config.llm_settings import LlmSettings
from llm.chat_protocol import CLIENT_IMPORTS, Completion, chat_messages
from llm.provider import Progress, Prompt, ProviderError, Reply, within
from llm.registry import register
from llm.settings import find_key

KEY_VARIABLES = ("OPENAI_API_KEY",)
OPENAI_URL = "https://api.openai.com/v1"


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
        key = find_key(settings, KEY_VARIABLES)
        if key is None and settings.base_url is None:
            raise ProviderError(f"no OpenAI API key: set {KEY_VARIABLES[0]}, or a base_url for another server")
        self.model = settings.model
        self._own_seed: int | None = node
        """None once the server has said that it does not support seeds."""
        self._timeout_s = settings.timeout_s
        from llm.chat_client import ChatClient  # not above: see CLIENT_IMPORTS

        self._client = ChatClient(settings.base_url or "OpenAI", settings.base_url or OPENAI_URL, key)

    async def ask(self, prompt: Prompt, on_progress: Progress | None = None) -> Reply:
        began = time.monotonic()
        body: dict[str, Any] = {
            "model": self.model,
            "messages": chat_messages(prompt.system, prompt.messages),
            "temperature": prompt.temperature,
        }
        if prompt.max_tokens is not None:
            body["max_tokens"] = prompt.max_tokens
        async with within(self._timeout_s, self.model):
            completion = await self._complete(body, prompt, on_progress)
        if completion.finish_reason == "content_filter":
            raise ProviderError(f"{self.model} stopped: its content filter does not allow the answer")
        if not completion.text.strip() and completion.finish_reason == "length":
            raise ProviderError(f"{self.model} used up its tokens before it wrote anything; raise max_tokens")
        if not completion.text.strip():
            raise ProviderError(f"{self.model} returned an empty answer", retryable=True)
        return Reply(
            completion.text, self.model, time.monotonic() - began, completion.tokens_in, completion.tokens_out,
            complete=completion.finish_reason != "length",
        )

    async def _complete(self, body: dict[str, Any], prompt: Prompt, on_progress: Progress | None) -> Completion:
        seed = prompt.seed_or(self._own_seed)
        try:
            return await self._client.complete(body if seed is None else {**body, "seed": seed}, on_progress)
        except ProviderError as error:
            if prompt.seed is not None or self._own_seed is None or error.retryable or "seed" not in error.reason:
                raise
        self._own_seed = None  # the configuration requires none
        return await self._client.complete(body, on_progress)

    async def close(self) -> None:
        await self._client.close()


@register("openai", key_variables=KEY_VARIABLES, context_tokens=32_000, imports=CLIENT_IMPORTS)
def build(settings: LlmSettings, node: int, data_dir: Path) -> OpenAIProvider:
    return OpenAIProvider(settings, node)
