"""How many terminal cells a text takes.

Terminals do not agree: some draw an emoji with a skin tone, a flag, or a family joined from four people as one wide
character, others as all of its parts. A line that fits where the parts are drawn fits everywhere, so that width is
used here. A line that is too wide would be wrapped by the terminal at an arbitrary place and break the layout.
"""

from __future__ import annotations

import re
from unicodedata import category

_AS_EMOJI = "\ufe0f"
"""Makes the preceding character an emoji, which takes one more cell on some terminals."""
_EXTRAS = re.compile("[\u200d\ufe00-\ufe0f\U0001f3fb-\U0001f3ff\U000e0100-\U000e01ef]")
_FLAG = re.compile("[\U0001f1e6-\U0001f1ff]")


def width(text: str) -> int:
    """The cells that `text`, one line without tabs and controls, takes at most."""
    if text.isascii():
        return len(text)
    from wcwidth import wcwidth

    # Spacing marks are drawn over the letter before them, or next to it.
    marks = sum(category(character) == "Mc" for character in text if not wcwidth(character))
    return sum(max(wcwidth(character), 0) for character in text) + text.count(_AS_EMOJI) + marks


def chopped(word: str, room: int) -> list[str]:
    """`word` in pieces of at most `room` cells (at least 3). Marks stay with their letter."""
    if word.isascii():
        return [word[start : start + room] for start in range(0, len(word), room)]
    pieces, used = [""], 0
    for character in word:
        size = width(character)
        if used + size > room and size:
            pieces.append("")
            used = 0
        pieces[-1] += character
        used += size
    return pieces


def steady(text: str) -> str:
    """`text` reduced so that all terminals agree on its width: emoji lose skin tones and joiners, flags become letters.
    For cells of tables."""
    if text.isascii():
        return text
    return _FLAG.sub(lambda flag: chr(ord(flag.group()) - 0x1F1E6 + ord("A")), _EXTRAS.sub("", text))
