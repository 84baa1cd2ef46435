"""What a server sends is searched in time that grows with its length, whatever it is: heartbeats must not wait."""

from __future__ import annotations

import time

import pytest

from llm.accommodation import Accommodation
from llm.complaints import complaint_of_text
from llm.thoughts import separate
from llm.wording import is_page, plain, said_by_page

SENT = {
    "messages": [{"role": "system", "content": "x"}, {"role": "user", "content": "x"}], "model": "m", "stream": True,
    "seed": 1, "temperature": 1.0, "max_tokens": 5, "stream_options": {},
}
WORDS = (
    "context", "max_model_input_prompt_", "maximum model ", "prompt length ", "limit 12", "1,000", "tokens exceed ",
    "<", "<style>", "<title>", "<!--", "<think>", "</think>", '"<think>" ', "`", "://a", "sk-", "not ", "at most ",
    "[1,", "from 1 ", "max 1,000", "parameter ", "roles ", "retry in ",
    '{"loc":[', "<|channel|>analysis", "<|channel>thought", "<channel|>", "analysis",
    "Here is my thought process:", "[", '{"error":',
)
_LENGTH = 200_000
_LIMIT_S = 10.0
"""What is quadratic takes minutes for a text of that length, what is linear a fraction of a second."""


@pytest.mark.parametrize("word", WORDS)
def test_repeated_words(word: str) -> None:
    text = word * (_LENGTH // len(word))
    began = time.process_time()
    for sent in (text, f'{{"error": "{text}"}}', f"<html>{text}"):
        complaint = complaint_of_text(sent, 400)
        assert len(complaint.said) < 10_000 and complaint.is_lasting in (True, False)
        assert complaint.is_too_long in (True, False) and complaint.is_unclear in (True, False)
        assert complaint.limit is None or complaint.limit >= 16
        Accommodation("the server", ()).learn(complaint, SENT)
        assert len(plain(sent, "secret")) < 400 and len(said_by_page(sent)) <= 8_000 and is_page(sent) in (True, False)
        separate(sent)
    assert time.process_time() - began < _LIMIT_S
