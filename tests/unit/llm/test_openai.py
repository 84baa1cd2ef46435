"""The client for OpenAI-compatible servers, against a fake server on loopback."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from email.utils import formatdate
from pathlib import Path

import msgspec
import pytest

from config.llm_settings import LlmSettings
from llm.provider import Progress, Prompt, ProviderError, Reply
from llm.providers.local import LocalProvider
from llm.providers.openai import OpenAIProvider
from tests.unit.llm.chat_tools import Chat, Response, stream
from tests.unit.llm.llm_tools import Said, question, said_json, said_stream, stand_in, wait_until

KEY = "sk-verysecret1234"


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def delta(text: str | None, finish: str | None = None) -> object:
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}]}


LONGER = (("content-length", "5000"),)

USAGE = {"choices": [], "usage": {"prompt_tokens": 11, "completion_tokens": 2}}


def ask(
    url: str, prompt: Prompt | None = None, on_progress: Progress | None = None, timeout_s: float = 30,
    node: int = 1,
) -> Reply:
    async def main() -> Reply:
        settings = LlmSettings(model="m1", base_url=url + "/v1/", api_key=KEY, timeout_s=timeout_s)
        provider = OpenAIProvider(settings, node)
        try:
            return await provider.ask(prompt or question("hi"), on_progress)
        finally:
            await provider.close()

    return asyncio.run(main())


def test_a_streamed_answer() -> None:
    written: list[tuple[int, str]] = []
    with stand_in(said_stream(delta(None), delta("Hel"), delta("lo"), delta(None, "stop"), USAGE)) as server:
        prompt = Prompt(question("three", ("one", "two")).messages, "be brief", 0.3, seed=4, max_tokens=7)
        reply = ask(server.url, prompt, lambda count, text=str: written.append((count, text())))
    assert (reply.text, reply.model, reply.tokens_in, reply.tokens_out) == ("Hello", "m1", 11, 2)
    assert written == [(1, "Hel"), (2, "Hello")]
    (asked,) = server.asked
    assert asked.path == "/v1/chat/completions"
    assert asked.headers["authorization"] == f"Bearer {KEY}"
    assert asked.body == {
        "model": "m1", "temperature": 0.3, "seed": 4, "max_tokens": 7,
        "stream": True, "stream_options": {"include_usage": True},
        "messages": [
            {"role": "system", "content": "be brief"}, {"role": "user", "content": "one"},
            {"role": "assistant", "content": "two"}, {"role": "user", "content": "three"},
        ],
    }


def test_without_a_seed_in_the_settings_the_node_is_one() -> None:
    with stand_in(said_stream(delta("Hello", "stop"))) as server:
        for node in (1, 2):
            ask(server.url, node=node)
        ask(server.url, msgspec.structs.replace(question("hi"), seed=77), node=2)
    first, second, configured = (asked.body["seed"] for asked in server.asked)
    assert first != second and configured == 77


def test_a_server_without_seeds_is_asked_without() -> None:
    refusal = said_json({"error": {"message": "extra field not permitted: seed"}}, 422)
    with stand_in(refusal, said_stream(delta("Hello", "stop"))) as server:
        assert ask(server.url).text == "Hello"
    assert ["seed" in asked.body for asked in server.asked] == [True, False]
    with stand_in(refusal) as server, pytest.raises(ProviderError, match="not permitted: seed"):
        ask(server.url, msgspec.structs.replace(question("hi"), seed=77))
    assert len(server.asked) == 2, "what is refused without a seed, too, is not tried any further"


def test_a_server_that_does_not_stream() -> None:
    body = {"choices": [{"message": {"content": "Hello"}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 5}}
    with stand_in(said_json(body)) as server:
        assert ask(server.url).text == "Hello"


@pytest.mark.parametrize(
    ("said", "reason", "retryable"),
    [
        (said_json({"error": {"message": f"wrong {KEY}"}}, 401), r"does not accept the API key: wrong \*\*\*", False),
        (Said(401, (b'{"error": {"message": "no"}}',), headers=LONGER), "does not accept the API key: no", False),
        (said_json({"error": {"message": "no m1"}}, 404), "does not know this model or address: no m1", False),
        (said_json({"error": {"message": "slow down"}}, 429, ("retry-after", "3")), "quota .* slow down", True),
        (said_json({"error": {"message": "pay", "code": "insufficient_quota"}}, 429), "insufficient_quota", False),
        (Said(503, (b"<html>busy</html>",), "text/html"), "is failing .HTTP 503.: busy", True),
        (said_json({"error": "context too long"}, 400), "refused the request .HTTP 400.: context too long", False),
        (said_json(["odd"], 500), "is failing .HTTP 500.", True),
        (Said(200, (b"data: {nonsense\n\n",), "text/event-stream"), "not an answer", True),
        (said_json("what?"), "not an answer", True),
        (said_stream(delta("He"), {"error": {"message": "out of memory"}}), "failed: out of memory", True),
        (said_stream(delta("He", "content_filter")), "content filter", False),
        (said_stream(delta(None, "length")), "used up its tokens", False),
        (Said(200, said_stream(delta("Half")).pieces[:-1], "text/event-stream"), "broke in the middle", True),
        (Said(200, said_stream(delta("Half")).pieces[:1], "text/event-stream", LONGER), "connection .* broke", True),
        (Said(200, (b"",), "text/event-stream"), "sent an empty response", True),
        (Said(200, (b'{"choices": [{"mess',)), "not an answer", True),
        (said_json({"choices": []}), "empty answer", True),
        (said_json({"choices": [{"message": {"content": None}, "finish_reason": "stop"}]}), "empty answer", True),
    ],
)
def test_failures_in_plain_words(said: Said, reason: str, retryable: bool) -> None:
    with stand_in(said) as server, pytest.raises(ProviderError, match=reason) as caught:
        ask(server.url)
    assert caught.value.retryable is retryable
    assert caught.value.retry_after_s == (3.0 if said.status == 429 and said.headers else None)
    assert KEY not in caught.value.reason


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "localhost"])
def test_a_server_of_this_machine_is_reached_without_the_proxy(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    """Under the address, too, that servers print which listen on all of them."""
    for variable in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    for variable in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(variable)
    with stand_in(said_stream(delta("Hello", "stop"))) as server:
        assert ask(server.url.replace("127.0.0.1", host)).text == "Hello"


def test_nobody_listens() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(ProviderError, match="cannot be reached") as caught:
            ask(f"http://127.0.0.1:{unused.getsockname()[1]}")
    assert caught.value.retryable


def test_too_slow_an_answer_is_given_up_and_the_server_notices() -> None:
    slow = said_stream(*[delta("word ")] * 1000, delay_s=0.02)
    with stand_in(slow) as server:
        began = time.monotonic()
        assert ask(server.url, timeout_s=3).cut_s == 3
        assert time.monotonic() - began < 15
        wait_until(lambda: server.broken_off.is_set() or not server.asked)  # a busy machine may send nothing in time


def test_a_date_to_retry_after_is_understood() -> None:
    later = formatdate(time.time() + 40, usegmt=True)
    for status in (429, 503):
        with stand_in(said_json({}, status, ("retry-after", later))) as server, pytest.raises(ProviderError) as caught:
            ask(server.url)
        assert caught.value.retry_after_s is not None and 30 < caught.value.retry_after_s <= 40
    with stand_in(said_json({}, 503, ("retry-after", "soon"))) as server, pytest.raises(ProviderError) as caught:
        ask(server.url)
    assert caught.value.retry_after_s is None


def test_an_answer_that_used_up_its_tokens_is_not_complete() -> None:
    with stand_in(said_stream(delta("So far"), delta(None, "length"))) as server:
        assert not ask(server.url).complete


def test_it_talks_to_a_real_server(model_dir: Path) -> None:
    """The one that the provider local starts speaks the same protocol."""

    async def main() -> None:
        local = LocalProvider(LlmSettings(provider="local", timeout_s=180), 1, model_dir)
        client: OpenAIProvider | None = None
        try:
            await local.ask(question("Say hello.", max_tokens=2))
            address = local._address
            assert address is not None
            settings = LlmSettings(model="m", base_url=address.url + "/v1", api_key=address.token, timeout_s=180)
            client = OpenAIProvider(settings, 1)
            pieces: list[int] = []
            prompt = Prompt(question("Name a river.").messages, temperature=0.9, seed=7, max_tokens=16)
            reply = await client.ask(prompt, lambda count, *_: pieces.append(count))
            assert reply.text.strip() and pieces == sorted(pieces) and reply.tokens_out and reply.tokens_in
            assert (await client.ask(prompt)).text == reply.text, "the same seed says the same again"
            assert not (await client.ask(msgspec.structs.replace(prompt, max_tokens=1))).complete
            unauthorized = OpenAIProvider(msgspec.structs.replace(settings, api_key="wrong"), 1)
            with pytest.raises(ProviderError, match="does not accept the API key"):
                await unauthorized.ask(prompt)
            await unauthorized.close()
        finally:
            if client is not None:
                await client.close()
            await local.close()

    asyncio.run(main())


PART = {"choices": [{"index": 0, "delta": {"content": "The Nile is"}, "finish_reason": None}]}
THOUGHT = {"choices": [{"index": 0, "delta": {"reasoning_content": "Hm"}, "finish_reason": None}]}


@pytest.mark.parametrize("stalled", [True, False])
def test_what_the_time_limit_leaves_of_an_answer_is_a_marked_part(stalled: bool) -> None:
    """Whether the server stalls or never comes to an end. An earlier try has taken some of the time."""
    held = stream(PART, done=False)._replace(then="hold")
    endless = stream(PART, *[delta(" word")] * 100_000)
    chat = Chat(lambda asked: held if stalled else endless, timeout_s=20)
    prompt = msgspec.structs.replace(question("hi"), time_s=0.3)
    began = time.monotonic()
    reply = chat.one(prompt)
    assert time.monotonic() - began < 10
    assert reply.text.startswith("The Nile is") and not reply.complete and reply.cut_s == 20.0


@pytest.mark.parametrize(
    ("said", "reason"), [(THOUGHT, "m had not begun its answer after 0.3 s; raise timeout_s"), (None, "gave no answer")]
)
def test_without_any_text_the_time_limit_leaves_a_reason(said: object, reason: str) -> None:
    held = stream(*([] if said is None else [said]), done=False)._replace(then="hold")
    with pytest.raises(ProviderError, match=reason):
        Chat(lambda asked: held, timeout_s=0.3).one()


def answer_of(response: Response) -> Reply:
    return Chat(lambda asked: response, timeout_s=20).one()


def test_a_whole_answer_counts_on_a_connection_that_stays_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a length, and without an end: the JSON value has one. So have the words of a refusal."""
    for bound in ("_AFTER_END_S", "_REFUSAL_S"):
        monkeypatch.setattr(f"llm.http_client.{bound}", 0.1)
    for pretty in (None, 1):
        message = {"choices": [{"message": {"content": 'The {Nile}\\"'}, "finish_reason": "stop"}]}
        pieces = tuple(bytes([byte]) for byte in json.dumps(message, indent=pretty).encode())
        assert answer_of(Response(200, pieces, then="hold")).text == 'The {Nile}\\"'
    refused = Response(401, (b'{"error": {"message": "who are you?"}}',), then="hold")
    with pytest.raises(ProviderError, match="who are you"):
        answer_of(refused)
