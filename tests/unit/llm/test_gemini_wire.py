"""Everything that can go wrong between a node and Gemini, with both Google SDKs, against a fake server on loopback.

The streaming form is in test_llm_gemini_stream.py.
"""

from __future__ import annotations

import importlib.util
import logging
import socket
import time
import traceback
from typing import NamedTuple

import pytest

from config.llm_settings import LlmSettings
from llm.gemini_responses import DEFAULT_MODEL
from llm.provider import Prompt, ProviderError, Reply
from llm.providers.google_genai import GoogleGenaiProvider
from tests.unit.llm.gemini_tools import (
    DAILY,
    INVALID_KEY,
    KEY,
    RETRY_INFO,
    SDKS,
    Make,
    ask,
    candidate,
    refusal,
    through_the_scheduler,
    usage,
)
from tests.unit.llm.llm_tools import Said, question, said_json, stand_in


@pytest.fixture(params=SDKS.values(), ids=list(SDKS))
def make(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Make:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    maker: Make = request.param
    return maker


class Case(NamedTuple):
    said: Said
    reason: str
    retryable: bool


HALF = b'{"candidates": [{"content": {"role": "model", "parts": [{"text": "So fa'

CASES = {
    "invalid key": Case(INVALID_KEY, "does not accept the API key: API key not valid", False),
    "key without access": Case(refusal(403, f"no access with {KEY}"), r"the API key: no access with \*\*\*", False),
    "unknown model": Case(refusal(404, "models/x is not found"), f"does not know the model {DEFAULT_MODEL}", False),
    "quota": Case(
        refusal(429, "Resource exhausted", RETRY_INFO), r"is exhausted \(Resource exhausted\), retry in 18 s", True
    ),
    "quota of the day": Case(refusal(429, "Resource exhausted", DAILY), "quota is exhausted for today", False),
    "500": Case(refusal(500, "An internal error"), "failing .HTTP 500.: An internal error", True),
    "503": Case(refusal(503, "The model is overloaded."), "failing .HTTP 503.: The model is overloaded", True),
    "504": Case(refusal(504, "Deadline expired"), "failing .HTTP 504.: Deadline expired", True),
    "bad request": Case(refusal(400, "Request contains an invalid argument."), "refused the request .HTTP 400.", False),
    "blocked prompt": Case(said_json({"promptFeedback": {"blockReason": "SAFETY"}}), "blocked .SAFETY.", False),
    "safety": Case(said_json(candidate("Some", "SAFETY")), "safety filter does not allow", False),
    "recitation": Case(said_json(candidate(None, "RECITATION")), "copyrighted", False),
    "unknown reason": Case(said_json(candidate(None, "OTHER")), "stopped: OTHER", True),
    "no candidates": Case(said_json({"candidates": []}), "returned no answer", True),
    "nothing at all": Case(said_json({}), "returned no answer", True),
    "no content": Case(said_json({"candidates": [{"finishReason": "STOP"}]}), "an empty answer", True),
    "no parts": Case(said_json(candidate(None)), "an empty answer", True),
    "empty text": Case(said_json(candidate(" \n")), "an empty answer", True),
    "tokens used up": Case(said_json(candidate(None, "MAX_TOKENS")), "used up its tokens before it wrote", False),
    "a page instead": Case(Said(200, (b"<html>login</html>",), "text/html"), "web page .* .login.", False),
    "a page with 502": Case(Said(502, (b"<html>bad</html>",), "text/html"), "failing .HTTP 502.", True),
    "garbage": Case(Said(200, (b"{nonsense",)), "not an answer", True),
    "not even text": Case(Said(200, (bytes(range(128, 256)),)), "not an answer", True),
    "half a body": Case(Said(200, (HALF,)), "not an answer|connection", True),
    "less than announced": Case(
        Said(200, (HALF,), headers=(("content-length", "5000"),)), "not an answer|connection", True
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_failure_is_told_in_plain_words(make: Make, case: Case, caplog: pytest.LogCaptureFixture) -> None:
    with (
        caplog.at_level(logging.DEBUG), stand_in(case.said) as google,
        pytest.raises(ProviderError, match=case.reason) as caught,
    ):
        ask(make, google.url)
    assert len(google.asked) == (2 if case is CASES["bad request"] else 1), "what may be for an optional field, without"
    assert caught.value.retryable is case.retryable
    assert caught.value.retry_after_s == (17.5 if case is CASES["quota"] else None)
    assert KEY not in "".join(traceback.format_exception(caught.value))
    assert KEY not in caplog.text


def test_what_is_asked(make: Make) -> None:
    body = candidate("Hel") | usage(11, 2)
    body["candidates"][0]["content"]["parts"].append({"text": "lo"})
    with stand_in(said_json(body)) as google:
        prompt = Prompt(question("three", ("one", "two")).messages, "be brief", 0.3, max_tokens=7)
        reply = ask(make, google.url, prompt)
    assert (reply.text, reply.tokens_in, reply.tokens_out, reply.complete) == ("Hello", 11, 2, True)
    (asked,) = google.asked
    assert asked.path.split("?")[0] == f"/v1beta/models/{DEFAULT_MODEL}:generateContent"
    assert KEY not in asked.path and asked.headers["x-goog-api-key"] == KEY
    assert [(content["role"], content["parts"]) for content in asked.body["contents"]] == [
        ("user", [{"text": "one"}]), ("model", [{"text": "two"}]), ("user", [{"text": "three"}]),
    ]
    assert asked.body["systemInstruction"]["parts"] == [{"text": "be brief"}]
    assert asked.body["generationConfig"]["maxOutputTokens"] == 7
    assert asked.body["generationConfig"]["temperature"] == pytest.approx(0.3)


def test_a_cut_off_answer_says_so(make: Make) -> None:
    with stand_in(said_json(candidate("So far", "MAX_TOKENS"))) as google:
        reply = ask(make, google.url)
    assert (reply.text, reply.complete) == ("So far", False)


def test_two_megabytes_are_too_long_an_answer(make: Make) -> None:
    with stand_in(said_json(candidate("x" * 2_000_000))) as google:
        outcome, _ = through_the_scheduler(make, google.url)
    assert isinstance(outcome, ProviderError)
    assert "too long: 2000000 bytes" in outcome.reason and len(google.asked) == 1


def test_the_one_retry_loop_waits_as_long_as_it_is_told(make: Make) -> None:
    delay = {"@type": RETRY_INFO["@type"], "retryDelay": "0.6s"}
    with stand_in(refusal(429, "slow down", delay), refusal(503, "busy"), said_json(candidate("Hello"))) as google:
        began = time.monotonic()
        outcome, metering = through_the_scheduler(make, google.url)
    assert isinstance(outcome, Reply) and outcome.text == "Hello"
    assert (len(google.asked), metering.retries) == (3, 2)
    assert time.monotonic() - began >= 0.6


DRIP = Said(200, (b'{"candidates": ', *([b" "] * 10_000)), delay_s=0.05)
SLOW = {
    "says nothing": said_json(candidate("late"))._replace(delay_s=60),
    "never comes to an end": DRIP,
    "fails after a while, always": refusal(503, "busy")._replace(delay_s=0.5),
}


@pytest.mark.parametrize("said", SLOW.values(), ids=SLOW.keys())
def test_the_time_limit_is_kept(make: Make, said: Said) -> None:
    with stand_in(said_json(candidate("warm"))) as google:
        ask(make, google.url)  # exclude the import of the SDK
    with stand_in(said) as google:
        began = time.monotonic()
        outcome, _ = through_the_scheduler(make, google.url, timeout_s=1.0)
        took = time.monotonic() - began
    assert isinstance(outcome, ProviderError)
    assert took < 1.0 + 15.0, "the server takes a minute, a busy machine seconds"


def test_nobody_listens(make: Make) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(ProviderError, match="Gemini cannot be reached") as caught:
            ask(make, f"http://127.0.0.1:{unused.getsockname()[1]}")
    assert caught.value.retryable


def test_without_its_package_the_reason_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ProviderError, match=r"pip install -r requirements-google-genai\.txt"):
        GoogleGenaiProvider(LlmSettings(api_key=KEY))
