"""OpenAI's chat completions as they come over the wire: liberal in framing and shapes, strict about completeness."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from llm.provider import Message

CLIENT_IMPORTS = ("llm.chat_client", "anyio._backends._asyncio")
"""What a provider that uses ChatClient imports with its first request: httpx is slow."""


class _Content(msgspec.Struct, frozen=True):
    content: str | None = None


class _Choice(msgspec.Struct):
    delta: _Content = _Content()
    message: _Content = _Content()
    """Used instead of `delta` if the server does not stream."""
    finish_reason: str | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class Chunk(msgspec.Struct):
    """A chunk of a streamed completion, or a whole one."""

    choices: list[_Choice] = []
    usage: _Usage | None = None
    error: object = None
    last: bool = False
    """The server has marked the end of the stream."""


class Completion(msgspec.Struct):
    """The text so far. `finish_reason` is "stop", "length" (cut off), "content_filter", or a server's own."""

    text: str = ""
    pieces: int = 0
    finish_reason: str | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None
    ended: bool = False
    """Nothing is missing, as far as the server reports."""

    def add(self, chunk: Chunk) -> None:
        for choice in chunk.choices[:1]:
            text = choice.delta.content or choice.message.content
            if text:
                self.text += text
                self.pieces += 1
            self.finish_reason = choice.finish_reason or self.finish_reason
        self.ended = self.ended or chunk.last or self.finish_reason is not None
        if chunk.usage is not None:
            self.tokens_in, self.tokens_out = chunk.usage.prompt_tokens, chunk.usage.completion_tokens


def chat_messages(system: str | None, messages: Sequence[Message]) -> list[dict[str, str]]:
    """A prompt's messages in the format of the protocol."""
    head = [] if system is None else [{"role": "system", "content": system}]
    return head + [{"role": message.role, "content": message.text} for message in messages]


def message_of(error: object) -> str:
    """The message of an error, which servers nest to any depth."""
    while isinstance(error, dict):
        code = error.get("code")
        error = error.get("error") or error.get("message") or error.get("detail")
        if isinstance(error, str) and isinstance(code, str):
            return f"{error} ({code})"
    return error if isinstance(error, str) else ""
