"""OpenAI's chat completions as they come over the wire, from any server: what text is there arrives, whatever stands
beside it; whether the answer is complete is judged strictly."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, TypeAlias

import msgspec

from llm.provider import Message

CLIENT_IMPORTS = ("llm.chat_client", "anyio._backends._asyncio")
"""What a provider that uses ChatClient imports with its first request: httpx is slow."""

CUT_OFF = "length"
FILTERED = "content_filter"
FAILED = "error"

_FINISH = {
    CUT_OFF: ("max_tokens", "max_output_tokens", "model_length", "max_length", "model_context_window_exceeded"),
    FILTERED: ("safety", "sensitive", "blocklist", "prohibited_content", "recitation", "guardrail_intervened"),
    FAILED: (
        "abort", "aborted", "cancelled", "canceled", "failed", "timeout", "network_error",
        "insufficient_system_resource",
    ),
}
_FINISH_BY_WORD = {word: meaning for meaning, words in _FINISH.items() for word in words}

_TEXT_KEYS = ("text", "content", "parts", "output_text", "value", "refusal")
_THOUGHT_KEYS = ("reasoning_content", "reasoning", "thinking", "thoughts", "reasoning_text", "reasoning_details")
_THOUGHT_TYPES = ("thinking", "reasoning", "thought", "redacted_thinking", "summary_text")
_MAX_DEPTH = 8
_MAX_THOUGHTS = 100_000
"""Characters of thoughts after which no more are kept."""
_MAX_TOKENS = 10**9
"""Counts beyond this are no counts."""

Json: TypeAlias = Any


class Chunk(msgspec.Struct):
    """What a part of a streamed completion says, or a whole one."""

    text: str = ""
    so_far: str = ""
    """All of the text up to now, from servers that repeat it."""
    thoughts: str = ""
    finish_reason: str | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None
    error: Json = None
    """Why there will be no answer, in whatever form the server says so."""
    last: bool = False
    """The server has marked the end of the stream."""


class Completion:
    """What has arrived so far. `finish_reason` is "stop", one of the constants above, or a server's own."""

    def __init__(self) -> None:
        self.pieces = 0
        self.size = 0
        """Characters of text."""
        self.finish_reason: str | None = None
        self.tokens_in: int | None = None
        self.tokens_out: int | None = None
        self.ended = False
        """Nothing is missing, as far as the server reports."""
        self.late = False
        """The caller's time ran out before the server had finished."""
        self._texts: list[str] = []
        self._thoughts: list[str] = []
        self._thoughts_size = 0
        self._repeats = True
        """No text came in increments."""

    @property
    def text(self) -> str:
        return "".join(self._texts)

    @property
    def has_text(self) -> bool:
        return bool(self._texts)

    @property
    def thoughts(self) -> str:
        return "".join(self._thoughts)

    def add(self, chunk: Chunk) -> None:
        if chunk.text:
            self._repeats = False
            self._texts.append(chunk.text)
        elif chunk.so_far and self._repeats:
            before = self.text
            if not chunk.so_far.startswith(before):
                self._texts.append(chunk.so_far)
            elif len(chunk.so_far) > len(before):
                self._texts = [chunk.so_far]
        if chunk.thoughts and self._thoughts_size < _MAX_THOUGHTS:
            self._thoughts.append(chunk.thoughts)
            self._thoughts_size += len(chunk.thoughts)
        if chunk.text or chunk.so_far or chunk.thoughts:
            self.pieces += 1
            self.size += len(chunk.text) + len(chunk.so_far)
        self.finish_reason = chunk.finish_reason or self.finish_reason
        self.ended = self.ended or chunk.last or self.finish_reason is not None
        self.tokens_in = chunk.tokens_in if chunk.tokens_in is not None else self.tokens_in
        self.tokens_out = chunk.tokens_out if chunk.tokens_out is not None else self.tokens_out


def parse(text: str) -> Json:
    """The JSON value in `text`. Raises ValueError. Half a surrogate pair, which servers cut apart, is a string, too."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("too deeply nested") from error


def read(value: Json) -> Chunk:
    """What a decoded chunk, or a whole completion, says; an empty Chunk if it says nothing."""
    if isinstance(value, list):  # one answer in a list, as Google's servers wrap theirs
        value = value[0] if value else None
    if not isinstance(value, dict):
        return Chunk()
    chunk = Chunk()
    choice = _first(value.get("choices"))
    if choice is not None:
        _read_choice(chunk, choice)
    else:
        _read_root(chunk, value)
    _read_usage(chunk, value.get("usage"))
    chunk.error = _error_in(value, chunk)
    return chunk


def is_completion(value: Json) -> bool:
    """Whether this looks like a completion or a part of one, though it may say nothing."""
    return isinstance(value, dict) and (
        bool(value.keys() & {"choices", "usage", "message", "content", "response", "output_text"})
        or str(value.get("object", "")).startswith("chat.completion")
    )


def _first(choices: Json) -> Json:
    """The choice that was asked for: chunks of others, which some servers send unasked, are not part of the answer."""
    if isinstance(choices, dict):
        choices = [choices]
    if not isinstance(choices, list):
        return None
    return next((one for one in choices if not isinstance(one, dict) or one.get("index") in (None, 0, "0")), None)


def _read_choice(chunk: Chunk, choice: Json) -> None:
    if not isinstance(choice, dict):
        chunk.text = _texts(choice)[0]
        return
    chunk.text, chunk.thoughts = _said(choice.get("delta"))
    if not chunk.text:
        chunk.so_far, thoughts = _said(choice.get("message"))
        chunk.thoughts = chunk.thoughts or thoughts
    if not (chunk.text or chunk.so_far):
        chunk.text = _said({name: choice.get(name) for name in ("text", "content")})[0]
    chunk.finish_reason = _finish(choice.get("finish_reason") or choice.get("finishReason"))


def _read_root(chunk: Chunk, value: dict[str, Json]) -> None:
    """Other forms of an answer that a server behind the same address may use: Ollama's, llama.cpp's."""
    if isinstance(value.get("message"), dict):
        chunk.text, chunk.thoughts = _said(value["message"])
    else:
        chunk.text, chunk.thoughts = _said({"content": value.get("content") or value.get("response")})
    if value.get("done") is True or value.get("stop") is True:
        chunk.finish_reason = _finish(value.get("done_reason")) or "stop"


def _said(message: Json) -> tuple[str, str]:
    """The text and the thoughts of a message."""
    if not isinstance(message, dict):
        return _texts(message)
    thoughts = next(filter(None, ("".join(_texts(message.get(name))) for name in _THOUGHT_KEYS)), "")
    text, within = next((found for found in (_texts(message.get(name)) for name in _TEXT_KEYS) if any(found)), ("", ""))
    return text, thoughts or within


def _texts(content: Json, depth: int = 0) -> tuple[str, str]:
    """Text and thoughts of a message's content, which servers send as a string, parts, or nothing."""
    if isinstance(content, str):
        return content, ""
    if isinstance(content, int | float) and not isinstance(content, bool):
        return json.dumps(content), ""
    if depth > _MAX_DEPTH:
        return "", ""
    if isinstance(content, list):
        parts = [_texts(part, depth + 1) for part in content]
        return "".join(text for text, _ in parts), "".join(thoughts for _, thoughts in parts)
    if not isinstance(content, dict):
        return "", ""
    keys = (*_TEXT_KEYS, *_THOUGHT_KEYS, "summary")
    found = next((said for said in (_texts(content.get(name), depth + 1) for name in keys) if any(said)), ("", ""))
    is_thought = content.get("thought") is True or content.get("type") in _THOUGHT_TYPES
    return ("", "".join(found)) if is_thought else found


def _finish(reason: Json) -> str | None:
    if isinstance(reason, dict):
        reason = reason.get("type") or reason.get("reason")
    if not reason:
        return None
    word = str(reason)[:100].lower()
    return _FINISH_BY_WORD.get(word, word)


def _read_usage(chunk: Chunk, usage: Json) -> None:
    if isinstance(usage, dict):
        chunk.tokens_in = _count(usage.get("prompt_tokens", usage.get("input_tokens")))
        chunk.tokens_out = _count(usage.get("completion_tokens", usage.get("output_tokens")))


def _count(value: Json) -> int | None:
    counts = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= _MAX_TOKENS
    return int(value) if counts else None


def _error_in(value: dict[str, Json], chunk: Chunk) -> Json:
    """Whatever says that there will be no answer, in any of the dialects; None if nothing does."""
    for where in (value, _first(value.get("choices"))):
        if isinstance(where, dict):
            found = next((where[name] for name in ("error", "errors") if _is_said(where.get(name))), None)
            if found is not None:
                # What stands beside a mere string may say more: a code, or in words what the string names.
                return where if isinstance(found, str) and where is value else found
    if value.get("object") == "error" or value.get("type") == "error" or value.get("status") == "error":
        return value
    if isinstance(value.get("error_code"), int) and value["error_code"]:
        return value
    if chunk.text or chunk.so_far or chunk.thoughts or chunk.finish_reason or "choices" in value:
        return None
    return value if any(_is_said(value.get(name)) for name in ("detail", "message", "msg")) else None


def _is_said(error: Json) -> bool:
    """Whether this reports an error: many servers send an empty one with each chunk."""
    if isinstance(error, dict):
        return any(_is_said(part) for part in error.values())
    return bool(error)


def streamed(body: dict[str, Json]) -> dict[str, Json]:
    """The request, for an answer in pieces that ends with the number of its tokens."""
    return {**body, "stream": True, "stream_options": {"include_usage": True}}


def chat_messages(system: str | None, messages: Sequence[Message]) -> list[dict[str, str]]:
    """A prompt's messages in the format of the protocol."""
    head = [] if system is None else [{"role": "system", "content": system}]
    return head + [{"role": message.role, "content": message.text} for message in messages]
