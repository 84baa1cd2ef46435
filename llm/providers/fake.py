"""A provider without an LLM, for tests and demonstrations: each answer is a function of node, seed and prompt."""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from string import ascii_uppercase

import msgspec

from config.llm_settings import LlmSettings
from llm.provider import Progress, Prompt, ProviderError, Reply
from llm.registry import register

_QUOTED_CHARS = 60
_WORDS = re.compile(r"\S+\s*")
_OPINIONS = ("yes", "no", "perhaps", "it depends", "hardly", "without doubt", "ask again", "rarely")


class FakeProvider:
    """Writes an answer word by word, within `delay_s`; fails with the reason `fail` if that is set."""

    name = "fake"
    parallel = 16

    def __init__(self, settings: LlmSettings, node: int) -> None:
        self.model = settings.model or "fake"
        self._node = node
        self._delay_s = settings.delay_s
        self._fail = settings.fail
        self._timeout_s = settings.timeout_s

    async def ask(self, prompt: Prompt, on_progress: Progress | None = None) -> Reply:
        began = time.monotonic()
        if self._fail is not None:
            await asyncio.sleep(self._delay_s)
            raise ProviderError(self._fail)
        text = self._answer(prompt)
        words = len(text.split())
        async for written in self._words(text):
            if on_progress is not None:
                on_progress(len(written.split()), partial(str, written))
        asked = sum(len(message.text.split()) for message in prompt.messages)
        return Reply(text, self.model, time.monotonic() - began, tokens_in=asked, tokens_out=words)

    async def _words(self, text: str) -> AsyncIterator[str]:
        """The text as it is written. Without a delay it is there at once."""
        words = _WORDS.findall(text) if self._delay_s else [text]
        for count in range(1, len(words) + 1):
            await asyncio.sleep(self._delay_s / len(words))
            yield "".join(words[:count])

    async def close(self) -> None:
        pass

    def _answer(self, prompt: Prompt) -> str:
        if prompt.ballot is not None:
            return " > ".join(sorted(ascii_uppercase[: len(prompt.ballot.answers)], key=self._preference))
        digest = hashlib.blake2s(repr((self._node, prompt.seed)).encode() + msgspec.msgpack.encode(prompt)).hexdigest()
        question = prompt.messages[-1].text
        quoted = question if len(question) <= _QUOTED_CHARS else question[:_QUOTED_CHARS] + "..."
        opinion = _OPINIONS[int(digest, 16) % len(_OPINIONS)]
        return f'Node {self._node} on "{quoted}": {opinion}. [{digest[:8]}]'

    def _preference(self, label: str) -> bytes:
        return hashlib.blake2s(f"{self._node}{label}".encode()).digest()


@register("fake", meaningful=False)
def build(settings: LlmSettings, node: int, data_dir: Path) -> FakeProvider:
    return FakeProvider(settings, node)
