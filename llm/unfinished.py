"""What may be shown of an answer that is not whole yet: most likely, it is the beginning of what will stand."""

from __future__ import annotations

import re
from collections.abc import Iterable

from llm.thoughts import before_open_block, separate
from llm.wording import valid

_MARK_TO_BE = re.compile(
    r"(?:\A\s*|\n[ ]{0,3}|[.!?\u2026][\"')\u201d]?[ \t]*)"
    r"(<(?:\|[^\n]{0,150}|[^<>\n]{0,40})|\[[A-Z/]{0,7}|\u25c1[a-z/]{0,7})\Z"
)
"""An end that may become a mark around thoughts."""
_HALF_A_PAIR = re.compile(r"[\ud800-\udbff]\Z")


def unfinished(text: str) -> str:
    """Without thoughts, and without an end that may turn out to be something else. As `valid` makes whole ones."""
    text = _HALF_A_PAIR.sub("", text)
    mark = _MARK_TO_BE.search(text, max(0, len(text) - 200))
    return before_open_block(separate(valid(text if mark is None else text[: mark.start(1)])).answer)


def without_beginnings(text: str, secrets: Iterable[str]) -> str:
    """Without an end with which a secret may begin."""
    for secret in secrets:
        for length in range(min(len(secret) - 1, len(text)), 0, -1):
            if text.endswith(secret[:length]):
                text = text[: len(text) - length]
                break
    return text
