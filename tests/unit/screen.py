"""A pseudo-terminal with a program behind it: what a user types and sees."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

HOUSE = Path(__file__).resolve().parents[2]
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
            command, stdin=follower, stdout=follower, stderr=subprocess.PIPE, cwd=HOUSE,
            env={**os.environ, "TERM": "xterm", **(environment or {})},
        )
        self.raw = ""
        self.everything = ""
        """All that the program ever wrote."""

    def type(self, text: str) -> None:
        os.write(self.leader, text.encode())

    def until(self, pattern: str, seconds: float = 10) -> str:
        """Reads until `pattern` was shown; takes what was read up to its end away, and returns it."""
        deadline = time.monotonic() + seconds
        while not (found := re.search(pattern, self.shown)):
            left = deadline - time.monotonic()
            assert left > 0, f"no {pattern!r} in {self.shown[-2000:]!r}"
            if select.select([self.leader], [], [], left)[0]:
                self._show(os.read(self.leader, 65536).decode(errors="replace"))
        seen, self.raw = self.shown[: found.end()], self.shown[found.end() :]
        return seen

    def _show(self, text: str) -> None:
        self.raw += text
        self.everything += text
        if "\x1b[6n" in text:
            self.type("\x1b[5;1R")  # as terminals do when they are asked where the cursor is

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
