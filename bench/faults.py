"""Unavailability after the leader dies or is cut off."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from bench.drive import Meter, begin, drain, longest_gap, timeline
from bench.etcd import Etcd
from bench.ours import Ours
from bench.pysyncobj import PySyncObj
from bench.results import OutageSample

IN_FLIGHT = 64
BEFORE_S = 0.5
BIN_S = 0.01


async def outage(
    system: Ours | Etcd, fail: Callable[[int], None], repair: Callable[[int], None], after: float
) -> OutageSample:
    """Fails the leader while a client of another node keeps IN_FLIGHT operations in flight."""
    channels = await system.channels("follower", IN_FLIGHT)
    leader = await system.leader()
    meter = begin(channels, IN_FLIGHT)
    await asyncio.sleep(BEFORE_S)
    failed = time.perf_counter()
    fail(leader)
    await _recovered(meter, failed, after)
    until = time.perf_counter()
    await drain(channels)
    repair(leader)
    await system.settled()
    return _sample(meter.acknowledged, failed, until, after)


async def _recovered(meter: Meter, failed: float, after: float) -> None:
    """Waits at least `after` seconds, and until answers have resumed for a while, within limits."""
    while (now := time.perf_counter()) < failed + 15:
        await asyncio.sleep(0.05)
        late = [at for at, _ in meter.acknowledged[-50:] if at > failed + after / 2]
        if now > failed + after and late and late[0] < now - 0.2:
            return


async def outage_of_pysyncobj(system: PySyncObj, after: float) -> OutageSample:
    """The same; the load runs in another process of PySyncObj for a fixed time."""
    leader = await system.leader()
    follower = next(node for node in system.processes.nodes() if node != leader)
    what = {"do": "load", "in_flight": IN_FLIGHT, "seconds": BEFORE_S + after, "warm_up": 0.0, "acks": True}
    running = asyncio.ensure_future(system.order(follower, what))
    await asyncio.sleep(BEFORE_S)
    failed = time.monotonic()
    system.kill(leader)
    answer = await running
    system.start_node(leader)
    await system.settled()
    return _sample([(at, many) for at, many in answer["acks"]], failed, failed + after, after)


def _sample(acknowledged: list[tuple[float, int]], failed: float, until: float, after: float) -> OutageSample:
    return OutageSample(
        longest_gap(acknowledged, failed, until), timeline(acknowledged, failed, -BEFORE_S / 2, after, BIN_S)
    )
