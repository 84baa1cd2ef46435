"""Lines from a pipe, a file or a terminal, without ever blocking the event loop."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator

import msgspec

MAX_LINE = 1024 * 1024
"""Bytes. Longer lines are answered with an error."""
_CHUNK = 64 * 1024
_HEAD = 256


class Line(msgspec.Struct, frozen=True, gc=False):
    """One line of input. `number` counts from 1. With an `error`, `text` is only the start of the line."""

    number: int
    text: str
    error: str | None = None


class LineSplitter:
    """Cuts a stream of bytes into lines. Holds at most one line of MAX_LINE bytes."""

    def __init__(self) -> None:
        self._number = 0
        self._partial = bytearray()
        self._too_long = False

    def feed(self, data: bytes) -> Iterator[Line]:
        """The lines that `data` completes."""
        *whole, rest = data.split(b"\n")
        for piece in whole:
            self._append(piece)
            yield self._complete()
        self._append(rest)

    def finish(self) -> Iterator[Line]:
        """The last line, if it did not end with a line feed."""
        if self._partial:
            yield self._complete()

    def _append(self, piece: bytes) -> None:
        if self._too_long:
            return
        self._partial += piece
        if len(self._partial) > MAX_LINE:
            self._too_long = True
            del self._partial[_HEAD:]

    def _complete(self) -> Line:
        content, too_long = bytes(self._partial), self._too_long
        self._partial.clear()
        self._too_long = False
        self._number += 1
        if too_long:
            error = f"the line is too long: at most {MAX_LINE} bytes are allowed"
            return Line(self._number, content.decode(errors="replace"), error)
        try:
            text = content.decode()
        except UnicodeDecodeError as invalid:
            error = f"the line is not valid UTF-8 (byte {invalid.start + 1})"
            return Line(self._number, content[:_HEAD].decode(errors="replace"), error)
        return Line(self._number, text.removeprefix("\ufeff") if self._number == 1 else text)


def typed_line(number: int, text: str) -> Line:
    """A line from a terminal, subject to the same rules."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        return Line(number, text[:_HEAD].encode(errors="replace").decode(), "the line is not valid UTF-8")
    if size > MAX_LINE:
        return Line(number, text[:_HEAD], f"the line is too long: at most {MAX_LINE} bytes are allowed")
    return Line(number, text)


def pasted(text: str, is_question: Callable[[str], bool], is_command: Callable[[str], bool]) -> list[str]:
    """What was pasted at once, as the lines that it means: several commands, or one question of several lines. What
    begins as a question is one; among commands, a line that is no command goes on with the question before."""
    lines = text.split("\n")
    if len(lines) == 1 or is_question(lines[0]):
        return [text]
    meant: list[str] = []
    for line in lines:
        if meant and is_question(meant[-1].split("\n")[0]) and not is_command(line):
            meant[-1] += f"\n{line}"
        elif line.strip():
            meant.append(line)
    return [line.rstrip("\n") for line in meant] or [text]


class PipeInput:
    """Lines from a file descriptor: a pipe, a file, /dev/null or a terminal.

    A thread reads, one chunk ahead at most. The descriptor is not made non-blocking: other processes may share it,
    and regular files cannot be waited for.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._loop = asyncio.get_running_loop()
        self._chunks: asyncio.Queue[bytes] = asyncio.Queue()
        self._wanted = threading.Semaphore(1)
        self._closed = False
        threading.Thread(target=self._read, name="console-input", daemon=True).start()

    async def lines(self) -> AsyncIterator[Line]:
        """All lines up to the end of input, or until `stop`."""
        splitter = LineSplitter()
        while chunk := await self._chunks.get():
            for line in splitter.feed(chunk):
                yield line
            self._wanted.release()
        for line in splitter.finish():
            yield line

    def stop(self) -> None:
        """Stops reading; a pending read ends with the process."""
        self._closed = True
        self._wanted.release()

    async def close(self) -> None:
        self.stop()

    def _read(self) -> None:
        """The thread. An empty chunk is the end of input."""
        while True:
            self._wanted.acquire()
            if self._closed:
                return
            try:
                chunk = os.read(self._descriptor, _CHUNK)
            except OSError:  # closed, or its terminal is gone: there will be no more input
                chunk = b""
            try:
                self._loop.call_soon_threadsafe(self._chunks.put_nowait, chunk)
            except RuntimeError:  # the event loop has ended
                return
            if not chunk:
                return
