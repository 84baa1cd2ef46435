"""Cleans up external text for an answer or for an error that users read."""

from __future__ import annotations

import re
from html import unescape

_REASON_CHARS = 300
_EXTERNAL_CHARS = 8_000
_PAGE_CHARS = 8_000
"""Characters of a page that are searched for its title."""

_KEY_SHAPED = re.compile(
    r"AIza[\w-]{20,}|\bsk-[\w-]{8,}|\bgsk_\w{8,}|\bhf_\w{8,}|(?<=[?&]key=)[^&\s]+|(?<=Bearer )[^\s\"',;]+"
    r"|(?<=://)[^/\s@\"']+(?=@)"
)

_SENTENCE_END = re.compile(r"""[^\s\d][.!?\u2026]["')\]*\u201d\u2019]*(?=\s|$)""")
"""Not after a digit: that would be the number of a list item."""

_PAGE = re.compile(r"\s*(?:<!--.{0,1000}?-->\s*)?<(?:!doctype|html|head|body|\?xml)\b", re.IGNORECASE | re.DOTALL)
_TITLE = re.compile(r"<(title|h1)\b[^<>]{0,200}>([^<]{1,300})</", re.IGNORECASE)
_TAG = re.compile(r"<(style|script)\b.*?(?:</\1\s*>|\Z)|<[^<>]{0,500}>", re.IGNORECASE | re.DOTALL)


def plain(text: str, *secrets: str | None) -> str:
    """An external error text as a reason: one line, bounded, without `secrets` or anything that looks like one."""
    text = " ".join(masked(text, *secrets)[:_EXTERNAL_CHARS].split())
    return text if len(text) <= _REASON_CHARS else text[:_REASON_CHARS] + "..."


def masked(text: str, *secrets: str | None) -> str:
    """A text without `secrets` or anything that looks like one."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, "***")
    return _KEY_SHAPED.sub("***", text)


def valid(text: str) -> str:
    """Without lone surrogates and surrounding white space. Two halves of a pair that came apart are joined."""
    try:
        text.encode()
    except UnicodeEncodeError:
        joined = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
        text = joined.encode(errors="replace").decode()
    return text.strip()


def is_page(text: str) -> bool:
    """Whether this is a web page rather than an answer to a program."""
    return _PAGE.match(text[:_PAGE_CHARS]) is not None


def said_by_page(text: str) -> str:
    """The title of a page, else the beginning of its text."""
    text = text[:_PAGE_CHARS]
    title = _TITLE.search(text)
    return unescape(title[2] if title is not None else _TAG.sub(" ", text)).strip()


def is_whole(text: str) -> bool:
    """Whether a text ends at the end of a sentence."""
    return any(match.end() == len(text) for match in _SENTENCE_END.finditer(text))


def up_to_sentence_end(text: str) -> str:
    """A truncated answer without its incomplete last sentence; unchanged if it has no end of a sentence."""
    ends = [match.end() for match in _SENTENCE_END.finditer(text)]
    return text[: ends[-1]] if ends else text
