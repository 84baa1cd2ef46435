"""Keys and passwords: they go to the configured host only, and appear in nothing that users, logs or nodes get."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from llm.provider import ProviderError
from llm.providers.openai import OpenAIProvider
from llm.server_address import server_address
from tests.unit.llm.chat_tools import Chat, Response, said, stream
from tests.unit.llm.test_answer_shapes import chunk

SECRETS = ("pass+wo/rd", "pass%2Bwo%2Frd", "query-secret", "path5ecret0path5ecret", "key-of-mine-1234")
URL = "http://me:pass%2Bwo%2Frd@127.0.0.1:9/path5ecret0path5ecret/v1?token=query-secret&api-version=1"
BASIC = base64.b64encode(b"me:pass+wo/rd").decode()


def chat(response: Response, **settings: Any) -> Chat:
    return Chat(lambda asked: response, **{"base_url": URL, **settings})


def test_where_requests_go() -> None:
    hello = stream(chunk("Hello", "stop"))
    asked = chat(hello)
    asked.one()
    assert asked.urls == [
        "http://127.0.0.1:9/path5ecret0path5ecret/v1/chat/completions?token=query-secret&api-version=1"
    ]
    assert asked.headers[0]["authorization"] == f"Basic {BASIC}"
    with_key = chat(hello, api_key="key-of-mine-1234")
    with_key.one()
    assert with_key.headers[0]["authorization"] == "Bearer key-of-mine-1234"


def test_the_key_of_the_environment_goes_to_its_own_host_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "key-of-mine-1234")
    elsewhere = Chat(lambda asked: said({"error": "who are you?"}, 401))
    with pytest.raises(ProviderError, match="none was sent: api_key or api_key_env says which") as caught:
        elsewhere.one()
    assert caught.value.reason.endswith("who are you?")
    assert "authorization" not in elsewhere.headers[0] and not caught.value.retryable
    said_so = Chat(lambda asked: stream(chunk("Hello", "stop")), api_key_env="OPENAI_API_KEY")
    said_so.one()
    assert said_so.headers[0]["authorization"] == "Bearer key-of-mine-1234"


ECHO = f"no {' '.join(SECRETS)} {BASIC} {URL} Bearer key-of-mine-1234 sk-0123456789abcdef"


@pytest.mark.parametrize(
    "response",
    [
        *(said({"error": {"message": ECHO}}, status) for status in (400, 401, 404, 429, 500, 503)),
        said({"error": ECHO}), stream({"error": ECHO}), said(ECHO, 400), Response(302, (), (("location", URL),)),
        Response(200, (f"<html><title>{ECHO}</title>".encode(),)),
        said({"error": {"message": f"too many tokens {ECHO}"}}, 400),
    ],
    ids=range(12),
)
def test_errors_are_without_secrets(response: Response) -> None:
    with pytest.raises(ProviderError) as caught:
        chat(response, api_key="key-of-mine-1234").one()
    for secret in (*SECRETS, BASIC, "sk-0123456789abcdef"):
        assert secret not in caught.value.reason


CODED = base64.b64encode(b"key-of-mine-1234").decode()


def test_answers_are_without_secrets() -> None:
    echo = f"You sent {' '.join(SECRETS)}, key-of-mine-1234 again and {CODED}."
    reply = chat(stream(chunk(echo, "stop", reasoning_content=echo)), api_key="key-of-mine-1234").one()
    for secret in (*SECRETS, CODED.rstrip("=")):
        assert secret not in reply.text + reply.thoughts
    assert reply.text.startswith("You sent ")


PLACES = [
    "/client/v4/accounts/023e105f4ecef8ad9ca31a8372d0c353/ai/v1", "/engines/llama.cpp/v1", "/serving-endpoints",
    "/openai/deployments/gpt-4o-mini-2024-07-18",
    "/v1beta1/projects/my-project/locations/us-central1/endpoints/openapi",
    "/v1/023e105f4ecef8ad9ca31a8372d0c353/my-gateway/deepseek", "/client/v4/accounts/x/workers-ai/v1",
    "/engines/llama-3.1-8b-instruct/v1", "/models/llama-3.1-8b-instruct/v1",
    "/a-long-path-without-any-digits/v1", "/gateway2/v1",
]
SAID = (
    "Open two bank accounts with a client, run llama.cpp or llama-3.1-8b-instruct on the engines of"
    " gpt-4o-mini-2024-07-18 in us-central1, or deepseek behind serving-endpoints, my-gateway and my-project;"
    " gateway2, workers-ai and a-long-path-without-any-digits are words, too."
)


@pytest.mark.parametrize("place", PLACES)
def test_the_words_of_an_address_stay_in_answers(place: str) -> None:
    at = {"base_url": f"http://127.0.0.1:9{place}"}
    reply = chat(stream(chunk(SAID, "stop", reasoning_content=SAID)), **at).one()
    assert (reply.text, reply.thoughts) == (SAID, SAID)
    with pytest.raises(ProviderError) as caught:
        chat(said({"error": "no 023e105f4ecef8ad9ca31a8372d0c353"}, 400), **at).one()
    assert ("023e" in caught.value.reason) is ("023e" not in place)


def test_a_reason_shows_no_more_of_an_address_than_places_that_are_known() -> None:
    secrets = ("my-gateway", "acme-internal")
    at = "http://127.0.0.1:9/client/v4/accounts/my-gateway/engines/llama.cpp/deployments/gpt-4o-mini/acme-internal"
    with pytest.raises(ProviderError) as caught:
        chat(said({"error": f"nothing at {at}"}, 400), base_url=at).one()
    assert caught.value.reason.endswith("client/v4/accounts/***/engines/llama.cpp/deployments/gpt-4o-mini/***")
    too_long = said({"error": {"message": f"too many tokens at {at}"}}, 400)
    with pytest.raises(ProviderError) as caught:
        chat(too_long, base_url=at).one()
    assert not [secret for secret in secrets if secret in caught.value.reason]


@pytest.mark.parametrize(
    "query",
    [
        "?a%2Bsecret-token", "?api-version=1&a%2Bsecret-token", "?a=b=c&a%2Bsecret-token&alt", "?a%2Bsecret-token==",
        "?key=a%2Bsecret-token",
    ],
)
def test_a_query_may_be_a_secret_by_itself(query: str) -> None:
    at = {"base_url": f"http://127.0.0.1:9/v1{query}"}
    assert chat(stream(chunk("It is a+secret-token.", "stop")), **at).one().text == "It is ***."
    with pytest.raises(ProviderError, match=r"no \*\*\*, no \*\*\* in alt"):
        chat(said({"error": "no a+secret-token, no a%2Bsecret-token in alt"}, 400), **at).one()


@pytest.mark.parametrize(
    "base_url",
    ["me:pass+wo/rd@host/v1", "ftp://me:pass+wo/rd@host", "http://me:pass+wo@[/", "http://:x", "http://h:99999999/", "http:///v1"],
)
def test_an_impossible_address_is_not_repeated(base_url: str) -> None:
    with pytest.raises(ProviderError, match="base_url") as caught:
        server_address(base_url)
    assert "pass" not in caught.value.reason


def test_an_address_is_shown_without_what_may_be_secret() -> None:
    assert server_address(URL).shown == "http://127.0.0.1:9"
    assert server_address("https://[::1]:8000/v1/").shown == "https://[::1]:8000"
    known = server_address("https://host/openai/deployments/v1beta?api-version=2024")
    assert known.secrets == known.private == ()


@pytest.mark.parametrize(
    ("host", "here"),
    [
        ("127.0.0.1", True), ("127.1.2.3", True), ("[::1]", True), ("localhost", True), ("a.localhost", True),
        ("0.0.0.0", True), ("[::]", True), ("10.0.0.1", False), ("0.0.0.1", False), ("[fe80::1]", False),
        ("localhost.example", False),
    ],
)
def test_which_addresses_are_this_machine(host: str, here: bool) -> None:
    assert server_address(f"http://{host}:8000/v1").is_this_machine is here


@pytest.mark.parametrize(
    ("variable", "value"),
    [("HTTPS_PROXY", "socks9://x"), ("ALL_PROXY", "ftp://x"), ("SSL_CERT_FILE", "/nowhere/ca.pem"),
     ("REQUESTS_CA_BUNDLE", "/nowhere/ca.pem")],
)
def test_what_the_environment_hands_down_is_named(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    monkeypatch.setenv(variable, value)
    remote = Chat.settings(base_url="https://example.invalid/v1")
    with pytest.raises(ProviderError, match=variable):
        OpenAIProvider(remote, 1)
    OpenAIProvider(Chat.settings(), 1)  # this machine is reached directly
