"""Fits a conversation into an LLM's context: whole turns, the newest ones, as many as fit."""

from __future__ import annotations

import logging
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


_log = logging.getLogger(__name__)


_MOST_BYTES_PER_TOKEN = 12
"""No text of any language has so many: what is missing in the server's count, it left out without a word."""
_LEAST_CONTEXT = 1000
"""Fewer tokens are no model's context; a server that counts so few leaves out what it knew before."""


class Trimmed(NamedTuple):
    """`seen` of `before` earlier turns remain."""

    messages: list[Message]
    seen: int
    before: int


def prompt_tokens(settings: LlmSettings, context: int | None = None) -> int | None:
    """Tokens of a prompt in a context of `context` tokens, by default as configured; None if there is no limit."""
    provider = registry.find(choose(settings).provider)
    context = context or settings.context_tokens or provider.context_tokens
    if context is None:
        return None
    return context - min(settings.max_tokens or provider.answer_tokens, context // 2)


def trim_limit(settings: LlmSettings) -> int | None:
    """The limit for `trim`; None if there is none, or if the provider counts better than an estimate."""
    if settings.context_tokens is None and registry.find(choose(settings).provider).trims_history:
        return None
    return prompt_tokens(settings)


class LearnedLimit:
    """The limit for `trim` as configured, until the LLM's server says, or shows, that it takes less."""

    def __init__(self, settings: LlmSettings) -> None:
        self._settings = settings
        self._learned: int | None = None

    @property
    def tokens(self) -> int | None:
        return self._learned or trim_limit(self._settings)

    def after_refusal(self, context: int | None, sent: Trimmed, system: str | None) -> int:
        """The limit for the next attempt, which has at least one turn less. `context` is what the server says that it
        takes, if it does; that counts for what is asked later, too."""
        # Its tokens may be shorter than estimated, so what it says is not enough to go by.
        shorter = (tokens(system or "") + sum(tokens(message.text) for message in sent.messages)) * 2 // 3
        limit = None if context is None else prompt_tokens(self._settings, context)
        if limit is None:
            return shorter
        self._learn(limit, f"takes {context} tokens")
        return min(shorter, limit)

    def succeeded(self, limit: int | None) -> None:
        """What was shortened to `limit` was answered."""
        if limit is not None and limit != self.tokens:
            self._learn(limit, f"takes about {limit} tokens of a conversation")

    def after_reply(self, tokens_in: int | None, sent: Trimmed, system: str | None) -> int:
        """How many of the earlier turns the LLM saw, by the tokens that its server counted. If those are far fewer than
        what was sent, it left out the rest without a word, as Ollama does; that counts for what is asked later, too."""
        size = sum(len(message.text.encode(errors="replace")) for message in sent.messages)
        if tokens_in is None or not _LEAST_CONTEXT <= tokens_in < size / _MOST_BYTES_PER_TOKEN:
            return sent.seen
        self._learn(tokens_in, f"saw {tokens_in} tokens of a longer conversation")
        return trim(sent.messages, system, tokens_in).seen

    def _learn(self, limit: int, what: str) -> None:
        if self.tokens is None or limit < self.tokens:
            self._learned = limit
            _log.warning("the LLM %s, less than assumed: older turns are left out (context_tokens says how many)", what)


def trim(messages: list[Message], system: str | None, limit: int | None) -> Trimmed:
    """The question, which comes last, with as many whole turns before it as fit into `limit` tokens, by an estimate."""
    before = len(messages) // 2
    if limit is None:
        return Trimmed(messages, before, before)
    used = tokens(system or "") + tokens(messages[-1].text)
    start = len(messages) - 1
    while start >= 2:
        used += sum(tokens(message.text) for message in messages[start - 2 : start])
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


def tokens(text: str) -> int:
    """Of a message, by the estimate."""
    return len(text.encode(errors="replace")) // _BYTES_PER_TOKEN + _OVERHEAD
