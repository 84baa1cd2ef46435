"""The machine of the measurements, and how stable it was."""

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

from bench import results


def describe(folder: Path, etcd: str | None) -> results.Machine:
    """`folder` lies on the disk that is measured; `etcd` is its version, if it is installed."""
    model = next(
        (line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
         if line.startswith("model name")), platform.machine(),
    )
    return results.Machine(
        cpu=model, cores=len(os.sched_getaffinity(0)), system=platform.platform(), python=platform.python_version(),
        sqlite=sqlite3.sqlite_version, uvloop=_version("uvloop"), msgspec=_version("msgspec"),
        pysyncobj=_version("pysyncobj"), fdatasync_ms=fdatasync_ms(folder), etcd=etcd,
    )


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
    """How steady the machine was: the time stolen from it, and the speed of a fixed piece of work, again and again."""

    def __init__(self) -> None:
        self.speeds: list[float] = []
        self._begun = time.monotonic()
        self._stolen_s = _stolen_s()

    def look(self, seconds: float = 0.05) -> None:
        turns, until = 0, time.perf_counter() + seconds
        while time.perf_counter() < until:
            for _ in range(1000):
                pass
            turns += 1000
        self.speeds.append(turns / seconds)

    def summary(self) -> results.Noise:
        took = time.monotonic() - self._begun
        return results.Noise(
            spread=1 - min(self.speeds) / max(self.speeds), looks=len(self.speeds), load_average=os.getloadavg()[0],
            steal_share=(_stolen_s() - self._stolen_s) / took,
        )


def _stolen_s() -> float:
    """CPU seconds that other machines took from this one (steal)."""
    fields: Sequence[str] = Path("/proc/stat").read_text().splitlines()[0].split()
    return int(fields[8]) / os.sysconf("SC_CLK_TCK") if len(fields) > 8 else 0.0
