"""The smaller pieces: fake provider, wording, worker threads, deadlines."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from pathlib import Path

import msgspec
import pytest

from config.llm_settings import LlmSettings
from llm.provider import ProviderError, within
from llm.settings import build
from llm.wording import plain, up_to_sentence_end
from llm.workers import Workers
from tests.unit.llm.llm_tools import question

ROOT = Path(__file__).resolve().parents[3]



def test_sdks_are_imported_only_by_the_provider_that_needs_them() -> None:
    code = """
import sys, llm.registry, llm.request_scheduler, llm.requests
llm.registry.registrations()
print(sorted({"google.generativeai", "xllamacpp", "httpx"} & set(sys.modules)))
"""
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_the_registry_knows_all_providers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    made = [
        build(LlmSettings(provider="fake"), 1, tmp_path),
        build(LlmSettings(provider="local"), 1, tmp_path),
        build(LlmSettings(provider="openai", model="m", base_url="http://127.0.0.1:1/v1"), 1, tmp_path),
        build(LlmSettings(provider="gemini", api_key="k"), 1, tmp_path),
        build(LlmSettings(provider="google-genai", api_key="k"), 1, tmp_path),
    ]
    assert [provider.name for provider in made] == ["fake", "local", "openai", "gemini", "google-genai"]
    assert all(provider.model for provider in made)
    for provider in made:
        asyncio.run(provider.close())


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (LlmSettings(provider="openai"), "needs a model"),
        (LlmSettings(provider="openai", model="m"), "OPENAI_API_KEY"),
        (LlmSettings(provider="openai", model="m", base_url="localhost:80"), "http://"),
        (LlmSettings(provider="gemini"), "GEMINI_API_KEY"),
        (LlmSettings(provider="local", model="no/such.gguf"), "absolute path"),
    ],
)
def test_what_is_missing_is_said(
    settings: LlmSettings, reason: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for variable in ("GEMINI_API_KEY", "GOOGLE_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(ProviderError, match=reason):
        build(settings, 1, tmp_path)


def test_the_fake_answers_the_same_again_and_differently_on_each_node(tmp_path: Path) -> None:
    async def answers(round: int = 0, **settings: object) -> list[str]:
        made = msgspec.convert({"provider": "fake", **settings}, LlmSettings)
        prompt = msgspec.structs.replace(question("What is up?"), seed=made.seed, round=round)
        return [(await build(made, node, tmp_path).ask(prompt)).text for node in range(1, 6)]

    first = asyncio.run(answers())
    assert asyncio.run(answers()) == first
    assert len(set(first)) == 5
    assert all("What is up?" in text for text in first)
    assert asyncio.run(answers(seed=7)) != first
    assert not {*asyncio.run(answers(round=1))} & {*first}, "tests/cluster/judgement.py relies on it"


def test_the_fake_fails_and_dawdles_as_told(tmp_path: Path) -> None:
    provider = build(LlmSettings(provider="fake", fail="the quota is used up", delay_s=0.05), 1, tmp_path)
    began = time.monotonic()
    with pytest.raises(ProviderError, match="the quota is used up"):
        asyncio.run(provider.ask(question("hi")))
    assert time.monotonic() - began >= 0.05


def test_a_reason_is_one_line_without_keys() -> None:
    text = plain("bad key\n  hunter2 AIzaSyA1234567890123456789012345678 at http://x?key=abc&y Bearer zzz", "hunter2")
    assert text == "bad key *** *** at http://x?key=***&y Bearer ***"
    assert len(plain("x" * 1000)) < 310


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("One. Two three", "One."),
        ('He said "no!" Then he', 'He said "no!"'),
        ("Rivers: 1. Nile 2. Rhine 3.", "Rivers: 1. Nile 2. Rhine 3."),
        ("Really? Yes, version 3.11 is", "Really?"),
        ("no end in sight", "no end in sight"),
        ("", ""),
    ],
)
def test_a_cut_off_answer_ends_with_a_sentence(text: str, kept: str) -> None:
    assert up_to_sentence_end(text) == kept


def test_a_deadline_is_a_reason() -> None:
    async def main() -> None:
        async with within(0.01, "the model"):
            await asyncio.sleep(10)

    with pytest.raises(ProviderError, match=r"the model gave no answer within 0\.01 s") as caught:
        asyncio.run(main())
    assert caught.value.retryable


def test_a_process_that_was_held_up_does_first_what_was_due_first() -> None:
    """An answer is cut just before its time limit: what has come of it must not be lost because both are over."""
    async def main() -> str:
        async with within(0.2, "the model"):
            asyncio.get_running_loop().call_soon(time.sleep, 0.3)
            try:
                async with asyncio.timeout(0.1):
                    await asyncio.sleep(10)
            except TimeoutError:
                return "cut"
        raise AssertionError

    assert asyncio.run(main()) == "cut"


def test_nobody_waits_for_a_call_that_hangs() -> None:
    release = threading.Event()

    async def main() -> None:
        workers = Workers("the oracle", limit=2)
        assert await workers.run(lambda: 7) == 7
        with pytest.raises(ZeroDivisionError):
            await workers.run(lambda: 1 // 0)
        for _ in range(2):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(workers.run(release.wait), 0.02)
        with pytest.raises(ProviderError, match="2 earlier requests to the oracle are still hanging"):
            await workers.run(lambda: 7)
        release.set()
        while True:  # until the threads have returned
            try:
                assert await workers.run(lambda: 8) == 8
                return
            except ProviderError:
                await asyncio.sleep(0.01)

    try:
        asyncio.run(asyncio.wait_for(main(), 30))
    finally:
        release.set()
