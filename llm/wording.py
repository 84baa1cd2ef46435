"""Cleans up external text for an answer or for an error that users read."""

from __future__ import annotations

import re

_REASON_CHARS = 300

_KEY_SHAPED = re.compile(r"AIza[\w-]{20,}|\bsk-[\w-]{8,}|(?<=[?&]key=)[^&\s]+|(?<=Bearer )\S+")

_SENTENCE_END = re.compile(r"""[^\s\d][.!?\u2026]["')\]*\u201d\u2019]*(?=\s|$)""")
"""Not after a digit: that would be the number of a list item."""


def plain(text: str, *secrets: str | None) -> str:
    """An external error text as a reason: one line, bounded, without `secrets` or anything that looks like one."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, "***")
    text = " ".join(_KEY_SHAPED.sub("***", text).split())
    return text if len(text) <= _REASON_CHARS else text[:_REASON_CHARS] + "..."


def valid(text: str) -> str:
    """Without lone surrogates and surrounding white space."""
    return text.encode(errors="replace").decode().strip()


def is_whole(text: str) -> bool:
    """Whether a text ends at the end of a sentence."""
    return any(match.end() == len(text) for match in _SENTENCE_END.finditer(text))


def up_to_sentence_end(text: str) -> str:
    """A truncated answer without its incomplete last sentence; unchanged if it has no end of a sentence."""
    ends = [match.end() for match in _SENTENCE_END.finditer(text)]
    return text[: ends[-1]] if ends else text
