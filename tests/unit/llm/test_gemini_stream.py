"""Gemini's streaming form, with both of Google's SDKs, against a fake server on loopback: a stream can stop after
any chunk, and half an answer must never count as a whole one."""

from __future__ import annotations

import asyncio
import gzip
import re
import time
import traceback
from typing import Any, NamedTuple

import pytest

from config.llm_settings import LlmSettings
from llm.gemini_responses import DEFAULT_MODEL
from llm.provider import Prompt, ProviderError, Reply
from tests.unit.llm.gemini_tools import (
    INVALID_KEY,
    KEY,
    RETRY_INFO,
    SDKS,
    End,
    Form,
    Make,
    ask,
    candidate,
    form_of,
    refusal,
    streamed,
    through_the_scheduler,
    usage,
)
from tests.unit.llm.llm_tools import Asked, Said, Scripted, question, said_json, stand_in, until, wait_until


@pytest.fixture(params=SDKS.values(), ids=list(SDKS))
def make(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Make:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    maker: Make = request.param
    return maker


def more(text: str | None) -> dict[str, object]:
    """A chunk that is not the last one."""
    return candidate(text, None)


class Case(NamedTuple):
    said: Scripted
    reason: str
    retryable: bool


BROKE_OFF = "the answer is incomplete|connection to Gemini broke"

CASES = {
    "invalid key before the first chunk": Case(INVALID_KEY, "does not accept the API key: API key not valid", False),
    "quota before the first chunk": Case(
        refusal(429, "Resource exhausted", RETRY_INFO), r"is exhausted \(Resource exhausted\), retry in 18 s", True
    ),
    "503 before the first chunk": Case(refusal(503, "overloaded"), "failing .HTTP 503.: overloaded", True),
    "blocked prompt": Case(streamed({"promptFeedback": {"blockReason": "SAFETY"}}), "the prompt is blocked", False),
    "safety in a later chunk": Case(
        streamed(more("Some"), more(" text"), candidate(None, "SAFETY")), "safety filter does not allow", False
    ),
    "unknown reason in a later chunk": Case(streamed(more("Some"), candidate(None, "OTHER")), "stopped: OTHER", True),
    "tokens used up before a word": Case(
        streamed(more(None), candidate(None, "MAX_TOKENS")), "used up its tokens before it wrote", False
    ),
    "no chunk": Case(streamed(), "returned no answer|an empty response", True),
    "chunks without candidates": Case(streamed(usage(3, 0), usage(3, 0)), "returned no answer", True),
    "only blanks": Case(streamed(more(" "), candidate("\n")), "an empty answer", True),
    "cut before the first chunk": Case(streamed(end=End.CUT), f"an empty response|{BROKE_OFF}", True),
    "cut between two chunks": Case(streamed(more("Some"), more(" text"), end=End.CUT), BROKE_OFF, True),
    "cut in the middle of what was announced": Case(streamed(more("Some"), end=End.BROKEN), BROKE_OFF, True),
    "ended without saying why": Case(streamed(more("Some"), more(" text")), "the answer is incomplete", True),
    "garbage after a chunk": Case(streamed(more("Some"), end=End.GARBAGE), "not an answer", True),
    "garbage before any": Case(Said(200, (b"data: {nonsense\n\n",), "text/event-stream"), "not an answer", True),
    "a page instead": Case(Said(200, (b"<html>login</html>",), "text/html"), "web page .* .login.", False),
    "an error in a later chunk": Case(
        streamed(more("Some"), {"error": {"code": 503, "message": "overloaded"}}), "Gemini failed: overloaded", True
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_failure_is_told_in_plain_words(make: Make, case: Case) -> None:
    with stand_in(case.said) as google, pytest.raises(ProviderError, match=case.reason) as caught:
        ask(make, google.url, on_progress=lambda *_: None)
    assert len(google.asked) == 1, "the SDK does not try again by itself"
    assert form_of(google.asked[0]) is not Form.WHOLE
    assert caught.value.retryable is case.retryable
    assert KEY not in "".join(traceback.format_exception(caught.value))


def test_what_is_asked_and_how_far_it_is(make: Make) -> None:
    chunks = [more("Hel") | usage(11, 1), more("lo") | usage(11, 2), more(", and a lot more of it. " * 5)]
    last = candidate(None) | usage(11, 34)
    seen: list[int] = []
    with stand_in(streamed(*chunks, last)) as google:
        prompt = Prompt(question("three", ("one", "two")).messages, "be brief", 0.3, max_tokens=7)
        reply = ask(make, google.url, prompt, on_progress=lambda pieces, *_: seen.append(pieces))
    assert reply.text == "Hello" + ", and a lot more of it. " * 5
    assert (reply.tokens_in, reply.tokens_out, reply.complete) == (11, 34, True)
    assert seen == [1, 2, 31, 34], "by Gemini's count, or a guess where it has none"
    (asked,) = google.asked
    assert asked.path.split("?")[0] == f"/v1beta/models/{DEFAULT_MODEL}:streamGenerateContent"
    assert KEY not in asked.path and asked.headers["x-goog-api-key"] == KEY
    assert [(content["role"], content["parts"]) for content in asked.body["contents"]] == [
        ("user", [{"text": "one"}]), ("model", [{"text": "two"}]), ("user", [{"text": "three"}]),
    ]
    assert asked.body["systemInstruction"]["parts"] == [{"text": "be brief"}]
    assert asked.body["generationConfig"]["maxOutputTokens"] == 7


def test_progress_comes_while_the_answer_is_being_written(make: Make) -> None:
    """Each chunk is reported before the next one arrives."""
    said = streamed(more("Some words. "), candidate("More."), stall_s=60)

    async def main(url: str) -> None:
        provider = make(LlmSettings(base_url=url, api_key=KEY))
        seen: list[int] = []
        asking = asyncio.create_task(provider.ask(question("hi"), lambda pieces, *_: seen.append(pieces)))
        await until(lambda: asking.done() or len(seen) == 1)
        assert seen == [3]
        asking.cancel()
        await asyncio.wait([asking])
        await provider.close()

    with stand_in(said) as google:
        asyncio.run(main(google.url))


def test_an_answer_cut_off_by_a_bound_says_so(make: Make) -> None:
    with stand_in(streamed(more("So"), candidate(" far", "MAX_TOKENS"))) as google:
        reply = ask(make, google.url, on_progress=lambda *_: None)
    assert (reply.text, reply.complete) == ("So far", False)


def test_what_it_thinks_aloud_is_no_part_of_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The older SDK does not support thoughts; they are not requested, so there should be none."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    thought = candidate(None, None)
    thought["candidates"][0]["content"]["parts"] = [{"text": "Hm.", "thought": True}]
    with stand_in(streamed(thought, candidate("Yes."))) as google:
        assert ask(SDKS["google-genai"], google.url, on_progress=lambda *_: None).text == "Yes."


def test_half_an_answer_is_never_taken_for_a_whole_one(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever it is cut: it fails, is requested again, and is then complete."""
    monkeypatch.setattr("llm.request_scheduler.FIRST_PAUSE_S", 0.01)
    whole = [more(f"{number} ") for number in range(4)] + [candidate("end.")]
    for end in (End.CUT, End.BROKEN, End.WHOLE):
        cuts = [streamed(*whole[:length], end=end) for length in (1, 4)]
        with stand_in(*cuts, streamed(*whole)) as google:
            outcome, metering = through_the_scheduler(make, google.url, progress=[], timeout_s=60)
        assert isinstance(outcome, Reply) and outcome.text == "0 1 2 3 end."
        assert (metering.retries, len(google.asked)) == (2, 3)
    with stand_in(streamed(*whole[:2], end=End.CUT)) as google:
        outcome, _ = through_the_scheduler(make, google.url, progress=[])
    assert isinstance(outcome, ProviderError) and "(tried 3 times)" in outcome.reason


def test_two_megabytes_are_given_up_early(make: Make) -> None:
    def said(asked: Asked) -> Said:
        """Stalls beyond the bound, so that only a client that gives up there hangs up in time."""
        return streamed(*[more("x" * 20_000)] * 100, candidate("end"))(asked)._replace(stall_after=12, delay_s=600)

    with stand_in(said) as google:
        outcome, _ = through_the_scheduler(make, google.url, progress=[], timeout_s=600)
        assert isinstance(outcome, ProviderError) and len(google.asked) == 1
        assert "the answer is too long: 220000 bytes, at most 65536" in outcome.reason
        wait_until(google.broken_off.is_set)


ENDLESS = {
    "as it is": Said(200, (b'[{"x": "', *[b"x" * 100_000] * 200), "application/json"),
    "unpacking to it": Said(200, (gzip.compress(b"[" + b" " * 20_000_000),), headers=(("content-encoding", "gzip"),)),
}


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("said", ENDLESS.values(), ids=ENDLESS.keys())
def test_no_response_takes_more_memory_than_its_bound(make: Make, said: Said, streamed: bool) -> None:
    with stand_in(said) as google:
        outcome, _ = through_the_scheduler(make, google.url, progress=[] if streamed else None)
    assert isinstance(outcome, ProviderError)
    assert re.search("sent more than 4000000 bytes|compressed its answer|not an answer", outcome.reason), outcome.reason


def test_thoughts_are_kept_apart(make: Make) -> None:
    parts = [{"text": "Amazon?", "thought": True}, {"text": "The Nile."}]
    chunk = {"candidates": [{"content": {"parts": parts, "role": "model"}, "finishReason": "STOP", "index": 0}]}
    with stand_in(streamed(chunk)) as google:
        outcome, _ = through_the_scheduler(make, google.url, progress=[])
    assert isinstance(outcome, Reply) and outcome.text == "The Nile."


def test_a_conversation_that_is_too_long_is_known_as_such(make: Make) -> None:
    text = "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576)."
    with stand_in(refusal(400, text)) as google:
        outcome, _ = through_the_scheduler(make, google.url, progress=[])
    assert isinstance(outcome, ProviderError) and "context_tokens" in outcome.reason and len(google.asked) == 1


def thinking(text: str) -> dict[str, Any]:
    return {"candidates": [{"content": {"parts": [{"text": text, "thought": True}]}}]}


SLOW: dict[str, tuple[Scripted, str]] = {
    "says nothing": (said_json({})._replace(delay_s=60), "gave no answer within 1 s"),
    "stalls between two chunks": (streamed(more("Some"), candidate("more"), stall_s=60), "Some"),
    "never comes to an end": (streamed(*[more("word ")] * 1000, delay_s=0.05), "word word"),
    "thinks without end": (streamed(*[thinking("hm ")] * 1000, delay_s=0.05), "not begun its answer after 1 s"),
    "sends nothing but blanks": (Said(200, (b"[ ", *([b" "] * 1000)), delay_s=0.05), "gave no answer within 1 s"),
}


@pytest.mark.parametrize(("said", "outcome"), SLOW.values(), ids=SLOW.keys())
def test_the_time_limit_is_that_of_the_whole_call(make: Make, said: Scripted, outcome: str) -> None:
    """What has come until then is a marked part of an answer."""
    with stand_in(said_json(candidate("warm"))) as google:
        ask(make, google.url)  # exclude the import of the SDK
    with stand_in(said) as google:
        began = time.monotonic()
        came, _ = through_the_scheduler(make, google.url, progress=[], timeout_s=1.0)
        took = time.monotonic() - began
        if isinstance(came, Reply):
            assert came.text.startswith(outcome) and not came.complete and came.cut_s == 1.0
        else:  # on a busy machine the time may be up before anything has come
            assert outcome in came.reason or "gave no answer within 1 s" in came.reason
        assert took < 1.0 + 15.0, "the server takes a minute, a busy machine seconds"
        wait_until(lambda: google.broken_off.is_set() or not google.asked)


@pytest.mark.parametrize("said", [SLOW["stalls between two chunks"][0], SLOW["never comes to an end"][0]])
def test_who_cancels_hangs_up(make: Make, said: Scripted) -> None:
    """At once, not at the timeout: unread tokens should not be paid for."""

    async def main(url: str) -> list[int]:
        provider = make(LlmSettings(base_url=url, api_key=KEY, timeout_s=600))
        seen: list[int] = []
        asking = asyncio.create_task(provider.ask(question("hi"), lambda pieces, *_: seen.append(pieces)))
        await until(lambda: asking.done() or len(seen) > 0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        told = len(seen)
        await until(google.broken_off.is_set)
        assert len(seen) == told, "nothing more is reported"
        await provider.close()
        return seen

    with stand_in(said) as google:
        asyncio.run(main(google.url))
