"""A fake Google server on loopback that speaks each requested form of Gemini's protocol.

`:generateContent` is answered with one JSON object; `:streamGenerateContent?alt=sse` with one event for each chunk;
`:streamGenerateContent` with one JSON array of the chunks, its enumerations as numbers on request: that is what
google-generativeai wants.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from enum import StrEnum
from typing import Any
from urllib.parse import parse_qs, urlsplit

from config.llm_settings import LlmSettings
from kvstore.conversation import Kind, Turn
from llm.provider import Progress, Prompt, Provider, ProviderError, Reply
from llm.providers.gemini import GeminiProvider
from llm.providers.google_genai import GoogleGenaiProvider
from llm.request_scheduler import Metering, RequestScheduler
from llm.requests import View, pending_in
from tests.unit.llm.llm_tools import Asked, Said, conversation, question, said_json

KEY = "AIzaVerySecretKey"

_NUMBERS = {"STOP": 1, "MAX_TOKENS": 2, "SAFETY": 3, "RECITATION": 4, "OTHER": 5}
_UTF8 = "; charset=UTF-8"


class Form(StrEnum):
    WHOLE = "whole"
    EVENTS = "events"
    ARRAY = "array"


class End(StrEnum):
    """How a stream ends."""

    WHOLE = "whole"
    CUT = "cut"
    """The server closes the connection between two chunks, which looks like a normal end."""
    BROKEN = "broken"
    """The server closes the connection in the middle of an announced chunk."""
    GARBAGE = "garbage"


def form_of(asked: Asked) -> Form:
    """Raises AssertionError for requests that Gemini would reject."""
    path, method = urlsplit(asked.path).path.rsplit(":", 1)
    assert path.startswith("/v1beta/models/"), asked.path
    if method == "generateContent":
        return Form.WHOLE
    assert method == "streamGenerateContent", asked.path
    wanted = parse_qs(urlsplit(asked.path).query)
    return Form.EVENTS if wanted.get("alt") == ["sse"] else Form.ARRAY


def candidate(text: str | None, finish: str | None = "STOP") -> dict[str, Any]:
    """A response, or a chunk of one."""
    parts = [] if text is None else [{"text": text}]
    said: dict[str, Any] = {"content": {"role": "model", "parts": parts}}
    if finish is not None:
        said["finishReason"] = finish
    return {"candidates": [said]}


def usage(prompt: int, answer: int) -> dict[str, Any]:
    return {"usageMetadata": {"promptTokenCount": prompt, "candidatesTokenCount": answer}}


def streamed(
    *chunks: dict[str, Any], end: End = End.WHOLE, delay_s: float = 0.0, stall_s: float = 0.0
) -> Callable[[Asked], Said]:
    """These chunks, in the requested form. `stall_s`: the pause after the first chunk."""

    def speak(asked: Asked) -> Said:
        form = form_of(asked)
        assert form is not Form.WHOLE, "a stream was to be asked for"
        numbers = "enum-encoding=int" in asked.path.replace("%3D", "=")
        texts = [json.dumps(_numbered(chunk) if numbers else chunk) for chunk in chunks]
        pieces = _events(texts, end) if form is Form.EVENTS else _array(texts, end)
        kind = "text/event-stream" if form is Form.EVENTS else "application/json" + _UTF8
        headers = (("content-length", "9999999"),) if end is End.BROKEN else ()
        encoded = tuple(piece.encode() for piece in pieces)
        if stall_s:
            return Said(200, (encoded[0], b"".join(encoded[1:])), kind, headers, stall_s, stall_after=1)
        return Said(200, encoded, kind, headers, delay_s)

    return speak


def _events(texts: list[str], end: End) -> list[str]:
    events = [f"data: {text}\r\n\r\n" for text in texts]
    return [*events, "data: {nonsense\r\n\r\n"] if end is End.GARBAGE else events


def _array(texts: list[str], end: End) -> list[str]:
    pieces = [("[" if number == 0 else ",\r\n") + text for number, text in enumerate(texts)] or ["["]
    if end is End.GARBAGE:
        pieces.append(",\r\n{nonsense}")
    return pieces if end in (End.CUT, End.BROKEN) else [*pieces, "]"]


def _numbered(chunk: dict[str, Any]) -> dict[str, Any]:
    """With enumerations as numbers."""
    if "candidates" not in chunk:
        return chunk
    candidates = [dict(one) for one in chunk["candidates"]]
    for one in candidates:
        if "finishReason" in one:
            one["finishReason"] = _NUMBERS.get(one["finishReason"], one["finishReason"])
    return {**chunk, "candidates": candidates}


def refusal(status: int, message: str, *details: object) -> Said:
    return said_json({"error": {"code": status, "message": message, "status": "X", "details": details}}, status)


INVALID_KEY = refusal(
    400, "API key not valid. Please pass a valid API key.",
    {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID", "domain": "googleapis.com"},
)
RETRY_INFO = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "17.5s"}
DAILY = {
    "@type": "type.googleapis.com/google.rpc.QuotaFailure",
    "violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"}],
}

Make = Callable[[LlmSettings], Provider]
SDKS: dict[str, Make] = {"gemini": GeminiProvider, "google-genai": GoogleGenaiProvider}


def ask(
    make: Make, url: str, prompt: Prompt | None = None, *, timeout_s: float = 30, on_progress: Progress | None = None
) -> Reply:
    async def main() -> Reply:
        provider = make(LlmSettings(base_url=url, api_key=KEY, timeout_s=timeout_s))
        try:
            return await provider.ask(prompt or question("hi"), on_progress)
        finally:
            await provider.close()

    return asyncio.run(main())


def through_the_scheduler(
    make: Make, url: str, *, progress: list[int] | None = None, **settings: Any
) -> tuple[Reply | ProviderError, Metering]:
    """One request: as a node has it done. Streamed if `progress` is to be filled."""

    async def main() -> tuple[Reply | ProviderError, Metering]:
        outcome: asyncio.Future[Reply | ProviderError] = asyncio.get_running_loop().create_future()
        all_settings = LlmSettings(base_url=url, api_key=KEY, **settings)
        scheduler = RequestScheduler(
            all_settings, lambda: make(all_settings), lambda _, came: outcome.set_result(came),
            on_progress=None if progress is None else lambda _, tokens, __: progress.append(tokens),
        )
        request = pending_in(conversation("c", Turn(Kind.QUERY, "hi")), 1, View(1))
        assert request is not None
        scheduler.start(request)
        try:
            return await outcome, scheduler.metering
        finally:
            await scheduler.close()

    return asyncio.run(main())
