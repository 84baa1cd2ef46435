"""Bounds what a session of the library requests reads, and takes streamed JSON apart: the library knows no bound, and
Google's reader of streams copies what it has with every character."""

from __future__ import annotations

import codecs
import json
import logging
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

_PIECE = 65_536
_BETWEEN = " \t\r\n,"
_element = json.JSONDecoder()


class ResponseTooLarge(Exception):
    """There is more than the bound."""


class ResponseCompressed(Exception):
    """It is compressed, though that was not asked for: a small response may unpack to any size."""


def bound(session: Any, most: int, *, direct: bool) -> None:
    """From now on, at most `most` bytes of each response are read. `direct`: without proxies."""
    # It would tell of a server's odd headers with a traceback, which holds the address and what the server wrote.
    logging.getLogger("urllib3.connection").setLevel(logging.ERROR)
    session.headers["Accept-Encoding"] = "identity"
    session.hooks["response"].append(partial(_bound_response, most))
    if direct:
        session.trust_env = False


def _bound_response(most: int, response: Any, *_: Any, **__: Any) -> None:
    """Called before anything of the body is read."""
    if response.headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity"):
        response.close()
        raise ResponseCompressed
    response.encoding = "utf-8"  # what JSON is in, whatever the headers say
    response.raw.stream = partial(_pieces, response.raw, most)


def _pieces(raw: Any, most: int, *_: Any, **__: Any) -> Iterator[bytes]:
    """What has arrived so far, as soon as something has."""
    size = 0
    while piece := raw.read1(_PIECE):
        size += len(piece)
        if size > most:
            raise ResponseTooLarge
        yield piece


def elements(response: Any) -> Iterator[Any]:
    """The elements of a JSON array, as soon as each has arrived. Raises ValueError if it is none, or not all of it."""
    return _elements(response.raw.stream())


def _elements(pieces: Iterable[bytes]) -> Iterator[Any]:
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    begun, text = False, ""
    for piece in pieces:
        text += decoder.decode(piece)
        if not begun:
            text = text.lstrip()
            if text[:1] not in ("", "["):
                raise ValueError("not an array")
            begun, text = text[:1] == "[", text[1:]
        while b"}" in piece:
            text = text.lstrip(_BETWEEN)
            try:
                element, end = _element.raw_decode(text)
            except (ValueError, RecursionError):
                break  # it may not be complete yet
            yield element
            text = text[end:]
    if not begun or text.strip() != "]":
        raise ValueError("not a whole array")
