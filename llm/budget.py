"""How much of a conversation an LLM can take: whole turns, the newest ones, as many as fit."""

from __future__ import annotations

from typing import NamedTuple

from llm.provider import Message
from llm.settings import LlmSettings, choose

_DEFAULT_CONTEXT = {"gemini": 1_000_000, "google-genai": 1_000_000, "openai": 32_000, "local": 4096}
"""Tokens, of prompt and answer together. `fake` has no bound."""

_ANSWER_TOKENS = {"local": 160}
_USUAL_ANSWER_TOKENS = 4096
"""Kept for the answer unless `max_tokens` says otherwise; in any case at most half of the context."""
_BYTES_PER_TOKEN = 3
"""Careful: English has four to five."""
_LENIENT_BYTES_PER_TOKEN = 5
"""For refusals: what might fit is left to the LLM's own count."""
_OVERHEAD = 8
"""Tokens around a message."""


class Cut(NamedTuple):
    """`seen` of `before` earlier turns are left."""

    messages: list[Message]
    seen: int
    before: int


def room(settings: LlmSettings) -> int | None:
    """Tokens for a prompt; None if there is no bound."""
    provider = choose(settings).provider
    context = settings.context_tokens or _DEFAULT_CONTEXT.get(provider)
    if context is None:
        return None
    return context - min(settings.max_tokens or _ANSWER_TOKENS.get(provider, _USUAL_ANSWER_TOKENS), context // 2)


def cut(messages: list[Message], system: str | None, room: int | None) -> Cut:
    """The question, which comes last, with as many whole turns before it as there is room for, by an estimate."""
    before = len(messages) // 2
    if room is None:
        return Cut(messages, before, before)
    used = _tokens(system or "") + _tokens(messages[-1].text)
    start = len(messages) - 1
    while start >= 2:
        used += sum(_tokens(message.text) for message in messages[start - 2 : start])
        if used > room:
            break
        start -= 2
    return Cut(messages[start:], (len(messages) - start) // 2, before)


def too_long(text: str, settings: LlmSettings) -> str | None:
    """Why this node's LLM cannot be asked that, as a sentence for users; None if it may fit."""
    have = room(settings)
    size = len(text.encode(errors="replace"))
    least = size // _LENIENT_BYTES_PER_TOKEN
    if have is None or least <= have:
        return None
    provider = choose(settings).provider
    return (
        f"the question is too long for this node's LLM ({provider}): at least {least} tokens ({size} bytes), and there "
        f"is room for {have}"
    )


def _tokens(text: str) -> int:
    return len(text.encode(errors="replace")) // _BYTES_PER_TOKEN + _OVERHEAD
