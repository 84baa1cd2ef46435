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
    assert known.secrets == ()


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
