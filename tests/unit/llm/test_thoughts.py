"""Thoughts are told from answers, in the dialects that models have for them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm.provider import ProviderError, Reply
from llm.request_scheduler import validated
from llm.thoughts import Separated, separate

MARKS = [
    ("<think>", "</think>"), ("<Thinking>", "</THINKING>"), ("<think effort='low'>", "</think >"),
    ("<thought>", "</thought>"), ("<reasoning>", "</reasoning>"), ("<seed:think>", "</seed:think>"),
    ("[THINK]", "[/THINK]"), ("\u25c1think\u25b7", "\u25c1/think\u25b7"),
    ("<|START_THINKING|>", "<|END_THINKING|>"), ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<unused94>thought\n", "<unused95>"), ("<|channel>thought\n", "<channel|>"),
    ("<|channel|>analysis<|message|>", "<|end|>"), ("Here is my thought process:", "Here is my response:"),
    ("analysis ", "assistantfinal"),
]


@pytest.mark.parametrize(("opening", "closing"), MARKS)
def test_each_dialect(opening: str, closing: str) -> None:
    assert separate(f"\n{opening}The Amazon?{closing}\n\nThe Nile.") == Separated("The Nile.", "The Amazon?")


@pytest.mark.parametrize(("opening", "closing"), MARKS[:12])
def test_a_closing_mark_alone_and_an_opening_one_alone(opening: str, closing: str) -> None:
    assert separate(f"Maybe?\n{closing}\nThe Nile.") == Separated("The Nile.", "Maybe?")
    assert separate(f"{opening}Maybe?") == Separated("", "Maybe?")


@pytest.mark.parametrize(
    ("text", "answer", "thoughts"),
    [
        ("<think>a</think>One.<think>b</think> Two.", "One. Two.", "a\n\nb"),
        ("Well. <think>a</think>One.", "Well. One.", "a"),
        ("<think>a <think>b</think> c</think>One.", "One.", "a <think>b</think> c"),
        ("<think>a</think><answer>One.</answer>", "One.", "a"),
        ("<|START_THINKING|>a<|END_THINKING|><|START_RESPONSE|>One.<|END_RESPONSE|>", "One.", "a"),
        (
            "<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>final<|message|>One.<|return|>",
            "One.", "a",
        ),
        ("<think></think>One.", "One.", ""), ("<think />One.", "One.", ""), ("One.\n<think>\nb", "One.", "b"),
        ("<think>They say `</think>`.</think>One.", "One.", "They say `</think>`."),
        ("<think>a ``` b</think>One.", "One.", "a ``` b"), ("a ```\n</think>\n\nOne.", "One.", "a ```"),
        ("<think>\n```\n<think>a</think>\n```\n</think>One.", "One.", "```\n<think>a</think>\n```"),
        ("<think>a</think>```\n<think>b</think>\n```", "```\n<think>b</think>\n```", "a"),
        ("<|channel|>final<|message|>One.", "One.", ""),
        ("<|channel>thought\nThe user asks...\n<channel|>One.", "One.", "The user asks..."),
        ("<|channel>thought\n<channel|>One.", "One.", ""), ("<|channel>thought<channel|>One.", "One.", ""),
        ("<|channel>analysis\na<channel|>\nOne. <|channel>thought\nb<channel|>Two.", "One. Two.", "a\n\nb"),
        ("One.\n<|channel>thought\nb", "One.", "b"),
    ],
)
def test_blocks(text: str, answer: str, thoughts: str) -> None:
    assert separate(text) == Separated(answer, thoughts)


@pytest.mark.parametrize(
    "text",
    [
        "Models write `<think>` and `</think>` around their thoughts.", 'The mark "</think>" ends them.',
        "```\n<think>a</think>\n```\nis how it looks.", "a < b and [c]", "I `<think>x</think>` so.", "2 <think> 3",
        "~~~xml\n<think>a</think>\n~~~", "So:\n\n    <think>a</think>\n\nDone.", "Here:\n```xml\n<think>a</think>",
        "Models write <think> and </think> around them.", "The tag </think> ends them.", '{"a": "<think>b</think>"}',
        "The <thinking> element has text; close it with </thinking>.", "<code><think>a</think></code>",
        "Use ``<think>a</think>``.", "`<think>\na</think>` so.", "The tag: <Reasoning>text</Reasoning> in JSX.",
        "List<Thought> thoughts = new ArrayList<Thought>();", "Close it with </think>, then answer.",
        "An analysis of it: assistantfinal is no word.", "<answer>One.</answer>",
        "Gemma writes `<|channel>thought` and `<channel|>`.", "```\n<|channel>thought\na<channel|>\n```",
        "Go has chan<- and <-channel, no <channel> or <|channel>.",
    ],
)
def test_what_an_answer_says_of_marks_is_part_of_it(text: str) -> None:
    assert separate(text) == Separated(text, "")


PIECES = st.sampled_from([
    "<think>", "</think>", "[THINK]", "[/THINK]", "<|channel|>analysis<|message|>", "<|end|>",
    "<|channel>thought", "<channel|>", "`", "```", "\n", "x",
    '"', "assistantfinal", "analysis", "<answer>", "</answer>", "Here is my thought process:", "Here is my response:",
])


@given(st.lists(PIECES, max_size=30).map("".join))
def test_any_mixture(text: str) -> None:
    answer, thoughts = separate(text)
    assert len(answer) + len(thoughts) <= len(text) + 2 * 100
    again = separate(answer).answer
    assert len(again) <= len(answer)


def test_a_reply_is_its_answer() -> None:
    reply = validated(Reply("<think>Maybe?</think>The Nile.", "m", 1.0, thoughts="A river."))
    assert (reply.text, reply.thoughts) == ("The Nile.", "A river.\n\nMaybe?")
    with pytest.raises(ProviderError, match="only thought") as only:
        validated(Reply("<think>Maybe?", "m", 1.0))
    assert only.value.retryable
    with pytest.raises(ProviderError, match="used up its tokens thinking") as cut:
        validated(Reply("<think>Maybe?", "m", 1.0, complete=False))
    assert not cut.value.retryable
    with pytest.raises(ProviderError, match="had not begun its answer after 30 s; raise timeout_s"):
        validated(Reply("<think>Maybe?", "m", 1.0, complete=False, cut_s=30.0))
