"""Server-sent events out of bytes as they come, by the rules of WHATWG's HTML standard, with a bound."""

from __future__ import annotations

import re
from typing import NamedTuple

_LINE_END = re.compile(rb"\r\n|\r|\n")
_BOM = b"\xef\xbb\xbf"


class EventTooLarge(ValueError):
    """An event exceeds the bound."""


class Event(NamedTuple):
    kind: str
    """Empty unless the stream names one."""
    data: str


class EventStream:
    """Any division of the stream into pieces gives the same events. An event has at most `max_event` bytes."""

    def __init__(self, max_event: int) -> None:
        self._max_event = max_event
        self._line = bytearray()
        """The line that is not complete yet."""
        self._after_cr = False
        """A line feed now would be the second half of a line end."""
        self._first_line = True
        self._kind = ""
        self._data: list[str] = []
        self.size = 0
        """Bytes of the event so far, its incomplete line included."""

    def feed(self, piece: bytes) -> list[Event]:
        """The events that this piece completes. Raises EventTooLarge."""
        if self._after_cr and piece.startswith(b"\n"):
            piece, self._after_cr = piece[1:], False
        if not piece:
            return []
        self._after_cr = piece.endswith(b"\r")
        events: list[Event] = []
        *complete, rest = _LINE_END.split(piece)
        for line in complete:
            self._take(line)
            whole, self._line = bytes(self._line), bytearray()
            event = self._end_of_line(whole)
            if event is not None:
                events.append(event)
        self._take(rest)
        return events

    def end(self) -> Event | None:
        """The event that the end of the stream leaves without its blank line, if any. The standard discards it; some
        servers just end so, and the caller can tell whether its data is whole."""
        line, self._line = bytes(self._line), bytearray()
        return (self._end_of_line(line) if line else None) or self._end_of_line(b"")

    def _take(self, part: bytes) -> None:
        self.size += len(part)
        if self.size > self._max_event:
            raise EventTooLarge
        self._line += part

    def _end_of_line(self, line: bytes) -> Event | None:
        if self._first_line:
            line, self._first_line = line.removeprefix(_BOM), False
        if not line:
            event = Event(self._kind, "\n".join(self._data)) if self._data else None
            self._kind, self._data, self.size = "", [], 0
            return event
        if line[:1] in (b"{", b"["):  # not in the standard: a JSON value without a field's name
            self.size -= len(line)
            return Event(self._kind, line.decode(errors="replace"))
        name, _, value = line.partition(b":")
        text = value.removeprefix(b" ").decode(errors="replace")  # UTF-8 whatever the headers say: so the standard
        if name == b"data":
            self._data.append(text)
        elif name == b"event":
            self._kind = text
        elif name == b"error":  # not in the standard: llama.cpp's way to say that it failed
            self._kind = "error"
            self._data.append(text)
        else:
            self.size -= len(line)  # a comment, or a field without meaning here: nothing of it is kept
        return None
