"""What the figures were measured on, and how steady it was."""

from __future__ import annotations

import os
import platform
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any


def describe(folder: Path) -> dict[str, Any]:
    model = next(
        (line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
         if line.startswith("model name")), platform.machine(),
    )
    return {
        "cpu": model, "cores": len(os.sched_getaffinity(0)), "system": platform.platform(),
        "python": platform.python_version(), "sqlite": sqlite3.sqlite_version,
        **{name: _version(name) for name in ("uvloop", "msgspec", "pysyncobj")},
        "fdatasync_ms": fdatasync_ms(folder),
    }


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def fdatasync_ms(folder: Path, count: int = 200) -> float:
    """Median time of appending a page to a file and syncing it."""
    times: list[float] = []
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        for _ in range(count):
            begun = time.perf_counter()
            os.write(file.fileno(), bytes(4096))
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - begun)
    return statistics.median(times) * 1e3


class Noise:
    """How much else the machine did: time that others took, and how fast a fixed piece of work was, again and again."""

    def __init__(self) -> None:
        self.speeds: list[float] = []
        self._begun = time.monotonic()
        self._others = _elsewhere()

    def look(self, seconds: float = 0.05) -> None:
        turns, until = 0, time.perf_counter() + seconds
        while time.perf_counter() < until:
            for _ in range(1000):
                pass
            turns += 1000
        self.speeds.append(turns / seconds)

    def summary(self) -> dict[str, float]:
        """`spread` is how far the slowest look lies below the fastest; `load` is the machine's at the end."""
        took = time.monotonic() - self._begun
        return {
            "spread": 1 - min(self.speeds) / max(self.speeds), "looks": len(self.speeds),
            "load_average": os.getloadavg()[0], "steal_share": (_elsewhere() - self._others) / took,
            "seconds": took,
        }


def _elsewhere() -> float:
    """CPU seconds that other machines took from this one (steal)."""
    fields: Sequence[str] = Path("/proc/stat").read_text().splitlines()[0].split()
    return int(fields[8]) / os.sysconf("SC_CLK_TCK") if len(fields) > 8 else 0.0
