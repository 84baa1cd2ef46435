"""The JSON values in a response's body, whatever frames them: server-sent events, one value a line, an array, or
nothing at all. What the values mean is for others to say."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from enum import Enum
from typing import Any, NamedTuple, Protocol

from llm.event_stream import Event, EventStream, EventTooLarge
from llm.wording import is_page

_BLANK = b"\xef\xbb\xbf \t\r\n"
_CHARSET = re.compile(r"iso-8859-\d{1,2}|windows-125\d|latin-?1|utf-16|gb2312|gbk|gb18030|big5|shift_jis|euc-\w{2}")
"""Those that are decoded in time that is in proportion to a text, however hostile it is."""
_BLANK_TEXT = "\ufeff \t\r\n"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_BETWEEN = " \t\r\n,"
_MOST_ITEMS = 100_000
"""In one value: more take long to decode, and many times the memory of their text."""
_IN_STRING = re.compile(rb'"|\\(?:.|\Z)', re.DOTALL)
_OUTSIDE = re.compile(rb'["{}]')
_BEFORE_OBJECT = _BLANK + b","
_DONE = ("[done]", '"[done]"')
_KEPT_ALIVE = ("ping", "heartbeat", "keepalive", "keep-alive")
"""Events that only say that the server is still there."""

_element = json.JSONDecoder()


class Kind(Enum):
    VALUE = "value"
    FAILURE = "failure"
    """A value, or a text, that the server calls an error."""
    TEXT = "text"
    """What should be a value, and is none: because it is not whole, for example."""
    PAGE = "page"
    DONE = "done"
    """The server says that nothing follows."""
    CLOSED = "closed"
    """The body is whole by its form: a JSON value that ends, or lines that do."""


class Part(NamedTuple):
    kind: Kind
    value: Any = None


class _Reader(Protocol):
    @property
    def unfinished(self) -> int: ...

    def feed(self, piece: bytes) -> Iterator[Part]: ...

    def end(self) -> Iterator[Part]: ...


class BodyParser:
    """Any division of the body into pieces gives the same parts. Raises EventTooLarge for a value of more than `most`
    bytes. `charset` is what the headers say; UTF-8 goes first."""

    def __init__(self, most: int, charset: str | None = None) -> None:
        self._most = most
        self._charset = charset
        self._head = b""
        self._reader: _Reader | None = None

    @property
    def unfinished(self) -> int:
        """Bytes that are kept until there are enough of them."""
        return len(self._head) if self._reader is None else self._reader.unfinished

    @property
    def head(self) -> bytes:
        """The beginning of a body without anything readable, for a reason."""
        return self._head

    def feed(self, piece: bytes) -> Iterator[Part]:
        if self._reader is None:
            self._head += piece
            if len(self._head) > self._most:
                raise EventTooLarge
            self._reader = self._reader_of(self._head.lstrip(_BLANK))
            piece = self._head
        if self._reader is not None:
            yield from self._reader.feed(piece)

    def end(self) -> Iterator[Part]:
        reader = self._reader
        if reader is None:
            reader = self._reader_of(self._head.lstrip(_BLANK).ljust(4)) or self._reader_of_short()
            yield from reader.feed(self._head)
        yield from reader.end()

    def _reader_of(self, head: bytes) -> _Reader | None:
        """By the first bytes that are not blank; None if more are needed."""
        if len(head) < 4 or head.isspace():
            return None
        first = head[:1]
        if first in (b"<", b'"') or head[:2] in _UTF16 or 0 in head[:4]:
            return self._whole()
        if first == b"[":
            return _ArrayReader(self._most)
        return _ObjectReader(self._most, self._charset) if first == b"{" else EventReader(self._most)

    def _reader_of_short(self) -> _Reader:
        """Of a body that is blank, or a value without any line end."""
        return self._whole() if self._head.lstrip(_BLANK) else EventReader(self._most)

    def _whole(self) -> _Reader:
        return _WholeReader(self._most, self._charset)


class EventReader:
    """Server-sent events, or one JSON value a line."""

    def __init__(self, most: int, *, of_lines: bool = False) -> None:
        self._events = EventStream(most)
        self._of_lines = of_lines

    @property
    def unfinished(self) -> int:
        return self._events.size

    def feed(self, piece: bytes) -> Iterator[Part]:
        for event in self._events.feed(piece):
            yield from _parts_of(event)

    def end(self) -> Iterator[Part]:
        event = self._events.end()
        if event is not None:
            yield from _parts_of(event)
        if self._of_lines:
            yield Part(Kind.CLOSED)


class _WholeReader:
    """One value, or a page: nothing is known before its end."""

    def __init__(self, most: int, charset: str | None) -> None:
        self._most = most
        self._charset = charset
        self._body = bytearray()

    @property
    def unfinished(self) -> int:
        return len(self._body)

    def feed(self, piece: bytes) -> Iterator[Part]:
        self._body += piece
        if len(self._body) > self._most:
            raise EventTooLarge
        return iter(())

    def end(self) -> Iterator[Part]:
        yield from _parts_of_whole(decoded(bytes(self._body), self._charset).strip(_BLANK_TEXT))


class _ObjectReader:
    """JSON objects, each given as soon as it ends, since a connection may stay open after it: one, or one a line. What
    follows them and begins otherwise is read as lines of a stream."""

    def __init__(self, most: int, charset: str | None) -> None:
        self._most = most
        self._charset = charset
        self._body = bytearray()
        self._scanned = 0
        self._depth = 0
        self._in_string = False
        self._is_odd = False
        """What looked like an object is none, by its bytes: it is told what it is when the body ends."""
        self._lines: EventReader | None = None

    @property
    def unfinished(self) -> int:
        return len(self._body) if self._lines is None else self._lines.unfinished

    def feed(self, piece: bytes) -> Iterator[Part]:
        if self._lines is not None:
            yield from self._lines.feed(piece)
            return
        self._body += piece
        if len(self._body) > self._most:
            raise EventTooLarge
        while not self._is_odd:
            if self._depth == 0:
                self._body, self._scanned = self._body.lstrip(_BEFORE_OBJECT), 0
                if self._body and not self._body.startswith(b"{"):
                    self._lines = EventReader(self._most, of_lines=True)
                    yield from self._lines.feed(bytes(self._body))
                    return
            end = self._end_of_object()
            if end is None:
                return
            try:
                value = parse(decoded(bytes(self._body[:end]), self._charset))
            except EventTooLarge:
                raise
            except ValueError:
                self._is_odd = True
                return
            del self._body[:end]
            yield Part(Kind.VALUE, value)

    def end(self) -> Iterator[Part]:
        if self._lines is not None:
            yield from self._lines.end()
            return
        text = decoded(bytes(self._body), self._charset).strip(_BLANK_TEXT)
        yield from _parts_of_whole(text) if text else (Part(Kind.CLOSED),)

    def _end_of_object(self) -> int | None:
        """Where the object that the body begins with ends; every byte is looked at once."""
        while True:
            mark = (_IN_STRING if self._in_string else _OUTSIDE).search(self._body, self._scanned)
            if mark is None:
                self._scanned = len(self._body)
                return None
            if mark[0] == b"\\":  # what it escapes has not come yet
                self._scanned = mark.start()
                return None
            self._scanned = mark.end()
            if mark[0] == b'"':
                self._in_string = not self._in_string
            elif not self._in_string:
                self._depth += 1 if mark[0] == b"{" else -1
                if self._depth == 0:
                    return mark.end()


class _ArrayReader:
    """The elements of an array, each as soon as it is there."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")
        self._text = ""
        self._begun = False

    @property
    def unfinished(self) -> int:
        return len(self._text)

    def feed(self, piece: bytes) -> Iterator[Part]:
        self._text += self._decoder.decode(piece)
        if len(self._text) > self._most:
            raise EventTooLarge
        if not self._begun:
            self._text = self._text.lstrip(_BLANK_TEXT)
            if not self._text:
                return
            self._begun, self._text = True, self._text[1:]
        while b"}" in piece:
            self._text = self._text.lstrip(_BETWEEN)
            _check_items(self._text)
            try:
                element, end = _element.raw_decode(self._text)
            except (ValueError, RecursionError):
                return  # it may not be complete yet
            self._text = self._text[end:]
            yield Part(Kind.VALUE, element)

    def end(self) -> Iterator[Part]:
        rest = self._text.lstrip(_BETWEEN)
        try:
            elements = parse(f"[{rest}")
        except EventTooLarge:
            raise
        except ValueError:
            yield Part(Kind.TEXT, rest)
            return
        for element in elements:
            yield Part(Kind.VALUE, element)
        yield Part(Kind.CLOSED)


def _parts_of_whole(text: str) -> Iterator[Part]:
    """Of all that there is."""
    if is_page(text) or text.startswith("<"):
        yield Part(Kind.PAGE, text)
        return
    try:
        yield Part(Kind.VALUE, parse(text))
    except EventTooLarge:
        raise
    except ValueError:
        yield Part(Kind.TEXT, text)
    else:
        yield Part(Kind.CLOSED)


def parse(text: str) -> Any:
    """The JSON value in `text`. Raises ValueError. Half a surrogate pair, which servers cut apart, is a string, too."""
    _check_items(text)
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("too deeply nested") from error


def _check_items(text: str) -> None:
    if len(text) > _MOST_ITEMS and sum(text.count(mark) for mark in "[{,") > _MOST_ITEMS:
        raise EventTooLarge


def decoded(body: bytes, charset: str | None = None) -> str:
    """A body's text: UTF-8 where it is that, whatever the headers say."""
    named = (charset or "").lower()
    for encoding in (json.detect_encoding(body), *([named] if _CHARSET.fullmatch(named) else [])):
        try:
            return body.decode(encoding)
        except (LookupError, ValueError):
            continue
    return body.decode("utf-8-sig", "replace")


def _parts_of(event: Event) -> Iterator[Part]:
    data, kind = event.data.strip(), event.kind.lower()
    if data.lower() in _DONE:
        yield Part(Kind.DONE)
    elif data and kind not in _KEPT_ALIVE:
        try:
            value = parse(data)
        except EventTooLarge:
            raise
        except ValueError:
            failed = kind == "error" or is_page(data)
            yield Part(Kind.FAILURE if failed else Kind.TEXT, data)
        else:
            yield Part(Kind.FAILURE if kind == "error" else Kind.VALUE, value)
