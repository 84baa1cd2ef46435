"""How the small model that comes with this program is asked.

Measured on the questions of bench/questions.py (`python -m bench.answers`): two examples before the chat and a cooler
choice of words make it right more often, and a good answer takes a quarter of the tokens.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from llm.provider import TEMPERATURE, Message, Prompt

SHORT_TOKENS: Final = 160
"""Whoever asks for longer answers than this does not want examples of short ones."""


class Profile(NamedTuple):
    """What is sent unless the settings say otherwise."""

    temperature: float
    sampling: dict[str, Any]
    examples: list[Message]

    def examples_for(self, prompt: Prompt) -> list[Message]:
        """What comes before the chat. A system prompt says itself what answers are to be like."""
        wants_more = prompt.max_tokens is not None and prompt.max_tokens > SHORT_TOKENS
        return [] if prompt.system is not None or wants_more else self.examples


SMALL: Final = Profile(
    0.4,
    {"top_k": 20, "min_p": 0.1},
    [
        Message("user", "What is the capital of Italy?"),
        Message("assistant", "The capital of Italy is Rome."),
        Message("user", "Name three fruits."),
        Message("assistant", "Three fruits are apples, bananas and oranges."),
    ],
)
OTHER: Final = Profile(TEMPERATURE, {}, [])
"""Of a model that the user has chosen."""
