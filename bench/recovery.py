"""Nodes that come back, having missed much or with a full store; and what a store weighs."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from bench.drive import Meter, operations
from bench.ours import NODES, SIZE, Ours
from bench.processes import resident_mb

IN_FLIGHT = 1024


async def catch_up(system: Ours, missed: int, baseline_s: float) -> dict[str, Any]:
    """A node is killed and misses `missed` operations; then it starts again, while load goes on."""
    leader = await system.leader()
    lost = next(node for node in NODES if node != leader)
    system.kill(lost)
    channels = await system.channels("leader", IN_FLIGHT)
    took = await operations(channels, IN_FLIGHT, missed)
    meter = Meter()
    for channel in channels:
        channel.start(meter, IN_FLIGHT // len(channels))
    await asyncio.sleep(baseline_s)
    target = int((await system.status(leader))["decided"])
    begun = time.perf_counter()
    system.start_node(lost)
    while int((await system.status(lost))["applied"]) < target:  # noqa: ASYNC110 - another process gives no event
        await asyncio.sleep(0.02)
    level = time.perf_counter()
    for channel in channels:
        await channel.drain()
    before = _rate(meter, begun - baseline_s * 0.8, begun)
    during = _rate(meter, begun, level)
    return {
        "missed": missed, "level_s": level - begun, "rate_before": before, "rate_during": during,
        "lost_share": 1 - during / before if before else 0.0, "fill_rate": missed / took,
    }


def _rate(meter: Meter, begin: float, end: float) -> float:
    return sum(many for at, many in meter.acknowledged if begin <= at < end) / (end - begin)


async def restart(system: Ours) -> dict[str, Any]:
    """A node is killed and started again; nothing else happens."""
    leader = await system.leader()
    node = next(node for node in NODES if node != leader)
    applied = (await system.status(node))["applied"]
    system.kill(node)
    begun = time.perf_counter()
    system.start_node(node)
    door = await system.door(node)
    result = (await door.ask("view b1-1"))[0]
    took = time.perf_counter() - begun
    return {"operations": applied, "view_s": took, "ok": bool(result["ok"]), "stale": bool(result.get("stale"))}


async def weight(system: Ours) -> dict[str, Any]:
    """Memory and disk of one node, against the text that its store holds: a question in every second operation."""
    node = (await system.leader()) % len(NODES) + 1
    applied = int((await system.status(node))["applied"])
    files = [path for path in (system.folder / "data").glob(f"node-{node}.db*") if path.suffix != ".lock"]
    return {
        "operations": applied, "text_mb": applied * SIZE / 1e6,
        "disk_mb": sum(path.stat().st_size for path in files) / 1e6,
        "memory_mb": resident_mb(system.processes.running[f"node-{node}"].pid),
    }


async def growth(system: Ours, marks: list[int], conversations: int, seconds: float) -> list[dict[str, Any]]:
    """Cost and weight at so many operations."""
    channels = await system.channels("leader", IN_FLIGHT, conversations)
    found: list[dict[str, Any]] = []
    for mark in marks:
        missing = mark - int((await system.status(1))["applied"])
        if missing > 0:
            await operations(channels, IN_FLIGHT, missing)
        before, begun, start = system.processes.cpu(), time.perf_counter(), int((await system.status(1))["applied"])
        meter = Meter()
        for channel in channels:
            channel.start(meter, IN_FLIGHT // len(channels))
        await asyncio.sleep(seconds)
        for channel in channels:
            await channel.drain()
        took, after = time.perf_counter() - begun, system.processes.cpu()
        done = int((await system.status(1))["applied"]) - start
        cpu = sum(after.values()) - sum(before.values())
        found.append({
            **await weight(system), "conversations": conversations, "rate": done / took,
            "us_per_operation": cpu / done * 1e6 if done else 0.0,
        })
    return found
