"""What fits: whole turns from the newest on, and questions that are refused with the numbers."""

from __future__ import annotations

import pytest

from config.llm_settings import LlmSettings
from llm.budget import prompt_tokens, too_long, trim, trim_limit
from llm.provider import Message


def chat(turns: int, size: int) -> list[Message]:
    talk = [Message("user" if number % 2 == 0 else "assistant", f"{number:{size}}") for number in range(2 * turns)]
    return [*talk, Message("user", "?" * 30)]


def test_a_prompt_may_be_as_long_as_the_answer_leaves_tokens() -> None:
    assert prompt_tokens(LlmSettings(provider="fake")) is None
    assert prompt_tokens(LlmSettings(provider="local")) == 4096 - 160
    assert prompt_tokens(LlmSettings(provider="local", max_tokens=4000)) == 2048, "half at least"
    assert prompt_tokens(LlmSettings(provider="openai", context_tokens=8000, max_tokens=1000)) == 7000
    assert prompt_tokens(LlmSettings(provider="gemini")) == 1_000_000 - 4096


def test_only_who_counts_exactly_trims_for_itself_and_not_when_told_a_bound() -> None:
    assert trim_limit(LlmSettings(provider="openai")) == 32_000 - 4096
    assert trim_limit(LlmSettings(provider="local")) is None
    assert trim_limit(LlmSettings(provider="local", context_tokens=1000)) == 1000 - 160
    assert trim_limit(LlmSettings(provider="fake")) is None


@pytest.mark.parametrize("limit", [0, 26, 80, 111, 112, 200, 369, 370, 10_000])
def test_whole_turns_from_the_newest_on(limit: int) -> None:
    """Each message of 60 characters counts 28, the question 18, no system prompt 8."""
    messages = chat(6, 60)
    left, seen, before = trim(messages, None, limit)
    assert before == 6 and len(left) == 2 * seen + 1
    assert seen == max(0, min(6, (limit - 26) // 56))
    assert left == messages[-len(left) :] and left[0].role == "user"


def test_too_long_a_question_is_told_in_numbers() -> None:
    assert too_long("x" * 100_000, LlmSettings(provider="fake")) is None
    assert too_long("word " * 3000, LlmSettings(provider="local")) is None
    said = too_long("word " * 6000, LlmSettings(provider="local"))
    assert said is not None
    assert all(words in said for words in ("local", "at least 6000 tokens", "30000 bytes", "room for 3936"))
