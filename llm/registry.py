"""Which LLM providers there are: every module in llm/providers/ registers one, and nothing else lists them.

The module's name is the provider's, with _ for -, so that a process imports only the one that it uses."""

from __future__ import annotations

import functools
import importlib
import pkgutil
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, TypeAlias

from config.llm_settings import LlmSettings
from llm import providers
from llm.provider import Provider, ProviderError

Build: TypeAlias = Callable[[LlmSettings, int, Path], Provider]
"""Makes the provider for a node from its settings, its number and its data directory. Raises ProviderError."""


class Registration(NamedTuple):
    """What is known of a provider before it is used. Tokens are estimates for prompts; settings override them."""

    build: Build
    key_variables: tuple[str, ...]
    """The environment variables that may hold its API key."""
    context_tokens: int | None
    """Tokens of prompt and answer together; None if there is no limit."""
    answer_tokens: int
    """Kept for the answer; in any case at most half of the context."""
    trims_history: bool
    """It leaves out old turns by itself, because it can count exactly."""
    imports: tuple[str, ...]
    """Slow modules that it imports with its first request."""
    meaningful: bool
    """The words of its answers mean something, so that it means something if answers agree."""


_registered: dict[str, Registration] = {}


def register(
    name: str,
    *,
    key_variables: tuple[str, ...] = (),
    context_tokens: int | None = None,
    answer_tokens: int = 4096,
    trims_history: bool = False,
    imports: tuple[str, ...] = (),
    meaningful: bool = True,
) -> Callable[[Build], Build]:
    """Registers the decorated function as what builds the provider `name`."""

    def decorate(build: Build) -> Build:
        _registered[name] = Registration(
            build, key_variables, context_tokens, answer_tokens, trims_history, imports, meaningful
        )
        return build

    return decorate


@functools.cache
def names() -> tuple[str, ...]:
    """Of all providers, without importing them."""
    return tuple(module.name.replace("_", "-") for module in pkgutil.iter_modules(providers.__path__))


def registrations() -> Mapping[str, Registration]:
    """All providers by name."""
    return {name: find(name) for name in names()}


def find(name: str) -> Registration:
    """Imports this one alone. Raises ProviderError if no provider has this name."""
    if name not in names():
        raise ProviderError(f"there is no LLM provider {name}: there are {', '.join(names())}")
    module = importlib.import_module(f"{providers.__name__}.{name.replace('-', '_')}")
    if name not in _registered:
        raise ProviderError(f"{module.__file__} registers no provider {name}")
    return _registered[name]


def preload(name: str) -> None:
    """Imports what the provider will need. Slow; better called in a thread of its own, ahead of the first request."""
    for module in find(name).imports:
        with warnings.catch_warnings(), suppress(ImportError):  # what is missing is reported when it is used
            warnings.simplefilter("ignore", FutureWarning)
            importlib.import_module(module)
