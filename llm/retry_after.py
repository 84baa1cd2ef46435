"""When a server that refuses for now may be asked again: by its headers, else by its words."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

_MOST_S = 10.0**7
"""What is further away is as good as never."""
_SPAN = re.compile(r"(?:(\d{1,6})h)?(?:(\d{1,6})m(?!s))?(?:(\d{1,9}(?:\.\d{1,9})?)(ms|s)?)?")
_WORDS = re.compile(
    r"(?:try|retry|trying|wait)\w*(?: again)? (?:in|after|for)[: ]{1,2}((?:\d[\d.]{0,12}(?:h|ms|m|s)?){1,3})",
    re.IGNORECASE,
)


def from_headers(headers: Mapping[str, str]) -> float | None:
    """Seconds from now; None if the headers do not say."""
    milliseconds = seconds(headers.get("retry-after-ms", ""))
    return milliseconds / 1000 if milliseconds is not None else seconds(headers.get("retry-after", ""))


def from_words(text: str) -> float | None:
    """Seconds, by a sentence like "Please try again in 7m12.5s"."""
    found = _WORDS.search(text)
    return None if found is None else seconds(found[1].rstrip("."))


def seconds(text: str) -> float | None:
    """Seconds from now, by "17", "17.5s", "7m12s", "120ms", or a date; None if it is none of these."""
    text = text.strip().lower()
    span = _SPAN.fullmatch(text)
    if text and span is not None:
        hours, minutes, rest, unit = span.groups()
        value = float(rest or 0) / (1000 if unit == "ms" else 1)
        return min(_MOST_S, float(hours or 0) * 3600 + float(minutes or 0) * 60 + value)
    try:
        return min(_MOST_S, max(0.0, parsedate_to_datetime(text).timestamp() - time.time()))
    except (ValueError, OverflowError, TypeError, IndexError):
        return None
