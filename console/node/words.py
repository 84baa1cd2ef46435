"""Keywords and options of a node's commands."""

from __future__ import annotations

from msgspec import UNSET, UnsetType

from api.safe_text import one_line

AUTO = "auto"
SYNTH = "synth"
FULL = "--full"
ALL_CANDIDATES = "--all-candidates"
VOTES = "--votes"
THOUGHTS = "--thoughts"
CUT = "--cut"
CHOSEN = "--chosen"
FORCE = "--force"
SWITCH = {"on": True, "off": False}


def whole(word: str, what: str, digits: int = 9) -> int:
    """Raises ValueError with a sentence for users, also if there are more than `digits`."""
    if not (word.isascii() and word.isdigit() and len(word) <= digits):
        raise ValueError(f"'{one_line(word, 20)}' is not the {what}")
    return int(word)


def warned(warning: str | UnsetType) -> str:
    """What follows the result of a command that has nearly used up a quota."""
    return "" if warning is UNSET else f" ({warning})"


def questions(count: int) -> str:
    return "1 question" if count == 1 else f"{count} questions"
