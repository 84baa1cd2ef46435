"""Fits a conversation into an LLM's context: whole turns, the newest ones, as many as fit."""

from __future__ import annotations

from typing import NamedTuple

from config.llm_settings import LlmSettings
from llm import registry
from llm.provider import Message
from llm.settings import choose

_BYTES_PER_TOKEN = 3
"""A cautious estimate: English has four to five."""
_LENIENT_BYTES_PER_TOKEN = 5
"""For refusals only: borderline cases are left to the LLM's own count."""
_OVERHEAD = 8
"""Overhead in tokens per message."""


class Trimmed(NamedTuple):
    """`seen` of `before` earlier turns remain."""

    messages: list[Message]
    seen: int
    before: int


def prompt_tokens(settings: LlmSettings) -> int | None:
    """Tokens of a prompt; None if there is no limit."""
    provider = registry.find(choose(settings).provider)
    context = settings.context_tokens or provider.context_tokens
    if context is None:
        return None
    return context - min(settings.max_tokens or provider.answer_tokens, context // 2)


def trim_limit(settings: LlmSettings) -> int | None:
    """The limit for `trim`; None if there is none, or if the provider counts better than an estimate."""
    if settings.context_tokens is None and registry.find(choose(settings).provider).trims_history:
        return None
    return prompt_tokens(settings)


def trim(messages: list[Message], system: str | None, limit: int | None) -> Trimmed:
    """The question, which comes last, with as many whole turns before it as fit into `limit` tokens, by an estimate."""
    before = len(messages) // 2
    if limit is None:
        return Trimmed(messages, before, before)
    used = _tokens(system or "") + _tokens(messages[-1].text)
    start = len(messages) - 1
    while start >= 2:
        used += sum(_tokens(message.text) for message in messages[start - 2 : start])
        if used > limit:
            break
        start -= 2
    return Trimmed(messages[start:], (len(messages) - start) // 2, before)


def too_long(text: str, settings: LlmSettings) -> str | None:
    """Why a question is too long for this node's LLM, as a sentence for users; None if it may fit."""
    limit = prompt_tokens(settings)
    size = len(text.encode(errors="replace"))
    least = size // _LENIENT_BYTES_PER_TOKEN
    if limit is None or least <= limit:
        return None
    provider = choose(settings).provider
    return (
        f"the question is too long for this node's LLM ({provider}): at least {least} tokens ({size} bytes), but there "
        f"is room for {limit}"
    )


def _tokens(text: str) -> int:
    return len(text.encode(errors="replace")) // _BYTES_PER_TOKEN + _OVERHEAD
