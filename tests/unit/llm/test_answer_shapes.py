"""Answers of OpenAI-compatible servers, in the shapes that they really have: the text arrives, half of it never counts
as all, and what is no answer is told in the server's words."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llm.chat_protocol import Completion, read
from llm.provider import ProviderError
from llm.wording import valid
from tests.unit.llm.chat_tools import Chat, Response, said, stream, whole

TEXT = "The Nile."


def answer(response: Response) -> str:
    return Chat(lambda asked: response).one().text


def reason(response: Response) -> tuple[str, bool]:
    with pytest.raises(ProviderError) as caught:
        Chat(lambda asked: response).one()
    return caught.value.reason, caught.value.retryable


def chunk(content: object, finish: object = None, **more: object) -> dict[str, object]:
    return {"choices": [{"index": 0, "delta": {"content": content, **more}, "finish_reason": finish}]}


CONTENTS: list[object] = [
    TEXT, [TEXT], [{"type": "text", "text": TEXT}], ["The ", {"text": "Nile."}], {"text": TEXT},
    {"parts": [{"text": TEXT}]},
    [{"type": "text", "text": {"value": TEXT}}], [None, TEXT, {"type": "image_url", "image_url": "x"}],
    [{"type": "thinking", "thinking": [{"type": "text", "text": "Amazon?"}]}, {"type": "text", "text": TEXT}],
    [{"text": "Amazon?", "thought": True}, {"text": TEXT}],
]


@pytest.mark.parametrize("content", CONTENTS, ids=str)
def test_contents(content: object) -> None:
    assert answer(stream(chunk(content, "stop"))) == TEXT
    assert answer(whole(content)) == TEXT


@pytest.mark.parametrize(
    "body",
    [
        [{"choices": [{"message": {"content": TEXT}, "finish_reason": "stop"}]}],
        {"choices": {"message": {"content": TEXT}}}, {"choices": [{"text": TEXT}]}, {"choices": [TEXT]},
        {"message": {"role": "assistant", "content": TEXT}, "done": True}, {"response": TEXT, "done": True},
        {"content": TEXT, "stop": True}, {"choices": [{"delta": None, "message": {"content": TEXT}}], "error": None},
        {"choices": [{"message": {"content": TEXT}}], "error": {"message": None, "code": 0}, "detail": None},
        {"choices": [{"message": TEXT}]}, {"choices": [{"message": {"content": None, "refusal": TEXT}}]},
        {"choices": [{"message": {"content": TEXT, "tool_calls": None}, "logprobs": []}], "usage": [], "id": 5},
        {"choices": [{"index": 1, "message": {"content": "no"}}, {"index": 0, "message": {"content": TEXT}}]},
        {"choices": {"0": {"message": {"content": TEXT}}}}, {"choices": [{"index": 7, "message": {"content": TEXT}}]},
        {"choices": None, "content": TEXT}, [{"generated_text": TEXT}],
        {"candidates": [{"content": {"parts": [TEXT]}}]},
        {"type": "message", "content": [{"type": "text", "text": TEXT}], "stop_reason": "end_turn"},
        {"output": [{"type": "reasoning", "summary": []}, {"content": [{"type": "output_text", "text": TEXT}]}]},
    ],
    ids=str,
)
def test_whole_answers(body: object) -> None:
    assert answer(said(body)) == TEXT


THINKING = [
    {"reasoning_content": "Amazon?"}, {"reasoning": "Amazon?"}, {"thinking": "Amazon?"},
    {"reasoning": "Amazon?", "reasoning_details": [{"type": "reasoning.text", "text": "Amazon?"}]},
    {"reasoning_details": [{"type": "reasoning.text", "text": "Amazon?"}]}, {"reasoning": {"content": "Amazon?"}},
]


@pytest.mark.parametrize("thinking", THINKING, ids=str)
def test_thoughts_beside_the_content(thinking: dict[str, object]) -> None:
    reply = Chat(lambda asked: stream(chunk(None, **thinking), chunk("", **thinking), chunk(TEXT, "stop"))).one()
    assert (reply.text, reply.thoughts) == (TEXT, "Amazon?Amazon?")
    only = stream(chunk(None, **thinking), chunk(None, "length"))
    assert reason(only) == ("m used up its tokens thinking before it wrote anything; raise max_tokens", False)


def test_streams_that_repeat_what_they_said() -> None:
    repeated = [{"choices": [{"message": {"content": TEXT[:size]}}]} for size in (3, 3, 6, 9)]
    assert answer(stream(*repeated)) == TEXT
    both = [
        {"choices": [{"delta": {"content": TEXT[size - 3 : size]}, "message": {"content": TEXT[:size]}}]}
        for size in (3, 6, 9)
    ]
    last = {"choices": [{"delta": {"content": ""}, "message": {"content": TEXT}, "finish_reason": "stop"}]}
    assert answer(stream(*both, last)) == TEXT


def so_far(text: str) -> dict[str, object]:
    return {"choices": [{"message": {"content": text}}]}


def test_however_often_a_stream_repeats_what_it_said_its_text_is_whole() -> None:
    """Even if all that it sends is longer than an answer may be."""
    reply = Chat(lambda asked: stream(*(so_far("word " * count) for count in range(1, 700)))).one()
    assert (reply.text, reply.complete) == ("word " * 699, True)
    once_more = [so_far("word " * 10_000)] * 20
    reply = Chat(lambda asked: stream(*once_more, chunk("", "stop"))).one()
    assert (reply.text, reply.complete) == ("word " * 10_000, True)


@pytest.mark.parametrize("done", [True, False])
def test_a_stream_that_grows_by_repeating_is_bounded(done: bool) -> None:
    """Whether each text contains the one before, or follows it."""
    for texts in (("x" * (10_000 * count) for count in range(1, 50)), (f"{count} " * 500 for count in range(1000))):
        reply = Chat(lambda asked, texts=texts: stream(*map(so_far, texts), done=done)).one()  # type: ignore[misc]
        assert not reply.complete and 400_000 < len(reply.text) < 500_000


def test_a_stream_that_repeats_itself_for_ever_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the bytes of its body."""
    monkeypatch.setattr("llm.http_client._MAX_BODY", 1_000_000)
    said, again = reason(stream(*[so_far("word " * 1000)] * 1000))
    assert said.endswith("sent more than 1000000 bytes in one answer") and not again


def test_lines_of_json_and_other_choices() -> None:
    lines = [{"message": {"content": "The "}, "done": False}, {"message": {"content": "Nile."}, "done": True}]
    assert answer(Response(200, tuple(json.dumps(line).encode() + b"\n" for line in lines))) == TEXT
    assert answer(stream({"choices": [{"index": 1, "delta": {"content": "no"}}]}, chunk(TEXT, "stop"))) == TEXT
    others = [{"choices": [{"index": 1, "delta": {"content": text}}]} for text in ("The ", "Nile.")]
    assert answer(stream(*others, {"choices": [{"index": 2, "delta": {"content": "no"}}]})) == TEXT


def test_a_pair_of_surrogates_that_came_apart_arrives() -> None:
    assert valid(answer(stream(chunk("\ud83d"), chunk("\ude00", "stop")))) == "\U0001f600"


@pytest.mark.parametrize(
    ("finish", "complete"),
    [
        ("stop", True), ("eos", True), ("STOP", True), ({"type": "stop"}, True), (True, True), ("tool_calls", True),
        ("length", False), ("max_tokens", False), ("MAX_TOKENS", False), ("model_length", False), (["length"], False),
        ("length: MAX_TOKENS", False), ("stop: END", True), ("a word of its own", True),
    ],
    ids=str,
)
def test_why_it_ended(finish: object, complete: bool) -> None:
    for response in (stream(chunk(TEXT), chunk(None, finish), done=False), whole(TEXT, finish)):
        reply = Chat(lambda asked, response=response: response).one()  # type: ignore[misc]
        assert (reply.text, reply.complete) == (TEXT, complete)


UNFINISHED: list[object] = ["null", "None", "", 0, [], {}, "FINISH_REASON_UNSPECIFIED", "in_progress"]


@pytest.mark.parametrize("key", ["finish_reason", "finishReason", "stop_reason"])
def test_where_it_says_why_it_ended(key: str) -> None:
    said = {"delta": {"content": TEXT}}
    for end in ({**said, key: "length"}, {"delta": {**said["delta"], key: "length"}}):
        assert not Chat(lambda asked, end=end: stream({"choices": [end]}, done=False)).one().complete  # type: ignore[misc]
    assert not Chat(lambda asked: stream({"choices": [said], key: "length"}, done=False)).one().complete
    for unfinished in UNFINISHED:
        with pytest.raises(ProviderError, match="broke in the middle"):
            answer(stream({"choices": [{**said, key: unfinished}]}, done=False))


def test_counts_of_tokens() -> None:
    for usage in (
        {"usage": {"prompt_tokens": "7", "completion_tokens": 8.0}}, {"prompt_eval_count": 7, "eval_count": 8},
        {"x_groq": {"usage": {"input_tokens": 7, "output_tokens": 8}}}, {"usageMetadata": {"promptTokenCount": 7}},
        {"usage": [7], "prompt_eval_count": 7}, {"usage": {"prompt_tokens": 10**30}}, {"usage": {"prompt_tokens": -1}},
    ):
        reply = Chat(lambda asked, usage=usage: said({"choices": [{"text": TEXT}], **usage})).one()  # type: ignore[misc]
        assert reply.text == TEXT and reply.tokens_in in (7, None) and reply.tokens_out in (8, None)


@pytest.mark.parametrize(
    "finish",
    [
        "error", "abort", "cancelled", "network_error", "function_call_filter: MALFORMED_FUNCTION_CALL",
        "function_call_filter: UNEXPECTED_TOOL_CALL", "MALFORMED_FUNCTION_CALL", "OTHER", "error: worker died",
    ],
)
def test_an_answer_that_the_server_broke_off_is_none(finish: str) -> None:
    for response in (stream(chunk("The"), chunk(None, finish)), whole("The", finish), stream(chunk(None, finish))):
        said, again = reason(response)
        assert "broke off in the middle" in said and again


@pytest.mark.parametrize(
    "finish",
    [
        "content_filter", "content_filter: RECITATION", "content_filter: PROHIBITED_CONTENT", "Content_Filter : SPII",
        "content_filtered", "SPII", "refusal", "LANGUAGE", "IMAGE_SAFETY", {"type": "content_filter: SAFETY"},
    ],
    ids=str,
)
def test_an_answer_that_a_filter_stopped_is_none_and_not_asked_for_again(finish: object) -> None:
    """With the text that came before, and without any."""
    expected = ("m stopped: its content filter does not allow the answer", False)
    filtered = {"choices": [{"index": 0, "finish_reason": finish}]}
    for response in (stream(chunk("The"), chunk(None, finish)), whole("The", finish), stream(filtered), said(filtered)):
        assert reason(response) == expected


def test_a_stream_that_stops_is_no_answer() -> None:
    assert "broke in the middle" in reason(stream(chunk("The"), done=False))[0]


FAILURES: list[tuple[object, str, bool]] = [
    ({"error": "out of memory"}, "out of memory", True),
    ({"error": {"message": "worker died", "type": "server_error", "code": None}}, "worker died", True),
    ({"error": {"message": "no model x", "type": "invalid_request_error"}}, "no model x", False),
    ({"error": {"message": "no", "code": 404}}, "no", False),
    ({"error": {"message": "busy", "code": 503}}, "busy", True),
    ({"error": [{"msg": "busy"}, {"msg": "really"}]}, "busy; really", True),
    ({"errors": [{"message": "no such deployment"}]}, "no such deployment", False),
    ({"object": "error", "message": "worker died", "code": 50001}, "worker died", True),
    ({"object": "error", "message": "bad key", "code": 40101}, "bad key", False),
    ({"text": "CUDA out of memory", "error_code": 50002}, "CUDA out of memory", True),
    ({"detail": "worker died"}, "worker died", True),
    ({"detail": [{"loc": ["body", "model"], "msg": "unknown", "type": "v"}]}, "model: unknown", True),
    ({"message": "model is loading"}, "model is loading", True),
    ({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, "Overloaded", True),
    ({"error": '{"error": {"message": "upstream: worker died"}}'}, "upstream: worker died", True),
    ({"choices": [{"delta": {}, "error": {"message": "worker died"}}]}, "worker died", True),
    ({"error": True, "message": "worker died"}, "without a reason", True),
    ({"choices": [{"delta": {"error": "worker died"}}]}, "worker died", True),
    ({"base_resp": {"status_code": 1004, "status_msg": "worker died"}}, "worker died", True),
    ({"choices": None, "base_resp": {"status_code": 1004, "status_msg": "worker died"}}, "worker died", True),
    (
        {"id": "x", "choices": None, "base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}},
        "insufficient balance", False,
    ),
    ({"choices": [], "base_resp": {"status_code": "1004", "status_msg": "worker died"}}, "worker died", True),
    ({**chunk(" Nile", "stop"), "base_resp": {"status_code": 1004, "status_msg": "worker died"}}, "worker died", True),
    ({"choices": None, "detail": "worker died"}, "worker died", True),
    ({"success": False, "msg": "worker died"}, "worker died", True),
    ({"status": "failed", "Message": "no such model"}, "no such model", False),
]


@pytest.mark.parametrize(("failure", "words", "retryable"), FAILURES, ids=str)
def test_failures_within_an_answer(failure: object, words: str, retryable: bool) -> None:
    expected = (f"http://127.0.0.1:9 failed: {words}", retryable)
    assert reason(stream(chunk("The"), failure)) == expected
    assert reason(stream(failure)) == expected
    assert reason(said(failure)) == expected
    event = Response(200, (b"event: error\ndata: " + json.dumps(failure).encode() + b"\n\n",))
    assert words in reason(event)[0] or words == "without a reason"


@pytest.mark.parametrize("error", ["over capacity", {"message": "over capacity", "type": "server_error"}], ids=str)
@pytest.mark.parametrize("beside", [chunk(None), chunk(" it", "stop"), {"choices": []}, {"choices": None}, {}], ids=str)
def test_failures_that_groq_puts_beside_an_answer(beside: dict[str, object], error: object) -> None:
    failure = {**beside, "x_groq": {"id": "r", "error": error}}
    for response in (stream(chunk("Half of"), failure), stream(failure), said(failure)):
        assert reason(response) == ("http://127.0.0.1:9 failed: over capacity", True)


@pytest.mark.parametrize(
    "beside",
    [
        {"base_resp": {"status_code": 0, "status_msg": ""}}, {"base_resp": {"status_code": "0", "status_msg": "ok"}},
        {"base_resp": None}, {"base_resp": {}}, {"x_groq": {"id": "r", "error": None}}, {"x_groq": None},
        {"code": 0, "message": "Success"}, {"msg": "success"},
    ],
    ids=str,
)
def test_what_only_looks_like_a_failure(beside: dict[str, object]) -> None:
    """Before the text, beside it, and behind it."""
    empty = {"choices": [], **beside}
    assert answer(stream(empty, {**chunk(TEXT), **beside}, empty, chunk("", "stop"), empty)) == TEXT
    assert answer(said({"choices": [{"message": {"content": TEXT}}], **beside})) == TEXT


@pytest.mark.parametrize(
    ("response", "words", "retryable"),
    [
        (Response(200, (b"<!doctype html><title>Sign in</title>",)), "web page instead of an answer (Sign in)", False),
        (Response(200, (b"\n <html><body><h1>Hi</h1></body></html>",)), "web page instead of an answer (Hi)", False),
        (Response(200, (b"",)), "sent an empty response", True),
        (Response(200, (b"\n\n  \n",)), "sent an empty response", True),
        (Response(200, (b"sign in first\n",)), "not an answer: sign in first", True),
        (Response(502, (b"<html><title>502 Bad Gateway</title></html>",)), "(HTTP 502): 502 Bad Gateway", True),
        (Response(400, (b"no",)), "refused the request (HTTP 400): no", False),
        (Response(400, (b"[" * 100_000,)), "refused the request (HTTP 400): [[[", False),
        (Response(308, (), (("location", "https://x/v1?key=abcd"),)), "requests to https://x/v1 (HTTP 308)", False),
        (Response(200, (b"data: " + b"[" * 100_000 + b"\n\n",)), "not an answer", True),
        (Response(200, (b"data: " + b"x" * 2_000_001,)), "more than 2000000 bytes at once", False),
        (Response(200, (b"x",), (("content-encoding", "br"),)), "not asked for", False),
        (Response(200, (b" \n" * 1_100_000,)), "more than 2000000 bytes at once", False),
        (Response(500, (b'{"error": "model m not found"}',)), "(HTTP 500): model m not found", False),
        (Response(505, (b"",)), "(HTTP 505)", False),
        (Response(429, (b'{"error": "Your account is in arrears"}',)), "account is in arrears", False),
        (Response(429, (b"slow",), (("retry-after", "3600"),)), "exhausted: slow (retry in 3600 s)", True),
        (Response(429, (b"Please try again in 7m12.5s. Bye",)), "(retry in 432 s)", True),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_no_answer(response: Response, words: str, retryable: bool) -> None:
    said, again = reason(response)
    assert words in said and again is retryable and len(said) < 600


GZIP = (("content-encoding", "gzip"),)
INPUT_ECHOED = (b'{"detail": [{"msg": "Field required", "input": "', *[b"word " * 10_000] * 5, b'"}]}')


@pytest.mark.parametrize(
    ("response", "words", "retryable"),
    [
        (Response(401, (b'{"error":{"message":"Invalid API key"}}',)), "says which): Invalid API key", False),
        (Response(404, (b'{"error":{"message":"no such mo',)), 'address: {"error":{"message":"no such mo', False),
        (Response(429, (b"slow down",), (("retry-after", "3"),)), "exhausted: slow down (retry in 3 s)", True),
        (Response(503), "is failing (HTTP 503)", True),
        (Response(400, (gzip.compress(b"no such model")[:-8],), GZIP), "(HTTP 400): no such model", False),
        (Response(400, (gzip.compress(b"no such model")[:-8], b"damaged"), GZIP), "(HTTP 400)", False),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_refusal_that_breaks_off_is_one(response: Response, words: str, retryable: bool) -> None:
    """Its status was there, and what came of its words counts."""
    said, again = reason(response._replace(then="break"))
    assert words in said and again is retryable


@pytest.mark.parametrize("status", [400, 422])
def test_of_a_refusal_that_is_too_long_its_beginning_counts(status: int) -> None:
    said, again = reason(Response(status, INPUT_ECHOED))
    assert "Field required" in said and not again and len(said) < 600


def test_a_stream_without_an_end_is_bounded() -> None:
    endless = Response(200, tuple([b"data: " + json.dumps(chunk("x" * 1000)).encode() + b"\n\n"] * 1000))
    reply = Chat(lambda asked: endless).one()
    assert not reply.complete and len(reply.text) < 500_000


NAMES = st.sampled_from([
    "choices", "delta", "message", "content", "text", "error", "errors", "detail", "code", "finish_reason", "usage",
    "type", "index", "reasoning_content", "parts", "thought", "loc", "msg", "prompt_tokens", "object", "error_code",
    "done", "x",
])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)
OBJECTS = st.dictionaries(NAMES, JSON, max_size=5)


@given(JSON)
def test_any_json_can_be_read(value: Any) -> None:
    completion = Completion()
    completion.add(read(value))
    for count in (completion.tokens_in, completion.tokens_out):
        assert count is None or 0 <= count <= 10**9


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(OBJECTS | st.just(chunk("x")), max_size=4), st.sampled_from([200, 400, 404, 422, 500]))
def test_any_response_is_an_answer_or_a_reason(values: list[Any], status: int) -> None:
    for response in (
        Response(status, stream(*values).pieces), said(values, status), said(values[0] if values else None, status),
    ):
        chat = Chat(lambda asked, response=response: response)  # type: ignore[misc]
        try:
            assert chat.one().text.strip() and status == 200
        except ProviderError as error:
            assert error.reason and len(error.reason) < 700
        assert len(chat.asked) <= 16
