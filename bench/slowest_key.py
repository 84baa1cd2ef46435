"""Prints how many seconds the slowest of the keys took to appear which were typed at a node's prompt among answers.

A program of its own: the terminal that it makes needs a process without threads.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.unit.console.test_flood import waits

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        print(max(waits(Path(folder) / "typed")))
