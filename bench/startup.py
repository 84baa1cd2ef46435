"""Startup times for users; and the speed of the simulator, for developers."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import time
from pathlib import Path

from bench.processes import ROOT, free_ports, python, resident_mb

TIMEOUT_S = 60.0


async def prompt(folder: Path) -> tuple[float, float]:
    """Seconds of `node.py` until it is ready for commands, and its memory in MB a moment later, when all is quiet."""
    config = _config(folder, [1])
    begun = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        python(), "node.py", "1", "--config", str(config), "--json", cwd=ROOT,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdout is not None
    try:
        await _until(process.stdout, b'"ready"')
        took = time.perf_counter() - begun
        await asyncio.sleep(0.5)
        return took, resident_mb(process.pid)
    finally:
        process.kill()
        await process.wait()


async def first_command(folder: Path) -> float:
    """Seconds from `./run.sh --no-tmux`, in an installed checkout, to the first accepted command."""
    config = _config(folder, [1, 2, 3, 4, 5])
    begun = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        "./run.sh", "--no-tmux", cwd=ROOT, env={**os.environ, "CONFIG": str(config)}, start_new_session=True,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        process.stdin.write(b"1: create first\n")
        await _until(process.stdout, b"first: created")
        return time.perf_counter() - begun
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        await process.communicate()


async def slowest_key() -> float:
    """Seconds: the slowest echo of keys typed at a node's prompt while answers of 20 KB arrive."""
    process = await asyncio.create_subprocess_exec(
        python(), "-m", "bench.slowest_key", cwd=ROOT, stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    return float(out)


async def simulator(runs: int) -> float | None:
    """Runs per minute on two cores; None if the simulator does not report it."""
    process = await asyncio.create_subprocess_exec(
        python(), "-m", "tests.simulation.swarm", "--runs", str(runs), "--jobs", "2", cwd=ROOT,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )
    out, _ = await process.communicate()
    found = re.search(rb": (\d+) a minute", out)
    return float(found[1]) if found else None


def _config(folder: Path, nodes: list[int]) -> Path:
    folder.mkdir(parents=True)
    config = folder / "config.json"
    config.write_text(json.dumps({
        "cluster": "bench", "orchestrator": {"port": free_ports(1)[0]}, "nodes": [{"id": node} for node in nodes],
        "llm": {"provider": "fake"},
    }))
    return config


async def _until(lines: asyncio.StreamReader, wanted: bytes) -> None:
    async with asyncio.timeout(TIMEOUT_S):
        async for line in lines:
            if wanted in line:
                return
    raise RuntimeError(f"{wanted!r} was never printed")
