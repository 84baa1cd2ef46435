"""Providers register themselves: a new one is one file, and everything else learns of it."""

from __future__ import annotations

import subprocess
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

ROOT = Path(registry.__file__).parents[1]
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
    (tmp_path / "echo.py").write_text(ECHO)
    monkeypatch.setattr(providers, "__path__", [*providers.__path__, str(tmp_path)])
    registry.names.cache_clear()
    yield "echo"
    registry._registered.pop("echo", None)
    sys.modules.pop("llm.providers.echo", None)
    registry.names.cache_clear()


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


def test_a_module_that_registers_another_name_is_a_mistake_in_words(added: str) -> None:
    path = Path(providers.__path__[-1]) / "parrot.py"
    path.write_text(ECHO)
    registry.names.cache_clear()
    with pytest.raises(ProviderError, match=r"parrot\.py registers no provider parrot"):
        registry.find("parrot")
    sys.modules.pop("llm.providers.parrot")


def test_a_process_imports_the_provider_that_it_uses_and_no_other() -> None:
    program = "import sys; from llm import registry; registry.find('fake'); print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert [name for name in ran.stdout.split() if name.startswith("llm.providers.")] == ["llm.providers.fake"]


def test_an_unknown_name_is_told_with_those_that_there_are(tmp_path: Path) -> None:
    with pytest.raises(ProviderError, match="provider echo: there are fake, gemini, google-genai, local, openai"):
        build(LlmSettings(provider="echo"), 1, tmp_path)
