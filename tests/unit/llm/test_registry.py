"""Providers register themselves: a new one is one file, and everything else learns of it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import config.config
from config.llm_settings import LlmSettings
from llm import providers, registry
from llm.budget import prompt_tokens
from llm.provider import ProviderError
from llm.settings import build
from tests.unit.llm.llm_tools import run_ask

ECHO = '''
from llm.provider import Reply
from llm.registry import register

class Echo:
    name = model = "echo"
    parallel = 1

    async def ask(self, prompt, on_progress=None):
        return Reply(prompt.messages[-1].text, self.model, 0.0)

    async def close(self):
        pass

@register("echo", key_variables=("ECHO_KEY",), context_tokens=100, answer_tokens=10, imports=("not_installed", "this"))
def build(settings, node, data_dir):
    return Echo()
'''


@pytest.fixture
def added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of a provider that was added as one file."""
    (tmp_path / "an_echo.py").write_text(ECHO)
    monkeypatch.setattr(providers, "__path__", [*providers.__path__, str(tmp_path)])
    registry.registrations.cache_clear()
    yield "echo"
    registry._registered.pop("echo", None)
    sys.modules.pop("llm.providers.an_echo", None)
    registry.registrations.cache_clear()


def test_all_providers_are_found() -> None:
    assert sorted(registry.registrations()) == ["fake", "gemini", "google-genai", "local", "openai"]
    assert registry.find("gemini").key_variables == ("GEMINI_API_KEY", "GOOGLE_API_KEY")
    assert registry.find("openai").key_variables == ("OPENAI_API_KEY",)


def test_a_provider_is_added_by_one_file(added: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "config.json"
    path.write_text('{"nodes": [{"id": 1}], "llm": {"provider": "echo"}}')
    settings = config.config.load(path, registry.registrations()).node(1).llm
    assert run_ask(build(settings, 1, tmp_path), "is anybody there?").text == "is anybody there?"
    assert prompt_tokens(settings) == 90
    registry.preload(added)
    assert "Zen of Python" in capsys.readouterr().out, "what is missing is passed over, the rest is imported"


def test_an_unknown_name_is_told_with_those_that_there_are(tmp_path: Path) -> None:
    with pytest.raises(ProviderError, match="provider echo: there are fake, gemini, google-genai, local, openai"):
        build(LlmSettings(provider="echo"), 1, tmp_path)
