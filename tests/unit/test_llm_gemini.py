"""Gemini through the real SDK, against a stand-in for Google on loopback."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
import traceback
from typing import Any

import pytest

from llm.gemini import DEFAULT_MODEL, GeminiProvider
from llm.provider import Prompt, ProviderError, Reply
from llm.settings import LlmSettings
from tests.unit.llm_tools import Said, question, said_json, stand_in

KEY = "AIzaVerySecretKey"


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def ask(url: str, prompt: Prompt | None = None, timeout_s: float = 30) -> Reply:
    provider = GeminiProvider(LlmSettings(base_url=url, api_key=KEY, timeout_s=timeout_s))
    return asyncio.run(provider.ask(prompt or question("hi")))


def candidate(text: str | None, finish: str = "STOP") -> dict[str, Any]:
    parts = [] if text is None else [{"text": text}]
    return {"candidates": [{"content": {"role": "model", "parts": parts}, "finishReason": finish}]}


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


def test_an_answer() -> None:
    body = candidate("Hel")
    body["candidates"][0]["content"]["parts"].append({"text": "lo"})
    body["usageMetadata"] = {"promptTokenCount": 11, "candidatesTokenCount": 2, "totalTokenCount": 13}
    with stand_in(said_json(body)) as google:
        prompt = Prompt(question("three", ("one", "two")).messages, "be brief", 0.3, max_tokens=7)
        reply = ask(google.url, prompt)
    assert (reply.text, reply.model, reply.tokens_in, reply.tokens_out) == ("Hello", DEFAULT_MODEL, 11, 2)
    (asked,) = google.asked
    assert asked.path.startswith(f"/v1beta/models/{DEFAULT_MODEL}:generateContent")
    assert KEY not in asked.path
    assert asked.headers["x-goog-api-key"] == KEY
    assert [(content["role"], content["parts"][0]["text"]) for content in asked.body["contents"]] == [
        ("user", "one"), ("model", "two"), ("user", "three"),
    ]
    assert asked.body["systemInstruction"]["parts"] == [{"text": "be brief"}]
    assert asked.body["generationConfig"]["maxOutputTokens"] == 7
    assert asked.body["generationConfig"]["temperature"] == pytest.approx(0.3)


def test_a_cut_off_answer_is_an_answer() -> None:
    with stand_in(said_json(candidate("So far", "MAX_TOKENS"))) as google:
        assert ask(google.url).text == "So far"


@pytest.mark.parametrize(
    ("said", "reason", "retryable"),
    [
        (INVALID_KEY, "does not accept the API key: API key not valid", False),
        (refusal(403, f"no access with {KEY}"), r"does not accept the API key: no access with \*\*\*", False),
        (refusal(404, "models/x is not found"), f"knows no model {DEFAULT_MODEL}", False),
        (refusal(429, "Resource exhausted", RETRY_INFO), "quota is used up .Resource exhausted", True),
        (refusal(429, "Resource exhausted", DAILY), "quota is used up for today", False),
        (refusal(503, "The model is overloaded."), "overloaded or failing .HTTP 503.: The model is overloaded", True),
        (refusal(400, "temperature out of range"), "refused the request .HTTP 400.: temperature out of range", False),
        (said_json({"promptFeedback": {"blockReason": "SAFETY"}}), r"the prompt is blocked \(SAFETY\)", False),
        (said_json(candidate("Some", "SAFETY")), "safety filter does not allow", False),
        (said_json(candidate(None, "PROHIBITED_CONTENT")), "prohibited content", False),
        (said_json(candidate(None, "OTHER")), "stopped: OTHER", True),
        (said_json({"candidates": []}), "returned no answer", True),
        (said_json({"candidates": [{"finishReason": "STOP"}]}), "returned an empty answer", True),
        (said_json(candidate(None, "MAX_TOKENS")), "used up its tokens before it wrote anything", False),
        (Said(200, (b"<html>login</html>",), "text/html"), "not an answer", True),
        (Said(502, (b"<html>bad</html>",), "text/html"), "failing .HTTP 502.", True),
        (said_json([{"error": "odd"}], 500), "not an answer", True),
    ],
)
def test_failures_in_plain_words(said: Said, reason: str, retryable: bool, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), stand_in(said) as google, pytest.raises(ProviderError, match=reason) as caught:
        ask(google.url)
    assert len(google.asked) == 1, "the SDK does not try again by itself"
    assert caught.value.retryable is retryable
    assert caught.value.retry_after_s == (17.5 if b"retryDelay" in said.pieces[0] else None)
    assert KEY not in "".join(traceback.format_exception(caught.value))
    assert KEY not in caplog.text


def test_too_slow_an_answer_is_given_up_in_time() -> None:
    with stand_in(said_json(candidate("late"))._replace(delay_s=60)) as google:
        began = time.monotonic()
        with pytest.raises(ProviderError, match=r"no answer (with)?in") as caught:
            ask(google.url, timeout_s=0.3)
        assert time.monotonic() - began < 10
    assert caught.value.retryable


def test_nobody_listens() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(ProviderError, match="Gemini cannot be reached") as caught:
            ask(f"http://127.0.0.1:{unused.getsockname()[1]}")
    assert caught.value.retryable
