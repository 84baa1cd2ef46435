"""What a node's `llm` settings mean: which provider it uses and why, and with which key."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from config.llm_settings import LlmSettings
from llm import registry
from llm.provider import Provider, ProviderError

_WITH_KEY, _WITHOUT_KEY = "gemini", "local"
"""The providers that are chosen automatically."""


class Choice(NamedTuple):
    """`why` is a sentence for the user who starts a node."""

    provider: str
    why: str


def choose(settings: LlmSettings, environ: Mapping[str, str] = os.environ) -> Choice:
    """The provider of these settings, chosen automatically if they name none."""
    if settings.provider is not None:
        return Choice(settings.provider, f"LLM provider {settings.provider}, as configured")
    if settings.api_key:
        return Choice(_WITH_KEY, f"LLM provider {_WITH_KEY}, because an api_key is configured")
    variables = registry.find(_WITH_KEY).key_variables
    variable = next((name for name in variables if environ.get(name)), None)
    if variable is not None:
        return Choice(_WITH_KEY, f"LLM provider {_WITH_KEY}, because {variable} is set")
    why = f"LLM provider {_WITHOUT_KEY} (a small model on this machine), because {variables[0]} is not set"
    return Choice(_WITHOUT_KEY, why)


def build(settings: LlmSettings, node: int, data_dir: Path) -> Provider:
    """The provider for a node. Raises ProviderError if something that it needs is missing.

    Imports what the provider needs, so it should not be called in an event loop's thread.
    """
    return registry.find(choose(settings).provider).build(settings, node, data_dir)


def find_key(settings: LlmSettings, variables: tuple[str, ...], environ: Mapping[str, str] = os.environ) -> str | None:
    """The configured API key, else that of the first of these environment variables that holds one.

    Raises ProviderError for an impossible key, such as one pasted with a typographic dash.
    """
    candidates = (settings.api_key, *(environ.get(name) for name in variables))
    key = next((candidate.strip() for candidate in candidates if candidate and candidate.strip()), None)
    if key is not None and not (key.isascii() and key.isprintable()):
        raise ProviderError("the API key contains invalid characters")
    return key
