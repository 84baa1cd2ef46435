"""How long nobody is answered when the leader dies or falls silent."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from bench.drive import Meter, longest_gap, timeline
from bench.etcd import Etcd
from bench.ours import Ours
from bench.pysyncobj import PySyncObj

IN_FLIGHT = 64
BEFORE_S = 0.5
BIN_S = 0.01

Outage = dict[str, Any]
"""`gap_s`, and a `timeline` of (seconds since the fault, operations a second)."""


async def outage(system: Ours | Etcd, fault: str, after: float) -> Outage:
    """Strikes the leader while a client at another node keeps IN_FLIGHT operations under way."""
    channels = await system.channels("follower", IN_FLIGHT)
    leader = await system.leader()
    meter = Meter()
    for channel in channels:
        channel.start(meter, IN_FLIGHT // len(channels))
    await asyncio.sleep(BEFORE_S)
    struck = time.perf_counter()
    if fault == "kill":
        system.kill(leader)
    else:
        assert isinstance(system, Ours)
        system.operate(f"isolate {leader}")
    await _recovered(meter, struck, after)
    until = time.perf_counter()
    for channel in channels:
        await channel.drain()
    if fault == "kill":
        system.start_node(leader)
    else:
        assert isinstance(system, Ours)
        system.operate("heal")
    await system.settled()
    return _outage(meter.acknowledged, struck, until, after)


async def _recovered(meter: Meter, struck: float, after: float) -> None:
    """At least `after` seconds, and until somebody was answered again for a while, within bounds."""
    while (now := time.perf_counter()) < struck + 15:
        await asyncio.sleep(0.05)
        late = [at for at, _ in meter.acknowledged[-50:] if at > struck + after / 2]
        if now > struck + after and late and late[0] < now - 0.2:
            return


async def outage_of_pysyncobj(system: PySyncObj, after: float) -> Outage:
    """The same; the load runs in another process of PySyncObj for a fixed time."""
    leader = await system.leader()
    follower = next(node for node in system.up() if node != leader)
    what = {"do": "load", "in_flight": IN_FLIGHT, "seconds": BEFORE_S + after, "warm_up": 0.0, "acks": True}
    running = asyncio.ensure_future(system.order(follower, what))
    await asyncio.sleep(BEFORE_S)
    struck = time.monotonic()
    system.kill(leader)
    answer = await running
    system.start_node(leader)
    await system.settled()
    return _outage([(at, many) for at, many in answer["acks"]], struck, struck + after, after)


def _outage(acknowledged: list[tuple[float, int]], struck: float, until: float, after: float) -> Outage:
    return {
        "gap_s": longest_gap(acknowledged, struck, until),
        "timeline": timeline(acknowledged, struck, -BEFORE_S / 2, after, BIN_S),
    }
