"""The JSON of a file that a person wrote: read strictly, in linear time, with the place of what is wrong."""

from __future__ import annotations

import codecs
import json
import math
import re
from collections import Counter
from typing import Any, Final

MAX_BYTES: Final = 1024 * 1024
MAX_DEPTH: Final = 32
_MAX_DIGITS = 30
_TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[\[\]{}]|-?(?:NaN|Infinity)', re.DOTALL)
"""What is looked at before the text is parsed. A string that does not end goes to the end of the text."""
_OTHER_ENCODINGS = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class JsonTextError(Exception):
    """A sentence that follows the file's name."""


def decoded(content: bytes) -> str:
    """The text of a file. Raises JsonTextError if it is not UTF-8, with or without a byte order mark."""
    if content.startswith(_OTHER_ENCODINGS) or content[:4].count(0) >= 2:
        raise JsonTextError("is not in UTF-8, but in UTF-16 or UTF-32: save it as UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line, byte = content.count(b"\n", 0, error.start) + 1, content[error.start]
        raise JsonTextError(f"is not in UTF-8: line {line} contains a wrong byte, 0x{byte:02x}") from None


def parsed(text: str) -> Any:
    """What the text says. Raises JsonTextError."""
    _look_through(text)
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_int=_whole, parse_float=_float)
        # An escape like \ud800 alone is a lone surrogate: such text cannot be sent or stored.
        json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        raise JsonTextError(f"is not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}") from None
    except UnicodeEncodeError as error:
        half = ord(error.object[error.start])
        raise JsonTextError(f"cannot be used: \\u{half:04x} alone is half a character") from None
    return value


def _look_through(text: str) -> None:
    """Finds what the parser would not stand, or not tell the place of. Raises JsonTextError."""
    if len(text) > MAX_BYTES:
        raise JsonTextError(f"is too large: at most {MAX_BYTES} bytes are allowed")
    depth = 0
    for token in _TOKEN.finditer(text):
        word = token.group()
        if word in "[{":
            depth += 1
        elif word in "]}":
            depth -= 1
        elif word[0] != '"':
            raise JsonTextError(f"cannot be used: {word} is not a JSON number, at {_place(text, token.start())}")
        if depth > MAX_DEPTH:
            raise JsonTextError(
                f"is not valid JSON: too deeply nested at {_place(text, token.start())}; {MAX_DEPTH} levels are allowed"
            )


def _place(text: str, index: int) -> str:
    return f"line {text.count(chr(10), 0, index) + 1}, column {index - text.rfind(chr(10), 0, index)}"


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        raise JsonTextError(f"cannot be used: the key {shown(twice)} occurs twice in the same section")
    return found


def _whole(word: str) -> int:
    if len(word) > _MAX_DIGITS:
        raise JsonTextError(f"cannot be used: {word[:10]}... is a number of {len(word)} digits")
    return int(word)


def _float(word: str) -> float:
    number = float(word)
    if not math.isfinite(number):
        raise JsonTextError(f"cannot be used: {word[:20]} is too large a number")
    return number


def shown(value: Any) -> str:
    """As in the file, shortened, with control characters escaped; without the content of sections: it may be secret."""
    if isinstance(value, dict | list) and value:
        return "{...}" if isinstance(value, dict) else "[...]"
    text = json.dumps(value[:100] if isinstance(value, str) else value, ensure_ascii=True)
    return text if len(text) <= 80 else text[:77] + "..."
