"""Optional fields that a server refuses, in any form that errors have, and limits that it names: what is learned."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest

from llm.accommodation import Accommodation, Body
from llm.complaints import Complaint, Refused, complaint, complaint_of_text
from llm.provider import ContextExceeded, Message, Prompt, ProviderError
from tests.unit.llm.chat_tools import Chat, Response, said, stream, whole
from tests.unit.llm.test_answer_shapes import TEXT, chunk

ALL = Prompt([Message("user", "hi")], system="Be brief.", seed=4, max_tokens=500)
FIELDS = ("seed", "temperature", "max_tokens", "stream_options", "stream", "system")


def has(body: dict[str, Any], field: str) -> bool:
    return body["messages"][0]["role"] == "system" if field == "system" else bool(body.get(field))


def answered(body: dict[str, Any]) -> Response:
    return stream(chunk(TEXT, "stop")) if body.get("stream") else whole(TEXT)


def words(field: str) -> str:
    return "System role" if field == "system" else f"'{field}'"


SHAPES: dict[str, Callable[[str], Response]] = {
    "openai": lambda field: said({"error": {
        "message": f"Unsupported parameter: {words(field)} is not supported with this model.",
        "type": "invalid_request_error", "param": field if field != "system" else "messages[0].role",
        "code": "unsupported_parameter",
    }}, 400),
    "message only": lambda field: said({"error": {"message": f"{words(field)} is not supported"}}, 400),
    "fastapi": lambda field: said({"detail": [{
        "type": "extra_forbidden", "msg": "Extra inputs are not permitted",
        "loc": ["body", field] if field != "system" else ["body", "messages", 0, "role"],
    }]}, 422),
    "mistral": lambda field: said({"object": "error", "message": {"detail": [
        {"type": "extra_forbidden", "loc": ["body", field if field != "system" else "role"], "msg": "Extra inputs"}
    ]}}, 422),
    "vllm": lambda field: said({"object": "error", "message": f"{words(field)} not supported", "code": 400}, 400),
    "a string": lambda field: said({"error": f"unknown field {words(field)}"}, 400),
    "text": lambda field: Response(400, (f"json: unknown field {words(field)}".encode(),)),
    "a page": lambda field: Response(400, (f"<html><title>Error</title><p>bad {words(field)}</p></html>".encode(),)),
    "nested as text": lambda field: said({"error": {"message": '{"error": "' + f"no {words(field)} here" + '"}'}}, 400),
    "a crash": lambda field: said({"error": f"unexpected keyword argument {words(field)}"}, 500),
    "in a stream": lambda field: stream({"error": {"message": f"{words(field)} is not supported", "code": 400}}),
    "with status 200": lambda field: said({"error": {"message": f"{words(field)} is not supported", "code": 400}}),
    "google": lambda field: said([{"error": {
        "code": 400, "status": "INVALID_ARGUMENT",
        "message": "Developer instruction is not enabled" if field == "system" else f'Unknown name "{field}"',
    }}], 400),
    "without a name": lambda field: said({"detail": "Extra inputs are not permitted"}, 422),
    "without a word": lambda field: Response(400, (b"",)),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("field", FIELDS)
def test_any_field_in_any_shape(field: str, shape: str) -> None:
    def server(body: dict[str, Any]) -> Response:
        return SHAPES[shape](field) if has(body, field) else answered(body)

    chat = Chat(server)
    assert [reply.text for reply in chat.ask(ALL, ALL)] == [TEXT, TEXT]
    assert len(chat.asked) == 3, "it is refused once, then remembered"
    assert not any(has(body, field) for body in chat.asked[1:])
    assert all("Be brief." in body["messages"][0]["content"] for body in chat.asked)


def test_a_server_that_refuses_everything_optional_one_after_the_other(caplog: pytest.LogCaptureFixture) -> None:
    def server(body: dict[str, Any]) -> Response:
        refused = next((field for field in (*FIELDS, "max_completion_tokens") if has(body, field)), None)
        return answered(body) if refused is None else SHAPES["openai"](refused)

    chat = Chat(server)
    with caplog.at_level(logging.WARNING):
        chat.ask(ALL, ALL)
    assert set(chat.asked[-1]) == {"model", "messages"} and len(chat.asked) <= 9
    assert len(caplog.messages) == len(chat.asked) - 2, "each is told once"


def test_max_tokens_is_renamed_or_bounded() -> None:
    newer = said({"error": {"message": "Use 'max_completion_tokens' instead of 'max_tokens'."}}, 400)
    chat = Chat(lambda body: newer if "max_tokens" in body else answered(body))
    chat.ask(ALL)
    assert chat.asked[-1]["max_completion_tokens"] == 500

    for text in (
        "max_tokens is too large: 500. This model supports at most 200 completion tokens, whereas you provided 500.",
        "Invalid 'max_tokens': integer above maximum value. Expected a value <= 200, but got 500 instead.",
        "max_tokens must be between 1 and 200",
    ):
        chat = Chat(lambda body, text=text: (  # type: ignore[misc]
            said({"error": {"message": text}}, 400) if body["max_tokens"] > 200 else answered(body)
        ))
        chat.ask(ALL, ALL)
        assert [body["max_tokens"] for body in chat.asked] == [500, 200, 200]


def test_what_is_lasting_is_not_asked_again_and_again() -> None:
    for text in ("model m not found", "invalid API key", "your balance is empty", "flagged by moderation"):
        chat = Chat(lambda body, text=text: said({"error": {"message": text}}, 400))  # type: ignore[misc]
        with pytest.raises(ProviderError, match=text) as caught:
            chat.ask(ALL)
        assert len(chat.asked) == 1 and not caught.value.retryable
    stubborn = Chat(lambda body: said({"detail": "no"}, 422))
    with pytest.raises(ProviderError, match="no"):
        stubborn.ask(ALL)
    assert len(stubborn.asked) == 2
    assert has(stubborn.provider._accommodation.adapt(stubborn.asked[0]), "seed"), "it was not for the fields"


def test_a_server_that_contradicts_itself_is_given_up() -> None:
    def server(body: dict[str, Any]) -> Response:
        bound = body.get("max_tokens", 0)
        return said({"error": f"max_tokens must be at {'most 100' if bound > 100 else 'least 200'}"}, 400)

    chat = Chat(server)
    with pytest.raises(ProviderError):
        chat.ask(ALL)
    assert len(chat.asked) <= 16


TOO_LONG = [
    ("This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens.", 8192),
    ("This model's maximum context length is 8,192 tokens.", 8192),
    ("prompt is too long: 210000 tokens > 200000 maximum", 200_000),
    ("the request exceeds the available context size (4096 tokens), try increasing it", 4096),
    ("Requested tokens (4321) exceed context window of 2048", 2048),
    ("Input validation error: `inputs` tokens + `max_new_tokens` must be <= 2048. Given: 3000 `inputs` tokens", 2048),
    ("Input validation error: `inputs` must have less than 1024 tokens. Given: 3000", 1024),
    ("The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).", 1_048_576),
    ("Request too large for model `x` on tokens per minute (TPM): Limit 6000, Requested 7200", 6000),
    ("'max_tokens' is too large: 5000. The maximum context length is 8192 tokens, your request has 4000", 8192),
    ("The model is loaded with context length of only 4096 tokens, to keep the first 5000", 4096),
    ("Cannot truncate prompt with n_keep (4821) >= n_ctx (4096)", 4096),
    ("input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000", 200_000),
    ("Range of input length should be [1, 30720]", 30_720),
    ("prompt tokens cannot exceed 4081 - received 5000", 4081), ("Sequence length 9000 exceeds max_seq_len 8192", 8192),
    ("tokens in request more than max tokens allowed: 4096", 4096), ("conversation too long (limit: 128k)", 128_000),
    ("The maximum context length is 8 192 tokens", 8192), ("prompt exceeded max context length by 245 tokens", None),
    ("Message is too long: at most 10000 characters", None),
    ("longer than the specified maximum sequence length for this model (1312 > 1024)", 1024),
    ("The prompt is too long.", None),
    ("Input length exceeds the model's limit", None),
    ("please reduce the length of the messages", None),
]


@pytest.mark.parametrize(("text", "tokens"), TOO_LONG)
def test_a_context_that_is_too_small(text: str, tokens: int | None) -> None:
    for response in (said({"error": {"message": text}}, 400), said({"detail": text}, 422), stream({"error": text})):
        chat = Chat(lambda body, response=response: response)  # type: ignore[misc]
        with pytest.raises(ContextExceeded) as caught:
            chat.ask(Prompt([Message("user", "hi")]))
        assert caught.value.tokens == tokens and len(chat.asked) == 1


def test_room_for_the_answer_is_given_up_before_room_for_the_conversation() -> None:
    text = "maximum context length is 600 tokens. You requested 550 (50 in the messages, 500 in the completion)"
    chat = Chat(lambda body: said({"error": {"message": text}}, 400) if body["max_tokens"] > 300 else answered(body))
    chat.ask(ALL, ALL)
    assert [body["max_tokens"] for body in chat.asked] == [500, 300, 300]


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("Unsupported parameter: 'max_tokens'", 400), ("max_tokens: 9000 > 4096, the most output tokens", 400),
        ("Rate limit reached on tokens per min (TPM): Limit 10000, Used 9900. Try again in 2 s", 429),
        ("You exceeded the limit on input tokens per minute", 429), ("The model does not exist", 404),
        ("invalid API key", 401), ("worker died", 500),
    ],
)
def test_what_is_not_about_the_context(text: str, status: int) -> None:
    assert not complaint({"error": {"message": text}}, status).is_too_long


def test_the_reason_in_words() -> None:
    assert complaint({"error": "Not Found", "message": "no handler"}).said == "Not Found: no handler"
    assert complaint({"title": "Bad", "detail": "seed?", "status": 400}).said == "seed?"
    assert complaint_of_text("<h1>No\n way</h1>").said == "<h1>No\n way</h1>"
    assert complaint_of_text("<html><style>x</style><p>No way</p>").said == "No way"
    deep: Any = "reason"
    for _ in range(100):
        deep = {"error": deep}
    assert complaint(deep).said == ""


def at_once(accommodation: Accommodation, count: int, refusal: Callable[[Body], Complaint | None]) -> list[Body]:
    """What a server was sent that answers so many requests only when it has all of them, and those that follow at
    once."""
    sent: list[Body] = []
    all_there = asyncio.Barrier(count)

    async def ask(body: Body) -> str:
        sent.append(body)
        if len(sent) <= count:
            await all_there.wait()
        refused = refusal(body)
        if refused is not None:
            raise Refused("no", refused, retryable=False)
        return "fine"

    async def main() -> None:
        await asyncio.gather(*(accommodation.ask(BODY, ask) for _ in range(count)))

    asyncio.run(main())
    return sent


BODY: Body = {
    "model": "m", "messages": [{"role": "system", "content": "x"}, {"role": "user", "content": "x"}], "seed": 1,
    "max_tokens": 500,
}
RENAMED = complaint({"error": "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."}, 400)
NO_SEED = complaint({"error": "Unsupported parameter: 'seed'"}, 400)
UNCLEAR = complaint({"error": "unsupported parameter"}, 400)
LESS_ROOM = complaint({"error": "maximum context length is 600 tokens, you requested 900 (400 in the messages)"}, 400)


@pytest.mark.parametrize(
    ("refusal", "then"),
    [
        (lambda body: RENAMED if "max_tokens" in body else None, {"max_completion_tokens": 500, "seed": 1}),
        (lambda body: NO_SEED if "seed" in body else None, {"max_tokens": 500}),
        (lambda body: LESS_ROOM if body["max_tokens"] > 300 else None, {"max_tokens": 300, "seed": 1}),
    ],
    ids=["renamed", "left out", "shortened"],
)
def test_requests_that_are_refused_together_teach_what_one_would(
    refusal: Callable[[Body], Complaint | None], then: Body, caplog: pytest.LogCaptureFixture
) -> None:
    accommodation = Accommodation("the server", ())
    sent = at_once(accommodation, 4, refusal)
    assert accommodation.adapt(BODY) == {"model": "m", "messages": BODY["messages"], **then}
    assert sent == [BODY] * 4 + [accommodation.adapt(BODY)] * 4
    assert len(caplog.messages) == 1, "it is told once"


def test_a_request_refused_without_a_reason_tries_first_what_another_one_learned() -> None:
    complaints = [NO_SEED, UNCLEAR]
    accommodation = Accommodation("the server", ())
    at_once(accommodation, 2, lambda body: complaints.pop(0) if "seed" in body else None)
    assert accommodation.adapt(BODY) == {name: value for name, value in BODY.items() if name != "seed"}
