"""What can be configured, and which provider that means."""

from __future__ import annotations

import msgspec
import pytest

from config.llm_settings import LlmSettings, overlay
from llm.provider import ProviderError
from llm.settings import choose, find_key


def test_a_nodes_own_keys_win_and_the_others_are_inherited() -> None:
    common = LlmSettings(provider="openai", model="m1", temperature=0.5, base_url="http://x")
    assert overlay(common, {"temperature": 1}) == LlmSettings(
        provider="openai", model="m1", temperature=1.0, base_url="http://x"
    )
    assert overlay(common, {"temperature": 0.8}).temperature == 0.8, "a default value, but set on purpose"
    assert overlay(common, {"model": None}).model is None


def test_another_provider_does_not_inherit_what_belongs_to_the_common_one() -> None:
    common = LlmSettings(provider="gemini", model="gemini-x", api_key="secret", temperature=0.1)
    own = overlay(common, {"provider": "fake", "fail": "why not"})
    assert own == LlmSettings(provider="fake", temperature=0.1, fail="why not")


@pytest.mark.parametrize(
    "own", [{"modle": "m"}, {"temperature": 3}, {"timeout_s": 0}, {"provider": 3}, {"max_tokens": 0}]
)
def test_impossible_settings_are_errors(own: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        overlay(LlmSettings(), own)


def test_the_automatic_choice_says_why() -> None:
    assert choose(LlmSettings(provider="fake"), {"GEMINI_API_KEY": "k"}).provider == "fake"
    by_variable = choose(LlmSettings(), {"GEMINI_API_KEY": "k"})
    assert by_variable == ("gemini", "LLM provider gemini, because GEMINI_API_KEY is set")
    assert "GOOGLE_API_KEY" in choose(LlmSettings(), {"GOOGLE_API_KEY": "k"}).why
    assert choose(LlmSettings(api_key="k"), {}).provider == "gemini"
    assert choose(LlmSettings(), {"GEMINI_API_KEY": ""}).provider == "local"
    assert "GEMINI_API_KEY is not set" in choose(LlmSettings(), {}).why


HOME = "api.example.com"


def test_a_key_comes_from_the_settings_first() -> None:
    environ = {"A": " ", "B": " from-b\n", "MINE": "from-mine"}
    assert find_key(LlmSettings(api_key="mine", api_key_env="MINE"), ("A", "B"), HOME, environ) == "mine"
    assert find_key(LlmSettings(api_key_env="MINE"), ("A", "B"), HOME, environ) == "from-mine"
    assert find_key(LlmSettings(), ("A", "B"), HOME, environ) == "from-b"
    assert find_key(LlmSettings(), ("A",), HOME, environ) is None
    with pytest.raises(ProviderError, match="characters"):
        find_key(LlmSettings(api_key="AIza\u2013x"), (), HOME, {})
    with pytest.raises(ProviderError, match="variable GONE, which api_key_env names, is not set"):
        find_key(LlmSettings(api_key_env="GONE"), ("B",), HOME, environ)


@pytest.mark.parametrize(
    ("base_url", "goes"),
    [
        (f"https://{HOME}/v1", True), (f"https://eu.{HOME}/v1", True), (f"http://{HOME}/v1", False),
        (f"https://not{HOME}/v1", False), (f"https://{HOME}.evil.com/v1", False), ("http://127.0.0.1:8000/v1", False),
        (f"https://{HOME}@evil.com/v1", False), (f"https://evil.com/{HOME}", False), ("https://[", False), ("", False),
    ],
)
def test_the_usual_variables_are_for_the_providers_own_host(base_url: str, goes: bool) -> None:
    environ = {"K": "key", "MINE": "mine"}
    settings = LlmSettings(base_url=base_url)
    assert find_key(settings, ("K",), HOME, environ) == ("key" if goes else None)
    explicit = msgspec.structs.replace(settings, api_key_env="MINE")
    assert find_key(explicit, ("K",), HOME, environ) == "mine", "said explicitly, it goes anywhere"


def test_a_node_with_another_address_does_not_inherit_the_key() -> None:
    common = LlmSettings(provider="openai", base_url="https://a/v1", api_key="for a", api_key_env="FOR_A")
    elsewhere = overlay(common, {"base_url": "https://b/v1"})
    assert (elsewhere.api_key, elsewhere.api_key_env) == (None, None)
    assert overlay(common, {"base_url": "https://b/v1", "api_key": "for b"}).api_key == "for b"
    assert overlay(common, {"base_url": "https://a/v1"}).api_key == "for a"


def test_the_key_is_not_printed() -> None:
    assert "secret" not in repr(LlmSettings(api_key="secret"))
    assert "secret" not in f"{LlmSettings(api_key='secret')}"
    assert "secret" not in repr(LlmSettings(base_url="http://me:secret@host/v1?key=secret"))
