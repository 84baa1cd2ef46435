"""A load that is the same for every system: so many operations in flight, a new one for each that is acknowledged."""

from __future__ import annotations

import asyncio
import time
from array import array
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import msgspec

WARM_UP_S = 0.3
DRAIN_S = 20.0


class Sample(msgspec.Struct):
    """What one stretch of load came to. Times in seconds."""

    operations: int
    seconds: float
    latencies: list[float]
    """Sorted; at most some thousands of them, spread evenly."""
    errors: int = 0
    cpu: dict[str, float] = {}
    """CPU seconds of the system by kind of process, and of this driver."""

    @property
    def rate(self) -> float:
        return self.operations / self.seconds if self.seconds else 0.0

    def percentile(self, share: float) -> float:
        return self.latencies[min(len(self.latencies) - 1, int(len(self.latencies) * share))] if self.latencies else 0.0


class Meter:
    """Counts acknowledgements from `open` to `close`."""

    def __init__(self) -> None:
        self.acknowledged: list[tuple[float, int]] = []
        """(when, how many at once), all of them."""
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
        if self._opened and not self._closed:
            self.latencies.extend([now - at for at in sent])

    def sample(self) -> Sample:
        kept = sorted(self.latencies)
        thin = max(1, len(kept) // 5000)
        return Sample(len(self.latencies), self._closed - self._opened, kept[thin // 2 :: thin], self.errors)


class Channel:
    """A connection that operations are sent through. Systems fill in `issue` and call `answered`."""

    def __init__(self) -> None:
        self.window = 0
        self.in_flight = 0
        self.meter = Meter()
        self._idle = asyncio.Event()

    def issue(self, count: int) -> None:
        """Sends so many operations."""
        raise NotImplementedError

    def fill(self) -> None:
        count = self.window - self.in_flight
        if count > 0:
            self.in_flight += count
            self.issue(count)

    def answered(self, sent: Sequence[float], errors: int = 0) -> None:
        """Operations sent at these times are acknowledged; so many more have failed."""
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


Used = Callable[[], Mapping[str, float]]
"""CPU seconds used so far, by kind of process."""


async def load(
    channels: Sequence[Channel], in_flight: int, seconds: float, used: Used, warm_up: float = WARM_UP_S
) -> Sample:
    """Keeps `in_flight` operations under way, shared evenly by the channels."""
    meter = Meter()
    for channel in channels:
        channel.start(meter, in_flight // len(channels))
    await asyncio.sleep(warm_up)
    before, begun = used(), time.process_time()
    meter.open()
    await asyncio.sleep(seconds)
    meter.close()
    cpu = {"driver": time.process_time() - begun, **difference(before, used())}
    for channel in channels:
        await channel.drain()
    sample = meter.sample()
    sample.cpu = cpu
    return sample


def difference(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    return {kind: after[kind] - before.get(kind, 0.0) for kind in after}


async def operations(channels: Sequence[Channel], in_flight: int, count: int) -> float:
    """Has at least `count` operations carried out; returns the seconds that it took."""
    meter = Meter()
    begun = time.perf_counter()
    for channel in channels:
        channel.start(meter, in_flight // len(channels))
    done = 0
    while done < count:
        await asyncio.sleep(0.02)
        done += sum(many for _, many in meter.acknowledged)
        meter.acknowledged.clear()
    for channel in channels:
        await channel.drain()
    return time.perf_counter() - begun


def longest_gap(acknowledged: Sequence[tuple[float, int]], since: float, until: float) -> float:
    """Seconds between two neighbouring acknowledgements of which the later one came after `since`."""
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


def summary(sample: Sample) -> dict[str, Any]:
    return {
        "rate": sample.rate, "p50_ms": sample.percentile(0.5) * 1e3, "p99_ms": sample.percentile(0.99) * 1e3,
        "errors": sample.errors, "operations": sample.operations, "seconds": sample.seconds,
        "cpu": {name: used / sample.seconds for name, used in sample.cpu.items()},
        "us_per_operation": {name: used / sample.operations * 1e6 for name, used in sample.cpu.items()}
        if sample.operations else {},
    }
