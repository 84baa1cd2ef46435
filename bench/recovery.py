"""Recovery of nodes that have missed much, or have a full store; and the size of a store."""

from __future__ import annotations

import asyncio
import time

import msgspec

from bench.drive import Meter, begin, drain, operations, places
from bench.ours import NODES, SIZE, Ours
from bench.processes import resident_mb
from bench.results import CatchUp, Growth, Restart, Weight

IN_FLIGHT = 1024


async def catch_up(system: Ours, missed: int, baseline_s: float) -> CatchUp:
    """A node is killed and misses `missed` operations; then it restarts under load."""
    leader = await system.leader()
    lost = places("follower", leader, NODES)[0]
    system.kill(lost)
    channels = await system.channels("leader", IN_FLIGHT)
    await operations(channels, IN_FLIGHT, missed)
    meter = begin(channels, IN_FLIGHT)
    await asyncio.sleep(baseline_s)
    target = int((await system.status(leader))["decided"])
    started = time.perf_counter()
    system.start_node(lost)
    while int((await system.status(lost))["applied"]) < target:  # noqa: ASYNC110 - another process gives no event
        await asyncio.sleep(0.02)
    level = time.perf_counter()
    await drain(channels)
    return CatchUp(
        missed=missed, level_s=level - started,
        rate_before=_rate(meter, started - baseline_s * 0.8, started), rate_during=_rate(meter, started, level),
    )


def _rate(meter: Meter, begin: float, end: float) -> float:
    return sum(many for at, many in meter.acknowledged if begin <= at < end) / (end - begin)


async def restart(system: Ours) -> Restart:
    """A node that missed nothing is killed and restarted without load."""
    leader = await system.leader()
    node = next(node for node in reversed(NODES) if node != leader)  # the first one has just caught up
    applied = int((await system.status(node))["applied"])
    system.kill(node)
    begun = time.perf_counter()
    system.start_node(node)
    result = (await (await system.client(node)).ask("view b1-1"))[0]
    if not result["ok"]:
        raise RuntimeError(f"after a restart: {result['error']}")
    return Restart(operations=applied, view_s=time.perf_counter() - begun, node=node)


async def weight(system: Ours, node: int) -> Weight:
    """Of this node, whose store holds a question for every second operation."""
    applied = int((await system.status(node))["applied"])
    files = [path for path in (system.folder / "data").glob(f"node-{node}.db*") if path.suffix != ".lock"]
    return Weight(
        operations=applied, text_mb=applied * SIZE / 1e6, disk_mb=sum(path.stat().st_size for path in files) / 1e6,
        memory_mb=resident_mb(system.processes.running[f"node-{node}"].pid),
    )


async def growth(system: Ours, marks: list[int], conversations: int, seconds: float) -> list[Growth]:
    """Cost and size after this many operations."""
    channels = await system.channels("leader", IN_FLIGHT, conversations)
    found: list[Growth] = []
    for mark in marks:
        missing = mark - int((await system.status(1))["applied"])
        if missing > 0:
            await operations(channels, IN_FLIGHT, missing)
        cpu, begun, start = system.processes.cpu(), time.perf_counter(), int((await system.status(1))["applied"])
        begin(channels, IN_FLIGHT)
        await asyncio.sleep(seconds)
        await drain(channels)
        took, used = time.perf_counter() - begun, sum(system.processes.cpu().values()) - sum(cpu.values())
        done = int((await system.status(1))["applied"]) - start
        held = await weight(system, places("follower", await system.leader(), NODES)[0])
        found.append(Growth(**msgspec.structs.asdict(held), rate=done / took, us_per_operation=used / done * 1e6))
    return found
