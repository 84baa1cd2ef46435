"""What real servers write when they refuse or fail, and what is learned from it: no more than it says."""

from __future__ import annotations

from typing import Any

import pytest

from llm.provider import ContextExceeded, Message, Prompt, ProviderError
from tests.unit.llm.chat_tools import Chat, Response, said, stream, whole
from tests.unit.llm.test_accommodation import FIELDS, answered, has
from tests.unit.llm.test_answer_shapes import TEXT, chunk
from tests.unit.llm.test_gemini_client import Google


def prompt(max_tokens: int = 500) -> Prompt:
    return Prompt([Message("user", "hi")], system="Be brief.", seed=4, max_tokens=max_tokens)


BOUNDS = {
    "DeepSeek": ("Invalid max_tokens value, the valid range of max_tokens is [1, 8192]", 8192),
    "DashScope": ("<400> InternalError.Algo.InvalidParameter: Range of max_tokens should be [1, 2000]", 2000),
    "Zhipu": ("max_tokens参数非法：限制数值范围[1,131072]", 131_072),
    "Anthropic": ("max_tokens: {sent} > 8192, which is the maximum allowed number of output tokens for claude-x", 8192),
    "Vertex": (
        "Unable to submit request because it has a maxOutputTokens value of {sent} but the supported range is from 1 "
        "(inclusive) to 65537 (exclusive). Update the value and try again.", 65_536,
    ),
    "OpenAI": (
        "max_tokens is too large: {sent}. This model supports at most 16384 completion tokens, whereas you provided "
        "{sent}.", 16_384,
    ),
    "with a comma": ("max_tokens must be at most 8,192", 8192),
}


@pytest.mark.parametrize(("text", "most"), BOUNDS.values(), ids=BOUNDS)
def test_a_bound_on_the_answer_is_taken_for_what_it_is(text: str, most: int) -> None:
    def server(body: dict[str, Any]) -> Any:
        sent = body.get("max_tokens", 0)
        words = text.replace("{sent}", str(sent))
        return said({"error": {"message": words, "code": 400}}, 400) if sent > most else stream(chunk(TEXT, "stop"))

    chat = Chat(server)
    chat.ask(prompt(200_000), prompt(200_000))
    asked = [body.get("max_tokens") for body in chat.asked]
    assert (asked[0], asked[-2:]) == (200_000, [most, most]) and len(asked) <= 4
    assert chat.asked[-1]["stream"] is True, "nothing else is given up"


@pytest.mark.parametrize("text", ["max_tokens must be at least 1024", "max_tokens should be in [1024, 8192]"])
def test_a_bound_from_below(text: str) -> None:
    chat = Chat(lambda body: said({"error": text}, 400) if body["max_tokens"] < 1024 else stream(chunk(TEXT, "stop")))
    chat.ask(prompt(), prompt())
    assert [body["max_tokens"] for body in chat.asked] == [500, 1024, 1024]


@pytest.mark.parametrize("body", [
    {"error": {"message": "max_tokens is over the limit", "code": 400}},
    {"error": {"message": "max_tokens: <400> over the limit"}},
    {"error": {"message": "max_tokens must be at most 4"}},
], ids=str)
def test_what_is_no_bound_on_an_answer_is_not_taken_for_one(body: dict[str, Any]) -> None:
    chat = Chat(lambda asked: said(body, 400) if "max_tokens" in asked else whole(TEXT))
    chat.ask(prompt(), prompt())
    assert [asked.get("max_tokens", asked.get("max_completion_tokens")) for asked in chat.asked] == [500] * 3


ANTHROPIC = (
    "This request would exceed your organization's rate limit of 30,000 input tokens per minute (org: x, model: y). "
    "For details, refer to: https://docs.anthropic.com/en/api/rate-limits. Please reduce the prompt length or the "
    "maximum tokens requested, or try again later. You may also contact sales to discuss your options for a rate limit "
    "increase."
)
BEDROCK = "Too many tokens, please wait before trying again."
PASSING = {
    "Anthropic": said({"type": "error", "error": {"type": "rate_limit_error", "message": ANTHROPIC}}, 429),
    "Anthropic, output": said({"error": {"message": ANTHROPIC.replace("30,000 input", "8,000 output")}}, 429),
    "Anthropic, in a stream": stream({"type": "error", "error": {"type": "rate_limit_error", "message": ANTHROPIC}}),
    "Bedrock": said({"message": BEDROCK}, 429),
    "Bedrock, in a stream": stream({"error": {"code": 429, "message": BEDROCK}}),
    "Bedrock, without a code": stream({"error": {"message": BEDROCK}}),
    "Bedrock, passed on": said({"error": {"message": BEDROCK}}, 503),
}


@pytest.mark.parametrize("response", PASSING.values(), ids=PASSING)
def test_a_rate_limit_is_waited_for_and_shortens_nothing(response: Response) -> None:
    hinted = response._replace(headers=(("retry-after", "4"),))
    chat = Chat(lambda asked: hinted)
    with pytest.raises(ProviderError) as caught:
        chat.ask(prompt())
    assert not isinstance(caught.value, ContextExceeded) and caught.value.retryable and len(chat.asked) == 1
    assert caught.value.retry_after_s == (None if response.status == 200 else 4.0)
    assert chat.provider._accommodation.adapt(chat.asked[0]) == chat.asked[0], "nothing is learned"


TOO_LARGE = {
    "OpenAI": said({"error": {"message": (
        "Request too large for gpt-x in organization org-x on tokens per min (TPM): Limit 30000, Requested 43000. The "
        "input or output tokens must be reduced in order to run successfully."
    ), "type": "tokens", "code": "rate_limit_exceeded"}}, 429),
    "Groq": stream({"error": {"message": (
        "Request too large for model `x` in organization `y` on tokens per minute (TPM): Limit 30000, Requested 37200, "
        "please reduce your message size and try again. Need more tokens? Upgrade to Dev Tier today."
    ), "type": "tokens", "code": "rate_limit_exceeded"}}),
    "FastChat": stream({"error_code": 40303, "text": "This model's maximum context length is 30000 tokens."}),
}


@pytest.mark.parametrize("response", TOO_LARGE.values(), ids=TOO_LARGE)
def test_what_no_waiting_makes_fit_is_shortened(response: Response) -> None:
    with pytest.raises(ContextExceeded) as caught:
        Chat(lambda asked: response).ask(prompt())
    assert caught.value.tokens == 30_000


LASTING = {
    "OpenRouter": stream({"error": {"code": 429, "message": "Rate limit exceeded: free-models-per-day. Add credits"}}),
    "OpenRouter, without a code": stream({"error": {"message": "Rate limit exceeded: free-models-per-day"}}),
    "no key": stream({"error": {"code": 401, "message": "Your prompt tokens exceed what guests may send"}}),
}


@pytest.mark.parametrize("response", LASTING.values(), ids=LASTING)
def test_a_refusal_within_a_stream_counts_as_one_by_its_status(response: Response) -> None:
    with pytest.raises(ProviderError) as caught:
        Chat(lambda asked: response).ask(prompt())
    assert not isinstance(caught.value, ContextExceeded) and not caught.value.retryable


def google_429(span: str) -> dict[str, Any]:
    return {"error": {
        "code": 429, "status": "RESOURCE_EXHAUSTED",
        "message": "You exceeded your current quota, please check your plan and billing details. For more "
        "information on this error, head to: https://ai.google.dev/gemini-api/docs/rate-limits.\n* Quota exceeded "
        "for metric: generativelanguage.googleapis.com/generate_content_free_tier_requests, limit: 15\n"
        "Please retry in 1.68s.",
        "details": [
            {"@type": "type.googleapis.com/google.rpc.QuotaFailure",
             "violations": [{"quotaId": f"GenerateRequestsPer{span}PerProjectPerModel-FreeTier"}]},
            {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "1.68s"},
        ],
    }}


@pytest.mark.parametrize(("span", "retryable"), [("Minute", True), ("Day", False)])
@pytest.mark.parametrize("as_list", [True, False])
def test_googles_quota_of_a_minute_is_waited_for_and_that_of_a_day_is_not(
    span: str, retryable: bool, as_list: bool
) -> None:
    body = google_429(span)
    response = said([body] if as_list else body, 429)
    for server in (Chat(lambda _: response).one, Google(lambda _: response).ask):
        with pytest.raises(ProviderError) as caught:
            server()
        assert caught.value.retryable is retryable
        if retryable:
            assert caught.value.retry_after_s == 1.68 and "retry in 2 s" in caught.value.reason


@pytest.mark.parametrize("extra", [{"code": "insufficient_quota"}, {}])
def test_a_quota_without_a_delay_lasts(extra: dict[str, str]) -> None:
    message = "You exceeded your current quota, please check your plan and billing details."
    with pytest.raises(ProviderError) as caught:
        Chat(lambda asked: said({"error": {"message": message, **extra}}, 429)).one()
    assert not caught.value.retryable


NO_LESSON = {
    "Bedrock": said(
        {"message": "The system encountered an unexpected error during processing. Try your request again."}, 500
    ),
    "Bedrock, in a stream": stream({"error": {"message": "The system encountered an unexpected error. Try again."}}),
    "OpenRouter": said({"error": {"code": 402, "message": (
        "This request requires more credits, or fewer max_tokens. You requested up to 64000 tokens, but can only "
        "afford 61586. To increase, visit https://openrouter.ai/settings/credits"
    )}}, 402),
    "OpenRouter, of a long question": said(
        {"error": {"code": 402, "message": "Prompt tokens limit exceeded: 12345 > 10000"}}, 402
    ),
    "OpenRouter, in a stream": stream({"error": {
        "code": 402, "message": "This request requires more credits, or fewer max_tokens. You can only afford 400"
    }}),
    "a proxy": said({"error": {"message": "stream error: unexpected EOF"}}, 502),
    "LM Studio": said({"error": {
        "message": "Model loading was stopped due to insufficient system resources. This should not go on.",
        "type": "invalid_request_error", "param": "model", "code": None,
    }}, 400),
    "a question": said({"error": {
        "message": "Invalid messages[1].content: the system cannot read it", "param": "messages[1].content",
    }}, 400),
    **{str(status): said({"error": {"message": "Unsupported parameter: 'seed'", "param": "seed"}}, status)
       for status in (401, 402, 403, 404, 408, 409, 425, 429)},
}


@pytest.mark.parametrize("response", NO_LESSON.values(), ids=NO_LESSON)
def test_a_failure_that_refuses_no_field_teaches_nothing(response: Response) -> None:
    chat = Chat(lambda asked: response)
    with pytest.raises(ProviderError) as caught:
        chat.ask(prompt())
    assert not isinstance(caught.value, ContextExceeded)
    assert len(chat.asked) == 1, "it is not asked again without a pause"
    assert chat.provider._accommodation.adapt(chat.asked[0]) == chat.asked[0]


LESSONS = {
    "llama.cpp": (said({"error": {"code": 500, "message": "System role not supported"}}, 500), "system"),
    "llama.cpp, roles": (
        said({"error": {"code": 500, "message": "Conversation roles must alternate user/assistant/user/..."}}, 500),
        "system",
    ),
    "a crash": (said({"error": "create() got an unexpected keyword argument 'seed'"}, 500), "seed"),
    "a proxy": (said({"error": {"message": "unsupported parameter: seed"}}, 502), "seed"),
    "in a stream": (stream({"error": {"message": "`stream_options` is not supported"}}), "stream_options"),
    "by its field": (said({"error": {"message": "it failed", "param": "seed"}}, 500), "seed"),
    "for a model": (said({"error": {
        "message": "Unsupported value: 'temperature' does not support 0.7 with this model", "param": "model",
    }}, 400), "temperature"),
    "messages": (
        said({"error": {"message": "System role is not supported by this model", "param": "messages"}}, 400), "system"
    ),
}


@pytest.mark.parametrize(("response", "field"), LESSONS.values(), ids=LESSONS)
def test_a_failure_that_names_a_field_teaches_that(response: Response, field: str) -> None:
    chat = Chat(lambda asked: response if has(asked, field) else answered(asked))
    chat.ask(prompt(), prompt())
    assert [has(body, field) for body in chat.asked] == [True, False, False]
    assert all(has(chat.asked[-1], other) for other in FIELDS if other != field)
