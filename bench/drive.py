"""The same closed-loop load for every system: a fixed number in flight, a new operation for each acknowledged one."""

from __future__ import annotations

import asyncio
import contextlib
import time
from array import array
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from itertools import pairwise
from typing import Protocol, TypeVar

from bench.processes import Processes
from bench.results import LoadSample

WARM_UP_S = 0.3
DRAIN_S = 20.0


class Startable(Protocol):
    async def start(self) -> None: ...
    async def stop(self) -> None: ...


class System(Startable, Protocol):
    """What is measured."""

    name: str
    processes: Processes

    async def channels(self, where: str, in_flight: int) -> Sequence[Channel]:
        """For a number of operations in flight; `where` as for `places`."""


S = TypeVar("S", bound=Startable)


@contextlib.asynccontextmanager
async def running(system: S) -> AsyncIterator[S]:
    try:
        await system.start()
        yield system
    finally:
        await system.stop()


class Meter:
    """Counts acknowledgements from `open` to `close`."""

    def __init__(self) -> None:
        self.acknowledged: list[tuple[float, int]] = []
        """All acknowledgements as (time, count)."""
        self.total = 0
        """Operations in `acknowledged`."""
        self.latencies = array("d")
        self.errors = 0
        self._opened = self._closed = 0.0

    def open(self) -> None:
        self._opened = time.perf_counter()

    def close(self) -> None:
        self._closed = time.perf_counter()

    def count(self, sent: Sequence[float]) -> None:
        now = time.perf_counter()
        self.acknowledged.append((now, len(sent)))
        self.total += len(sent)
        if self._opened and not self._closed:
            self.latencies.extend([now - at for at in sent])

    def sample(self, cpu: Mapping[str, float]) -> LoadSample:
        """`cpu` is what was used between `open` and `close`."""
        return load_sample(len(self.latencies), self._closed - self._opened, self.latencies, self.errors, cpu)


class Channel:
    """A connection for operations. Systems implement `issue` and call `answered`."""

    def __init__(self) -> None:
        self.window = 0
        self.in_flight = 0
        self.meter = Meter()
        self._idle = asyncio.Event()

    def issue(self, count: int) -> None:
        """Sends `count` operations."""
        raise NotImplementedError

    def fill(self) -> None:
        count = self.window - self.in_flight
        if count > 0:
            self.in_flight += count
            self.issue(count)

    def answered(self, sent: Sequence[float], errors: int = 0) -> None:
        """Operations sent at these times are acknowledged; `failed` more have failed."""
        self.meter.errors += errors
        self.in_flight -= len(sent) + errors
        if sent:
            self.meter.count(sent)
        if self.in_flight < self.window:
            self.fill()
        elif self.in_flight <= 0:
            self._idle.set()

    def start(self, meter: Meter, window: int) -> None:
        self.meter, self.window = meter, window
        self._idle.clear()
        self.fill()

    async def drain(self) -> None:
        self.window = 0
        if self.in_flight > 0:
            async with asyncio.timeout(DRAIN_S):
                await self._idle.wait()


def places(where: str, leader: int, nodes: Sequence[int]) -> Sequence[int]:
    """The nodes that `where` stands for: leader, follower (one of them) or spread (all that run)."""
    follower = next(node for node in nodes if node != leader)
    return {"leader": [leader], "follower": [follower], "spread": nodes}[where]


Used = Callable[[], Mapping[str, float]]
"""CPU seconds used so far, by kind of process."""


async def measure(system: System, cases: Sequence[tuple[str, int]], seconds: float) -> dict[str, LoadSample]:
    """Starts the system, puts each load (where, operations in flight) on it in turn, and stops it."""
    async with running(system):
        return {
            f"{where}/{in_flight}":
                await load(await system.channels(where, in_flight), in_flight, seconds, system.processes.cpu)
            for where, in_flight in cases
        }


async def load(channels: Sequence[Channel], in_flight: int, seconds: float, used: Used) -> LoadSample:
    """Keeps `in_flight` operations in flight, shared evenly by the channels, for so many seconds, and until at least
    one is acknowledged: without any there would be no latency and no cost. Raises TimeoutError if none ever is."""
    meter = begin(channels, in_flight)
    await asyncio.sleep(WARM_UP_S)
    before, begun = used(), time.process_time()
    meter.open()
    await asyncio.sleep(seconds)
    async with asyncio.timeout(DRAIN_S):
        while not meter.latencies:  # noqa: ASYNC110 - an event for each would be part of what is measured
            await asyncio.sleep(0.01)
    meter.close()
    cpu = {"driver": time.process_time() - begun, **difference(before, used())}
    await drain(channels)
    return meter.sample(cpu)


def begin(channels: Sequence[Channel], in_flight: int) -> Meter:
    """Load that continues until `drain`."""
    meter = Meter()
    for channel in channels:
        channel.start(meter, in_flight // len(channels))
    return meter


async def drain(channels: Sequence[Channel]) -> None:
    for channel in channels:
        await channel.drain()


def difference(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    return {kind: after[kind] - before.get(kind, 0.0) for kind in after}


async def operations(channels: Sequence[Channel], in_flight: int, count: int) -> None:
    """Completes at least `count` operations."""
    meter = begin(channels, in_flight)
    while meter.total < count:  # noqa: ASYNC110 - an event for each would be part of what is measured
        await asyncio.sleep(0.02)
    await drain(channels)


def longest_gap(acknowledged: Sequence[tuple[float, int]], since: float, until: float) -> float:
    """The gaps in seconds between consecutive acknowledgements, as far as they end after `since`."""
    times = [at for at, _ in acknowledged if at <= until]
    gaps = [later - earlier for earlier, later in pairwise(times) if later >= since]
    if not times or times[-1] < since:
        return until - since
    return max(gaps, default=until - since)


def timeline(acknowledged: Sequence[tuple[float, int]], zero: float, start: float, stop: float,
             width: float) -> list[tuple[float, float]]:
    """(seconds since `zero`, operations a second) in bins of `width` seconds."""
    bins = [0] * int((stop - start) / width)
    for at, many in acknowledged:
        index = int((at - zero - start) / width)
        if 0 <= index < len(bins):
            bins[index] += many
    return [(start + index * width, count / width) for index, count in enumerate(bins)]


def load_sample(
    operations: int, seconds: float, latencies: Sequence[float], errors: int, cpu: Mapping[str, float]
) -> LoadSample:
    """Of `operations` in so many seconds, and their latencies (or some of them, spread evenly). Raises RuntimeError if
    there are none."""
    if not latencies:
        raise RuntimeError(f"nothing was acknowledged in {seconds:.1f} s")
    ordered = sorted(latencies)
    p50, p99 = (ordered[int(len(ordered) * share)] for share in (0.5, 0.99))
    return LoadSample(
        rate=operations / seconds, p50_ms=p50 * 1e3, p99_ms=p99 * 1e3, errors=errors, operations=operations,
        seconds=seconds, cpu={kind: used / seconds for kind, used in cpu.items()},
        us_per_operation={kind: used / operations * 1e6 for kind, used in cpu.items()},
    )
