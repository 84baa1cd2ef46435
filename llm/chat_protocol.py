"""OpenAI's chat completions as they come over the wire, from any server: what text is there arrives, whatever stands
beside it; whether the answer is complete is judged strictly."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
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
    FILTERED: (
        "content_filtered", "refusal", "safety", "image_safety", "sensitive", "spii", "language", "blocklist",
        "prohibited_content", "recitation", "guardrail_intervened",
    ),
    FAILED: (
        "abort", "aborted", "cancelled", "canceled", "failed", "timeout", "network_error",
        "insufficient_system_resource", "function_call_filter", "malformed_function_call", "other",
    ),
}
_FINISH_BY_WORD = {word: meaning for meaning, words in _FINISH.items() for word in words}
"""Any other word is a natural end: servers have many for that."""
_UNFINISHED = ("null", "none", "nil", "undefined", "false", "in_progress", "unfinished", "not_finished", "incomplete")
"""What servers write in place of a reason while they go on."""
_FINISH_KEYS = ("finish_reason", "finishReason", "stop_reason", "done_reason", "incomplete_details")

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
    choice: int = 0
    """Which of several answers this belongs to."""
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
    is_part: bool = False
    """By its own account there is more to come."""

    @property
    def has_text(self) -> bool:
        return bool(self.text or self.so_far or self.thoughts or self.finish_reason)


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
        self._is_last = False
        self._choice: int | None = None
        self._texts: list[str] = []
        self._thoughts: list[str] = []
        self._thoughts_size = 0
        self._repeats = True
        """No text came in increments."""
        self._finishes_early = False
        """Text followed a reason why there would be no more: some servers give one with each chunk."""

    @property
    def text(self) -> str:
        return "".join(self._texts)

    @property
    def tokens_written(self) -> int | None:
        """As the server counts; if the time ran out before it did, the pieces, which are about a token each."""
        return self.pieces if self.tokens_out is None and self.late else self.tokens_out

    @property
    def is_over(self) -> bool:
        """The server will say nothing more that counts."""
        return self._is_last or (self.finish_reason is not None and not self._finishes_early)

    @property
    def thoughts(self) -> str:
        return "".join(self._thoughts)

    def add(self, chunk: Chunk) -> None:
        self._take_counts(chunk)
        self._is_last = self._is_last or chunk.last
        self.ended = self.ended or chunk.last
        if chunk.text or chunk.so_far or chunk.finish_reason:
            if self._choice is not None and chunk.choice > self._choice:
                return  # another answer, unasked
            if self._choice is not None and chunk.choice < self._choice:
                self._begin_again()
            self._choice = chunk.choice
        if (chunk.text or chunk.so_far) and self.finish_reason is not None:
            self._finishes_early = True
        self._take_text(chunk)
        self.finish_reason = chunk.finish_reason or self.finish_reason
        self.ended = self.ended or self.finish_reason is not None

    def _begin_again(self) -> None:
        """The answer that was asked for is another one."""
        self._texts, self.size, self.finish_reason, self._repeats = [], 0, None, True

    def _take_counts(self, chunk: Chunk) -> None:
        self.tokens_in = chunk.tokens_in if chunk.tokens_in is not None else self.tokens_in
        self.tokens_out = chunk.tokens_out if chunk.tokens_out is not None else self.tokens_out

    def _take_text(self, chunk: Chunk) -> None:
        if chunk.text:
            self._repeats = False
            self._texts.append(chunk.text)
            self.size += len(chunk.text)
        elif chunk.so_far and self._repeats:
            before = self.text
            text = chunk.so_far if chunk.so_far.startswith(before) else before + chunk.so_far
            self._texts, self.size = [text], len(text)
        if chunk.thoughts and self._thoughts_size < _MAX_THOUGHTS:
            self._thoughts.append(chunk.thoughts[:_MAX_THOUGHTS])
            self._thoughts_size += len(chunk.thoughts)
        if chunk.text or chunk.so_far or chunk.thoughts:
            self.pieces += 1


def read(value: Json) -> Chunk:
    """What a decoded chunk, or a whole completion, says; an empty Chunk if it says nothing."""
    if isinstance(value, list):  # one answer in a list, as Google's servers wrap theirs
        value = value[0] if value else None
    if not isinstance(value, dict):
        return Chunk()
    chunk = Chunk()
    choice = first_of(value.get("choices"))
    if choice is not None:
        _read_choice(chunk, choice)
    else:
        _read_root(chunk, value)
    chunk.finish_reason = chunk.finish_reason or _finish_in(value)
    chunk.is_part = chunk.finish_reason is None and (chunk.is_part or value.get("done") is False)
    _read_usage(chunk, value)
    chunk.error = error_in(value, has_text=chunk.has_text)
    return chunk


_TEXT_ROOTS = ("message", "content", "response", "output_text", "output", "candidates", "generated_text", "completion")
"""Where servers that do not know choices have an answer: those of Ollama, llama.cpp, Anthropic, Google and others."""


def _choices(choices: Json) -> list[Json]:
    if isinstance(choices, dict):
        is_one = choices.keys() & {"message", "delta", "index", *_FINISH_KEYS, *_TEXT_KEYS}
        return [choices] if is_one else list(choices.values())
    return choices if isinstance(choices, list) else []


def first_of(choices: Json) -> Json:
    """The choice with the lowest index: that is what was asked for."""
    return min((one for one in _choices(choices) if one is not None), key=_index, default=None)


def _index(choice: Json) -> int:
    index = choice.get("index") if isinstance(choice, dict) else None
    return index if isinstance(index, int) and 0 <= index < 1000 else 0


def _read_choice(chunk: Chunk, choice: Json) -> None:
    if not isinstance(choice, dict):
        chunk.text = texts(choice)[0]
        return
    chunk.choice = _index(choice)
    chunk.text, chunk.thoughts = _said(choice.get("delta"))
    if not chunk.text:
        chunk.so_far, thoughts = _said(choice.get("message"))
        chunk.thoughts = chunk.thoughts or thoughts
    if not (chunk.text or chunk.so_far):
        chunk.text = _said({name: choice.get(name) for name in ("text", "content")})[0]
    chunk.finish_reason = _finish_in(choice) or _finish_in(choice.get("delta")) or _finish_in(choice.get("message"))
    chunk.is_part = bool(choice.get("delta")) and not chunk.so_far


def _read_root(chunk: Chunk, value: dict[str, Json]) -> None:
    """Other forms of an answer that a server behind the same address may use."""
    kind = str(value.get("type", ""))
    if kind.startswith("message_") or "delta" in value:
        _read_event(chunk, value)
        return
    for name in _TEXT_ROOTS:
        said = first_of(value.get(name)) if name == "candidates" else value.get(name)
        if name == "message" and not isinstance(said, dict):
            continue  # that is what errors have
        chunk.text, chunk.thoughts = _said(said) if isinstance(said, dict) else texts(said)
        if chunk.text or chunk.thoughts:
            break
    first = first_of(value.get("candidates"))
    chunk.finish_reason = _finish_in(first)
    if value.get("done") is True or value.get("stop") is True:
        chunk.finish_reason = chunk.finish_reason or _finish_in(value) or "stop"


def _read_event(chunk: Chunk, value: dict[str, Json]) -> None:
    """An event of Anthropic's streams: what it says stands in its delta."""
    delta = value.get("delta")
    if isinstance(delta, dict):
        chunk.text, chunk.thoughts = _said(delta)
        chunk.finish_reason = _finish_in(delta)
    else:
        chunk.text = texts(delta)[0]
    chunk.last = value.get("type") == "message_stop"


def _said(message: Json) -> tuple[str, str]:
    """The text and the thoughts of a message."""
    if not isinstance(message, dict):
        return texts(message)
    thoughts = next(filter(None, ("".join(texts(message.get(name))) for name in _THOUGHT_KEYS)), "")
    text, within = next((found for found in (texts(message.get(name)) for name in _TEXT_KEYS) if any(found)), ("", ""))
    return text, thoughts or within


def texts(content: Json, depth: int = 0) -> tuple[str, str]:
    """Text and thoughts of a message's content, which servers send as a string, parts, or nothing."""
    if isinstance(content, str):
        return content, ""
    if isinstance(content, int | float) and not isinstance(content, bool):
        return json.dumps(content), ""
    if depth > _MAX_DEPTH:
        return "", ""
    if isinstance(content, list):
        parts = [texts(part, depth + 1) for part in content]
        return "".join(text for text, _ in parts), "".join(thoughts for _, thoughts in parts)
    if not isinstance(content, dict):
        return "", ""
    keys = (*_TEXT_KEYS, *_THOUGHT_KEYS, "summary")
    found = next((said for said in (texts(content.get(name), depth + 1) for name in keys) if any(said)), ("", ""))
    is_thought = content.get("thought") in (True, "true") or content.get("type") in _THOUGHT_TYPES
    return ("", "".join(found)) if is_thought else found


def _finish_in(where: Json) -> str | None:
    """Why the answer ends, by any of the names for it; None while it goes on."""
    if not isinstance(where, dict):
        return None
    return next(filter(None, (_finish(where.get(name)) for name in _FINISH_KEYS)), None)


def _finish(reason: Json) -> str | None:
    if isinstance(reason, list):
        reason = reason[0] if reason else None
    if isinstance(reason, dict):
        reason = reason.get("type") or reason.get("reason")
    if not reason:
        return None
    word = str(reason)[:100].partition(":")[0].strip().lower()  # Google's say more behind it: content_filter: SPII
    return None if word in ("", *_UNFINISHED) or word.endswith("_unspecified") else _FINISH_BY_WORD.get(word, word)


_TOKENS_IN = ("prompt_tokens", "input_tokens", "prompt_eval_count", "promptTokenCount", "tokens_evaluated")
_TOKENS_OUT = ("completion_tokens", "output_tokens", "eval_count", "candidatesTokenCount", "tokens_predicted")


def _read_usage(chunk: Chunk, value: dict[str, Json]) -> None:
    for where in _usages(value):
        if isinstance(where, dict):
            chunk.tokens_in = first_count(where, _TOKENS_IN) if chunk.tokens_in is None else chunk.tokens_in
            chunk.tokens_out = first_count(where, _TOKENS_OUT) if chunk.tokens_out is None else chunk.tokens_out


def _usages(value: dict[str, Json]) -> Iterator[Json]:
    """Where servers count tokens."""
    choice, groq = first_of(value.get("choices")), value.get("x_groq")
    yield value.get("usage")
    yield value.get("usageMetadata")
    yield choice.get("usage") if isinstance(choice, dict) else None
    yield groq.get("usage") if isinstance(groq, dict) else None
    yield value


def first_count(where: dict[str, Json], names: tuple[str, ...]) -> int | None:
    return next((count for name in names if (count := _count(where.get(name))) is not None), None)


def _count(value: Json) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 12:
        value = int(value)
    counts = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= _MAX_TOKENS
    return int(value) if counts else None


def error_in(value: dict[str, Json], *, has_text: bool = False) -> Json:
    """Whatever says that there will be no answer, in any of the dialects; None if nothing does."""
    choice = first_of(value.get("choices"))
    within = (choice.get("delta"), choice.get("message")) if isinstance(choice, dict) else ()
    for where in (value, choice, *within, value.get("x_groq")):
        if isinstance(where, dict):
            found = next((where[name] for name in ("error", "errors") if _is_said(where.get(name))), None)
            if found is not None:
                # What stands beside a mere string may say more: a code, or in words what the string names.
                return where if isinstance(found, str) and where is value else found
    if value.get("object") == "error" or value.get("type") == "error" or value.get("status") in ("error", "failed"):
        return value
    if isinstance(value.get("error_code"), int) and value["error_code"]:
        return value
    status = value.get("base_resp")
    if isinstance(status, dict) and status.get("status_code") not in (None, 0, "0", ""):
        return status
    if has_text or value.get("choices") is not None:
        return None  # no choices are choices: beside them, a message may say that all is well
    if _is_said(value.get("detail")) or _is_said(value.get("msg")) or value.get("success") is False:
        return value
    said = value.get("message")
    is_message = isinstance(said, dict) and bool(said.keys() & {"role", "content"})
    return value if _is_said(said) and not is_message else None


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
