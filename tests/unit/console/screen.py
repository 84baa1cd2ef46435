"""A pseudo-terminal with a program behind it: what a user types and sees."""

from __future__ import annotations

import codecs
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pyte
from pyte.screens import Char
from wcwidth import wcwidth

ROOT = Path(__file__).resolve().parents[3]
ENTER = "\r"
CTRL_C, CTRL_D, UP, TAB = "\x03", "\x04", "\x1b[A", "\t"


class Screen:
    """What a user does and sees."""

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str] | None = None, size: tuple[int, int] = (30, 70)
    ) -> None:
        self.leader, follower = pty.openpty()
        fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
        self.before = termios.tcgetattr(follower)
        self.follower = follower
        self.process = subprocess.Popen(
            command, stdin=follower, stdout=follower, stderr=subprocess.PIPE, cwd=ROOT,
            env={**os.environ, "TERM": "xterm", **(environment or {})},
        )
        self.raw = ""
        self.everything = ""
        """All that the program ever wrote."""
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode

    def type(self, text: str) -> None:
        os.write(self.leader, text.encode())

    def until(self, pattern: str, seconds: float = 60) -> str:
        """Reads until `pattern` is shown; consumes the output up to its end, and returns it."""
        deadline = time.monotonic() + seconds
        while not (found := re.search(pattern, self.shown)):
            left = deadline - time.monotonic()
            assert left > 0, f"no {pattern!r} in {self.shown[-2000:]!r}"
            self._read(left)
        seen, self.raw = self.shown[: found.end()], self.shown[found.end() :]
        return seen

    def during(self, seconds: float) -> str:
        """Reads for this long; consumes the output, and returns it."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self._read(left)
        seen, self.raw = self.shown, ""
        return seen

    def _read(self, seconds: float) -> None:
        """What comes within this time, if anything does."""
        if select.select([self.leader], [], [], max(seconds, 0))[0]:
            self._show(self._decode(os.read(self.leader, 65536)))

    def _show(self, text: str) -> None:
        self.raw += text
        self.everything += text
        if "\x1b[6n" in text:
            self._tell_cursor()

    def _tell_cursor(self) -> None:
        """Answers a query of the cursor position, as terminals do."""
        self.type("\x1b[5;1R")

    @property
    def shown(self) -> str:
        """Without colours and movements of the cursor, but for those to the right."""
        moved = re.sub(r"\x1b\[(\d*)C", lambda right: " " * int(right[1] or 1), self.raw)
        return re.sub(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b[=>]|\r", "", moved)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stderr
        self.process.stderr.close()
        os.close(self.leader)
        os.close(self.follower)


class _Terminal(pyte.HistoryScreen):
    """pyte stops at the first zero-width character that is not a mark, such as an emoji joiner."""

    def draw(self, data: str) -> None:
        super().draw("".join(each for each in data if wcwidth(each) or unicodedata.combining(each)))


class Painted(Screen):
    """The screen with colours and a cursor: a terminal emulator that interprets the program's output."""

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str] | None = None, size: tuple[int, int] = (40, 120)
    ) -> None:
        """`size` is rows and columns."""
        self.terminal = _Terminal(size[1], size[0], history=10_000, ratio=0.5)
        self._stream = pyte.Stream(self.terminal)
        super().__init__(command, environment, size)

    def _show(self, text: str) -> None:
        self.raw += text
        self.everything += text
        before, *questions = text.split("\x1b[6n")
        self._stream.feed(before)
        for rest in questions:
            self._tell_cursor()
            self._stream.feed(rest)

    def _tell_cursor(self) -> None:
        row, column = self.cursor
        self.type(f"\x1b[{row + 1};{column + 1}R")

    @property
    def cursor(self) -> tuple[int, int]:
        """Row and column, from 0."""
        return self.terminal.cursor.y, self.terminal.cursor.x

    @property
    def rows(self) -> list[str]:
        """The rows of the window."""
        return [self._text(self.terminal.buffer[row]) for row in range(self.terminal.lines)]

    @property
    def scrolled(self) -> list[str]:
        """The rows that have left the window at its top, and those of the window."""
        return [*map(self._text, self.terminal.history.top), *self.rows]

    def cells(self, text: str) -> list[Char]:
        """Those of the last row that begins with `text`, scrolled away or not."""
        lines = [*self.terminal.history.top, *(self.terminal.buffer[row] for row in range(self.terminal.lines))]
        line = next(line for line in reversed(lines) if self._text(line).startswith(text))
        return [line[column] for column in range(self.terminal.columns)]

    def see(self, condition: Callable[[], object], seconds: float = 10) -> None:
        """Reads until the screen is as it should be."""
        deadline = time.monotonic() + seconds
        while not condition():
            left = deadline - time.monotonic()
            assert left > 0, "not seen; the screen:\n" + "\n".join(self.rows)
            self._read(left)

    def resize(self, rows: int, columns: int) -> None:
        """As when the user drags the window's corner."""
        fcntl.ioctl(self.follower, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.terminal.resize(rows, columns)
        self.process.send_signal(signal.SIGWINCH)

    def _text(self, line: Mapping[int, Char]) -> str:
        """A wide character fills two cells, of which the second one holds nothing."""
        return "".join(line[column].data for column in range(self.terminal.columns)).rstrip()
