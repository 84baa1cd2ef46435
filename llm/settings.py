"""What a node's `llm` settings mean: which provider it uses and why, and with which key."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

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
    if settings.api_key_env:
        return Choice(_WITH_KEY, f"LLM provider {_WITH_KEY}, because api_key_env is configured")
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


def is_meaningful(settings: LlmSettings) -> bool:
    """False if what answers say, and so whether they agree, is chance."""
    return registry.find(choose(settings).provider).meaningful


def find_key(
    settings: LlmSettings, variables: tuple[str, ...], home: str, environ: Mapping[str, str] = os.environ
) -> str | None:
    """The configured API key, else that of the environment variable that the settings name, else that of the first of
    `variables` that holds one: those are meant for the host `home`, so they go to no other, and never in the clear.

    Raises ProviderError for an impossible key, such as one pasted with a typographic dash.
    """
    if settings.api_key and settings.api_key.strip():
        return _possible(settings.api_key.strip())
    if settings.api_key_env:
        key = environ.get(settings.api_key_env, "").strip()
        if not key:
            raise ProviderError(f"the environment variable {settings.api_key_env}, which api_key_env names, is not set")
        return _possible(key)
    if not _is_at(home, settings.base_url):
        return None
    return next((_possible(key) for name in variables if (key := environ.get(name, "").strip())), None)


def held_back(settings: LlmSettings, variables: tuple[str, ...], environ: Mapping[str, str] = os.environ) -> str:
    """The environment variable whose key does not go to the configured server unless api_key_env says so; or ""."""
    if settings.base_url is None or settings.api_key or settings.api_key_env:
        return ""
    return next((name for name in variables if environ.get(name, "").strip()), "")


def _possible(key: str) -> str:
    if not (key.isascii() and key.isprintable()):
        raise ProviderError("the API key contains invalid characters")
    return key


def _is_at(home: str, base_url: str | None) -> bool:
    """Whether the address is that of `home` or of one of its regions, and encrypted."""
    if base_url is None:
        return True
    try:
        parts = urlsplit(base_url.strip())
        host = parts.hostname or ""
    except ValueError:
        return False
    return parts.scheme == "https" and (host == home or host.endswith(f".{home}"))
