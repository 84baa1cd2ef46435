"""Gemini through the real SDK, against a stand-in for Google on loopback. What fails is in test_llm_gemini_wire.py."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from llm.gemini import GeminiProvider
from llm.gemini_words import DEFAULT_MODEL
from llm.provider import Prompt, Reply
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
