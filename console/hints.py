"""The first time that a word of the field stands on a screen: where it is explained."""

from __future__ import annotations

import re

from api.glossary import WORDS

_COMMON = ("candidate", "leader", "log", "majority", "operation", "partition", "position", "queue", "stale")
"""Words that are plain enough."""
_BALLOT = r"<\d+,\d+,\d+>"
_KNOWN = {word.lower(): word for word in WORDS if word not in _COMMON}
_WORD = re.compile(rf"\b(?:{'|'.join(map(re.escape, _KNOWN))})(?=s?\b)|{_BALLOT}", re.IGNORECASE)


class Hints:
    """Of one screen."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def first(self, text: str) -> str | None:
        """What to say of the words in `text` that have not been on this screen before; None if there are none."""
        found = ("ballot" if word.startswith("<") else _KNOWN[word.lower()] for word in _WORD.findall(text))
        new = [word for word in dict.fromkeys(found) if word not in self._seen]
        if not new:
            return None
        self._seen.update(new)
        return f"(new here: {', '.join(new)}; help {new[0]} explains it)"
