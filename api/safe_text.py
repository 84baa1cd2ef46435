"""Makes text from untrusted sources safe for a terminal.

Text from an LLM or another user may hold escape sequences (which move the cursor, set titles, send replies), direction
overrides (which reorder the displayed text) and invisible characters. They are made visible instead:
C0 controls in caret notation (`^[`), everything else as `\\u{202e}`. Letters, emoji and scripts of any kind stay.
"""

from __future__ import annotations

import re

_INVISIBLE = (
    "\x80-\x9f"  # C1 controls
    "\u061c\u180e\u200b\u200e\u200f"  # direction marks, invisible separators
    "\u2028-\u202e"  # line separators, direction embeddings and overrides
    "\u2060-\u206f"  # invisible operators, direction isolates
    "\ufeff\ufff9-\ufffb"
    "\ud800-\udfff"  # surrogates: not encodable
    "\U000e0000-\U000e007f"  # tags: invisible copies of ASCII
)
DANGEROUS = re.compile(f"[\x00-\x08\x0b-\x1f\x7f{_INVISIBLE}]")
"""Characters that a terminal interprets, or displays misleadingly."""
_MARKS = "\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f"
_TOWER = re.compile(f"([{_MARKS}]{{8}})[{_MARKS}]+")
"""More marks on one letter than any script uses: they would be drawn over the lines above."""
_COLOUR = re.compile(r"(\x1b\[[0-9;]*m)")


def visible(text: str) -> str:
    """`text` with everything that a terminal would interpret made visible; line feeds and tabs stay. Idempotent."""
    return _TOWER.sub(r"\1…", DANGEROUS.sub(_show, text.replace("\r\n", "\n")))


def coloured(text: str) -> str:
    """Like `visible`, but colour sequences stay: for text rendered by this program."""
    return "".join(part if index % 2 else visible(part) for index, part in enumerate(_COLOUR.split(text)))


def one_line(text: str, limit: int = 100) -> str:
    """The start of `text` on one line, at most `limit` characters."""
    words = " ".join(visible(text[: 4 * limit + 100]).split())
    return words if len(words) <= limit else words[: limit - 1].rstrip() + "…"


def _show(match: re.Match[str]) -> str:
    code = ord(match.group())
    if code < 0x20 or code == 0x7F:
        return "^" + chr(code ^ 0x40)
    return f"\\u{{{code:x}}}"
