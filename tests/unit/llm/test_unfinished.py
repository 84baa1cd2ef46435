"""What is shown of an answer before it is whole is the beginning of what will stand, wherever it is cut."""

from __future__ import annotations

import pytest

from llm.provider import Reply
from llm.request_scheduler import validated
from llm.unfinished import unfinished, without_beginnings

KEY = "sk-1234567890"


@pytest.mark.parametrize(
    "text",
    [
        "Hello, world. How are you?", "  Hello \n\n world \n", "<think>What?\nWell.</think>Yes, that is so.",
        "[THINK]Hm.[/THINK]\nYes.", "\u25c1think\u25b7Hm.\u25c1/think\u25b7Yes.", "Yes.\n<think>\nbut no</think>\nNo.",
        "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>Yes.",
        "Use `<b>` or <i>, as in [this](https://a.b/c).\n<table>\n[x] done", "a < b\n< c",
        "<|channel>thought\nHm.\n<channel|>Yes.", "<|channel>thought\n<channel|>Yes.",
        "Yes. <think>but no</think> No.", "\U0001f600\U0001f601 :)",
    ],
)
def test_every_beginning_is_one_of_the_answer(text: str) -> None:
    whole = validated(Reply(text, "m", 1.0)).text
    cuts = [unfinished(text[:end]) for end in range(len(text) + 1)]
    assert [cut for cut in cuts if not whole.startswith(cut)] == []
    assert len(cuts[-1]) >= len(whole) - 10, "and not much of it is held back"


def test_half_of_a_character_is_not_shown() -> None:
    assert unfinished("yes \ud83d") == "yes" and unfinished("yes \ud83d\ude00") == "yes \U0001f600"


def test_no_part_of_a_secret_is_shown() -> None:
    text = f"The key is {KEY}, or {KEY[:6]} in short: s."
    for end in range(len(text) + 1):
        shown = without_beginnings(text[:end].replace(KEY, "***"), (KEY,))
        assert KEY[:7] not in shown and text.replace(KEY, "***").startswith(shown)
