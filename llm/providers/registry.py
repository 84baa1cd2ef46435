"""From settings to a provider. An SDK is imported only when its provider is used."""

from __future__ import annotations

import importlib
import warnings
from contextlib import suppress
from pathlib import Path

from llm.provider import Provider
from llm.settings import LlmSettings, choose


def build(settings: LlmSettings, node: int, data_dir: Path) -> Provider:
    """The provider for a node. Raises ProviderError if something that it needs is missing.

    Imports what the provider needs, so better not called in an event loop's thread.
    """
    match choose(settings).provider:
        case "fake":
            from llm.providers.fake import FakeProvider

            return FakeProvider(settings, node)
        case "local":
            from llm.providers.local import LocalProvider

            return LocalProvider(settings, node, data_dir)
        case "openai":
            from llm.providers.openai import OpenAIProvider

            return OpenAIProvider(settings, node)
        case "google-genai":
            from llm.providers.google_genai import GoogleGenaiProvider

            return GoogleGenaiProvider(settings)
        case "gemini":
            from llm.providers.gemini import GeminiProvider

            return GeminiProvider(settings)


_NEEDED = {
    "local": ("llm.providers.chat_client", "anyio._backends._asyncio"),
    "openai": ("llm.providers.chat_client", "anyio._backends._asyncio"),
    "gemini": ("google.generativeai",),
    "google-genai": ("google.genai",),
}
"""What a provider imports by its first question."""


def preload(settings: LlmSettings) -> None:
    """Imports what the provider will need. Slow; better called in a thread of its own, ahead of the first question."""
    for module in _NEEDED.get(choose(settings).provider, ()):
        with warnings.catch_warnings(), suppress(ImportError):  # what is missing is told when it is used
            warnings.simplefilter("ignore", FutureWarning)
            importlib.import_module(module)
