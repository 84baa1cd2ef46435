"""The functions that use the CPU time of a running cluster: python -m bench.profile [WHERE IN_FLIGHT SECONDS].

WHERE is leader, follower or spread. Needs py-spy, as .venv-bench has it. A sample belongs to the innermost function of
a package that was running: what a package calls in libraries counts as its own. What runs outside of any package (the
event loop, system calls made by it) is "event loop".
"""

from __future__ import annotations

import asyncio
import re
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

import uvloop

from bench.drive import load, places, running
from bench.ours import Ours
from bench.processes import ROOT, cpu_seconds

PROGRAMS = ("node.py", "network_server.py")
PACKAGES = tuple(path.parent.name for path in ROOT.glob("*/__init__.py") if path.parent.name not in ("bench", "tests"))
LOOP = "event loop"
WAITING = ("PipeInput._read (", "Outbox._gather (", "Condition.wait (")
"""Threads in these functions are waiting, even if they look busy."""
FUNCTIONS = 30
_FRAME = re.compile(r"(?P<name>[^;]*?) \((?P<file>[^;()]*?)(?::\d+)?\)$")


def profiler() -> str:
    """The path of py-spy."""
    beside = Path(sys.executable).with_name("py-spy")
    found = str(beside) if beside.exists() else shutil.which("py-spy")
    if found is None:
        raise SystemExit("py-spy is not installed: run this with .venv-bench/bin/python")
    return found


async def record(program: str, pid: int, seconds: float, out: Path) -> None:
    """Writes stacks and how often each was seen."""
    process = await asyncio.create_subprocess_exec(
        program, "record", "--pid", str(pid), "--duration", str(max(1, round(seconds))), "--rate", "400",
        "--full-filenames", "--format", "raw", "--output", str(out),
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )
    await process.wait()


def attribute(raw: str) -> Counter[tuple[str, str]]:
    """Samples by (file, function)."""
    found: Counter[tuple[str, str]] = Counter()
    for line in raw.splitlines():
        stack, _, count = line.rpartition(" ")
        if not stack.rpartition(";")[2].startswith(WAITING):
            found[innermost(stack)] += int(count)
    return found


def innermost(stack: str) -> tuple[str, str]:
    """(file, function) of the innermost frame that belongs to a package."""
    for frame in reversed(stack.split(";")):
        match = _FRAME.match(frame)
        if match and match["name"] not in ("main", "<module>"):
            path = Path(match["file"])
            place = str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)
            if place.split("/")[0] in (*PACKAGES, *PROGRAMS):
                return place, match["name"]
    return LOOP, ""


def show(who: str, cost: float, functions: Counter[tuple[str, str]]) -> None:
    """`cost` is what `functions` took together, in microseconds an operation."""
    total = functions.total() or 1
    packages: Counter[str] = Counter()
    for (place, _), count in functions.items():
        packages[place.split("/")[0]] += count
    print(f"\n{who}: {cost:.1f} us CPU an operation")
    for package, count in packages.most_common():
        print(f"  {count / total:6.1%} {count / total * cost:8.1f} us  {package}")
    del functions[LOOP, ""]
    for (place, name), count in functions.most_common(FUNCTIONS):
        print(f"  {count / total:6.1%} {count / total * cost:8.1f} us    {place} {name}")


async def main(where: str = "leader", in_flight: str = "1024", seconds: str = "5") -> None:
    program = profiler()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        async with running(Ours(Path(folder) / "cluster")) as system:
            channels = await system.channels(where, int(in_flight))
            leader = await system.leader()
            follower = places("follower", leader, system.processes.nodes())[0]
            names = {"leader": f"node-{leader}", "a follower": f"node-{follower}", "relay": "network"}
            pids = {who: system.processes.running[name].pid for who, name in names.items()}
            recording = asyncio.gather(*(
                record(program, pid, float(seconds), Path(folder) / f"{pid}.raw") for pid in pids.values()
            ))
            sample = await load(
                channels, int(in_flight), float(seconds), lambda: {who: cpu_seconds(pid) for who, pid in pids.items()},
            )
            await recording
        print(f"{where}, {in_flight} in flight: {sample.rate:,.0f} operations/s; p50 {sample.p50_ms:.2f} ms, "
              f"p99 {sample.p99_ms:.2f} ms; the profiler takes its share")
        for who, pid in pids.items():
            functions = attribute((Path(folder) / f"{pid}.raw").read_text())
            show(who, sample.us_per_operation.get(who, 0.0), functions)


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
