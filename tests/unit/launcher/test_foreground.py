"""What all processes print, in one terminal or pipe."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from config.config import parse
from launcher.arguments import EXIT_FAILED
from launcher.foreground import Foreground


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device of Linux")
def test_a_full_disk_keeps_no_process_from_being_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        left: list[int] = []
        foreground = Foreground(parse('{"nodes": [{"id": 1}]}', tmp_path / "config.json", ()), False)
        monkeypatch.setattr(foreground, "_leave", left.append)
        with printing_to(os.open("/dev/full", os.O_WRONLY), monkeypatch):
            foreground._show("1", "this cannot be written")
        assert left == []
        reading, writing = os.pipe()
        os.close(reading)
        with printing_to(writing, monkeypatch):
            foreground._show("1", "nobody reads this")
        assert left == [EXIT_FAILED]

    asyncio.run(main())


@contextmanager
def printing_to(file: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with open(file, "w") as output, monkeypatch.context() as meanwhile:
        meanwhile.setattr(sys, "stdout", output)
        yield
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), file)  # so that it can be closed
