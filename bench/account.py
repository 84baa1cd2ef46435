"""Where the microseconds go: samples of py-spy, attributed to the rooms of the house.

A sample belongs to the innermost function of a room that was running: what a room calls in libraries counts as its own.
What runs outside of any room (the event loop, system calls made by it) is "event loop".
"""

from __future__ import annotations

import asyncio
import re
import shutil
import sys
from collections import Counter
from pathlib import Path

ROOMS = ("paxos", "net", "storage", "kvstore", "llm", "console", "runtime")
LOOP = "event loop"
WAITING = ("PipeInput._read (", "Outbox._gather (", "Condition.wait (")
"""Threads in these wait, whatever it looks like from outside."""
_FRAME = re.compile(r"(?P<name>[^;]*?) \((?P<file>[^;()]*?)(?::\d+)?\)$")


def available() -> str | None:
    """The profiler, if it is installed."""
    beside = Path(sys.executable).with_name("py-spy")
    return str(beside) if beside.exists() else shutil.which("py-spy")


async def record(pid: int, seconds: float, out: Path) -> None:
    spy = available()
    assert spy is not None
    process = await asyncio.create_subprocess_exec(
        spy, "record", "--pid", str(pid), "--duration", str(max(1, round(seconds))), "--rate", "400",
        "--full-filenames", "--format", "raw", "--output", str(out),
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )
    await process.wait()


def rooms(raw: str, root: Path) -> tuple[Counter[str], Counter[tuple[str, str]]]:
    """Samples by room, and by (file, function) within rooms."""
    by_room: Counter[str] = Counter()
    by_function: Counter[tuple[str, str]] = Counter()
    for line in raw.splitlines():
        stack, _, count = line.rpartition(" ")
        if stack.rpartition(";")[2].startswith(WAITING):
            continue
        for frame in reversed(stack.split(";")):
            match = _FRAME.match(frame)
            place = _place(match["file"], root) if match else None
            if match and place is not None and match["name"] not in ("main", "<module>"):
                by_room[place.split("/")[0]] += int(count)
                by_function[place, match["name"]] += int(count)
                break
        else:
            by_room[LOOP] += int(count)
    return by_room, by_function


def _place(file: str, root: Path) -> str | None:
    path = Path(file)
    if path.is_relative_to(root):
        path = path.relative_to(root)
    place = str(path)
    return place if place.split("/")[0] in ROOMS or place in ("node.py", "network_server.py") else None


def shares(by_room: Counter[str]) -> dict[str, float]:
    total = sum(by_room.values()) or 1
    return {room: count / total for room, count in by_room.most_common()}
