"""Gemini's responses in any shape, and requests without what a server does not take: for both of Google's SDKs, which
only prepare the requests."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config.llm_settings import LlmSettings
from llm.accommodation import Body
from llm.gemini_client import GeminiClient
from llm.gemini_responses import Answer, ResponseCollector
from llm.post import Post
from llm.provider import Message, Prompt, ProviderError, Reply
from tests.unit.llm.chat_tools import URL, Response, as_httpx, said, stream
from tests.unit.llm.gemini_tools import KEY, SDKS, Make, ask, candidate, refusal, usage
from tests.unit.llm.llm_tools import Asked, Said, said_json, stand_in
from tests.unit.llm.test_accommodation import SHAPES, has
from tests.unit.llm.test_answer_shapes import OBJECTS, TEXT

ALL = Prompt([Message("user", "hi")], system="Be brief.", seed=4, max_tokens=500)
FIELDS = ("seed", "temperature", "max_tokens", "stream", "system")


class Google:
    """A client whose server is a function of what the SDK would be given."""

    def __init__(self, server: Callable[[Body], Response]) -> None:
        self.asked: list[Body] = []
        self._server = server

    def ask(self, times: int = 1, *, streamed: bool = True) -> list[Reply]:
        async def main() -> list[Reply]:
            client = GeminiClient(LlmSettings(api_key=KEY, base_url=URL), has_seeds=True)
            await client.close()
            client._http._http = httpx.AsyncClient(transport=httpx.MockTransport(self._handle))
            progress = (lambda *_: None) if streamed else None
            try:
                return [await client.ask(ALL, progress, _prepare) for _ in range(times)]
            finally:
                await client.close()

        return asyncio.run(main())

    def _handle(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(json.loads(request.content))
        return as_httpx(self._server(self.asked[-1]))


async def _prepare(body: Body) -> Post:
    return Post(URL, json.dumps(body).encode(), {})


def changed(**changes: object) -> dict[str, Any]:
    response = candidate(TEXT)
    response["candidates"][0] |= changes
    return response


WHOLE: list[object] = [
    candidate(TEXT), candidate(TEXT) | {"usageMetadata": None, "promptFeedback": None, "modelVersion": 5},
    candidate(TEXT) | {"usageMetadata": [1], "promptFeedback": "ok"}, [candidate(TEXT)],
    *(changed(content=content) for content in (
        TEXT, [{"text": TEXT}], {"parts": TEXT}, {"parts": {"text": TEXT}}, {"parts": [TEXT]},
        {"parts": [None, 5.5, {"text": None}, {"text": TEXT}][2:]}, {"role": 5, "parts": [{"text": TEXT, "new": 1}]},
        {"parts": [{"inlineData": {"data": "%"}}, {"executableCode": {"code": "1"}}, {"text": TEXT}]},
        {"parts": [{"text": "Amazon?", "thought": "true"}, {"text": TEXT}]},
    )),
    *(changed(finishReason=finish) for finish in (1, "stop", ["STOP"], {"type": "STOP"})),
    changed(index="0", safetyRatings="none", citationMetadata=[1], avgLogprobs="x", groundingMetadata=7),
    {"candidates": candidate(TEXT)["candidates"][0]},
    {"candidates": [None, {**candidate("no")["candidates"][0], "index": 1}, *candidate(TEXT)["candidates"]]},
    {"candidates": [{"content": {"parts": [{"text": TEXT}]}, "finish_reason": "STOP"}], "error": None},
]


@pytest.mark.parametrize("response", WHOLE, ids=str)
def test_text_that_is_there_arrives(response: object) -> None:
    for streamed in (True, False):
        google = Google(lambda body: stream(response, done=False) if "stream" in body else said(response))
        (reply,) = google.ask(streamed=streamed)
        assert (reply.text, reply.complete) == (TEXT, True)
        assert Google(lambda body: said([response] if isinstance(response, dict) else response)).ask()[0].text == TEXT


@pytest.mark.parametrize(
    ("usage", "counts"),
    [
        ({"promptTokenCount": "7", "candidatesTokenCount": 8.0}, (7, 8)), ({"promptTokenCount": 10**30}, (None, None)),
        ({"promptTokenCount": -1, "candidatesTokenCount": [1]}, (None, None)), ({"prompt_token_count": 7}, (7, None)),
    ],
)
def test_counts_of_tokens(usage: object, counts: tuple[int | None, int | None]) -> None:
    (reply,) = Google(lambda body: said(candidate(TEXT) | {"usageMetadata": usage})).ask()
    assert (reply.tokens_in, reply.tokens_out) == counts


FAILURES = {
    "google": ({"error": {"code": 503, "message": "no luck", "status": "UNAVAILABLE"}}, True),
    "for good": ({"error": {"code": 400, "message": "no luck", "status": "INVALID_ARGUMENT"}}, False),
    "ollama": ({"error": "no luck"}, True), "fastapi": ({"detail": [{"loc": ["body"], "msg": "no luck"}]}, True),
    "fastchat": ({"object": "error", "message": "no luck", "code": 50001}, True),
    "message": ({"message": "no luck"}, True),
}


@pytest.mark.parametrize(("failure", "retryable"), FAILURES.values(), ids=FAILURES.keys())
def test_the_words_of_a_failure(failure: object, retryable: bool) -> None:
    begun = candidate("The", None)
    for response in (said(failure), said([begun, failure]), stream(begun, failure), stream(failure)):
        with pytest.raises(ProviderError, match=r"Gemini failed: (?:body: )?no luck") as caught:
            Google(lambda body, response=response: response).ask()  # type: ignore[misc]
        assert caught.value.retryable is retryable
    for status in (400, 422, 500, 502):
        with pytest.raises(ProviderError, match=rf"\(HTTP {status}\): (?:body: )?no luck"):
            Google(lambda body, status=status: said(failure, status)).ask()  # type: ignore[misc]


@settings(max_examples=30, deadline=None)
@given(st.lists(OBJECTS | st.just(candidate("x", None)), max_size=4), st.booleans())
def test_any_response_is_an_answer_or_a_reason(values: list[Any], streamed: bool) -> None:
    collector = ResponseCollector("m")
    try:
        for value in values:
            collector.add(value)
        assert isinstance(collector.answer(streamed=streamed), Answer)
    except ProviderError as error:
        assert error.reason and len(error.reason) < 200


@pytest.mark.parametrize("shape", SHAPES)
def test_any_optional_field_in_any_shape(shape: str) -> None:
    for field in FIELDS:
        if shape in ("without a name", "without a word") and field == "stream":
            continue  # nothing tells that it is not for the others

        def server(body: Body, field: str = field) -> Response:
            refused = SHAPES[shape](field) if has(body, field) else None
            return refused or (stream(candidate(TEXT), done=False) if "stream" in body else said(candidate(TEXT)))

        google = Google(server)
        assert [reply.text for reply in google.ask(2)] == [TEXT, TEXT]
        assert len(google.asked) == 3 and not any(has(body, field) for body in google.asked[1:]), field
        assert all("Be brief." in body["messages"][0]["content"] for body in google.asked)


@pytest.fixture(params=SDKS.values(), ids=list(SDKS))
def make(request: pytest.FixtureRequest) -> Make:
    maker: Make = request.param
    return maker


def test_what_is_refused_by_googles_names_is_left_out_and_told_once(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    """Through the SDKs themselves, and over the wire."""

    def refused(asked: Asked) -> str | None:
        options = asked.body.get("generationConfig", {})
        if "stream" in asked.path:
            return "streamGenerateContent is not supported"
        if "systemInstruction" in asked.body:
            return "Developer instruction is not enabled for models/gemma"
        unknown = next((name for name in ("seed", "temperature", "maxOutputTokens") if name in options), None)
        return None if unknown is None else f"Unknown name \"{unknown}\" at 'generation_config': Cannot find field."

    def server(asked: Asked) -> Said:
        reason = refused(asked)
        return said_json(candidate(TEXT) | usage(3, 2)) if reason is None else refusal(400, reason)

    with stand_in(server) as google, caplog.at_level(logging.WARNING):
        reply = ask(make, google.url, ALL, on_progress=lambda *_: None)
    assert (reply.text, reply.tokens_in) == (TEXT, 3)
    assert google.asked[-1].body["contents"] == [{"role": "user", "parts": [{"text": "Be brief.\n\nhi"}]}]
    assert len(caplog.messages) == len(google.asked) - 1, "each is told once"
