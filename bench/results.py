"""What a run of the benchmarks found: `Samples` in full detail, `Results` what documents and plots need of it."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

SMOOTHING_BINS = 5
"""Bins that a point of a published timeline is the mean of; every second bin has a point."""
DIGITS = 7
"""Significant digits of published figures: none less than the table shows."""


class Spread(msgspec.Struct, frozen=True, array_like=True):
    median: float
    least: float
    most: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(statistics.median(values), min(values), max(values), len(values))


class LoadSample(msgspec.Struct):
    """One stretch of load. CPU by kind of process, the driver's included."""

    rate: float
    """Operations a second."""
    p50_ms: float
    p99_ms: float
    errors: int
    operations: int
    seconds: float
    cpu: dict[str, float]
    """Cores."""
    us_per_operation: dict[str, float]


class Load(msgspec.Struct):
    """Stretches of the same load."""

    rate: Spread
    p50_ms: Spread
    p99_ms: Spread
    cpu: float
    us_per_operation: float
    errors: int

    @classmethod
    def of(cls, samples: Sequence[LoadSample]) -> Load:
        return cls(
            rate=Spread.of([sample.rate for sample in samples]),
            p50_ms=Spread.of([sample.p50_ms for sample in samples]),
            p99_ms=Spread.of([sample.p99_ms for sample in samples]),
            cpu=statistics.median(sum(sample.cpu.values()) for sample in samples),
            us_per_operation=statistics.median(sum(sample.us_per_operation.values()) for sample in samples),
            errors=sum(sample.errors for sample in samples),
        )


class OutageSample(msgspec.Struct):
    gap_s: float
    timeline: list[tuple[float, float]]
    """(seconds since the fault, operations a second), in bins of equal width."""


class Outage(msgspec.Struct):
    gap_s: Spread
    timeline: list[tuple[float, float]]
    """(seconds since the fault, share of the usual rate) of the outage of median length, smoothed."""

    @classmethod
    def of(cls, samples: Sequence[OutageSample]) -> Outage:
        median = sorted(samples, key=lambda sample: sample.gap_s)[len(samples) // 2]
        return cls(Spread.of([sample.gap_s for sample in samples]), smoothed(median.timeline))


def smoothed(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    usual = statistics.mean(rate for at, rate in points if at < 0) or 1.0
    return [
        (round(points[end - 1][0], 3),
         round(min(2.0, statistics.mean(rate for _, rate in points[max(0, end - SMOOTHING_BINS) : end]) / usual), 3))
        for end in range(1, len(points) + 1, 2)
    ]


class RelaySample(msgspec.Struct):
    frames: float
    """A second."""
    own: float
    """For a second of the relay's own time."""
    dropped: int


class Relay(msgspec.Struct):
    frames: float
    own: float

    @classmethod
    def of(cls, samples: Sequence[RelaySample]) -> Relay:
        return cls(statistics.median(sample.frames for sample in samples),
                   statistics.median(sample.own for sample in samples))


class CatchUp(msgspec.Struct):
    """A node restarts under load, having missed operations."""

    missed: int
    level_s: float
    rate_before: float
    rate_during: float


class Restart(msgspec.Struct):
    """A node with a full store comes back."""

    operations: int
    view_s: float
    node: int = 0
    """Its number; 0 if that was not written down."""


class Weight(msgspec.Struct):
    """Of one node, in MB, against the text that its store holds."""

    operations: int
    text_mb: float
    disk_mb: float
    memory_mb: float


class Growth(Weight):
    rate: float
    us_per_operation: float


class Machine(msgspec.Struct):
    cpu: str
    cores: int
    system: str
    python: str
    sqlite: str
    uvloop: str | None
    msgspec: str | None
    pysyncobj: str | None
    fdatasync_ms: float
    etcd: str | None = None


class Noise(msgspec.Struct):
    """`spread` is how far the slowest look at the machine's speed lies below the fastest."""

    spread: float
    looks: int
    load_average: float
    steal_share: float


class _Run(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What `Samples` and `Results` have in common. Parts that were not measured are None or empty."""

    kind: str
    """Of quick, standard, full."""
    rounds: int
    seconds: float
    """Of load, in each round and case."""
    took_s: float = 0.0
    machine: Machine
    noise: Noise | None = None
    catch_up: CatchUp | None = None
    restart: Restart | None = None
    weight: Weight | None = None
    simulator_runs_a_minute: float | None = None
    growth: dict[str, list[Growth]] = {}
    """By number of conversations."""


class Samples(_Run, kw_only=True, omit_defaults=True):
    """Every single measurement."""

    load: dict[str, dict[str, list[LoadSample]]] = {}
    """By system, then by case: "where/in flight"."""
    outages: dict[str, list[OutageSample]] = {}
    """By system and fault."""
    startup: dict[str, list[float]] = {}
    relay: dict[str, list[RelaySample]] = {}
    """`ours` and `bare`."""


class Results(_Run, kw_only=True, omit_defaults=True):
    """Medians, and how far the samples lie apart."""

    load: dict[str, dict[str, Load]] = {}
    outages: dict[str, Outage] = {}
    startup: dict[str, Spread] = {}
    relay: dict[str, Relay] = {}


def condensed(samples: Samples) -> Results:
    return Results(
        **{field: getattr(samples, field) for field in _Run.__struct_fields__},
        load={system: {case: Load.of(found) for case, found in cases.items()}
              for system, cases in samples.load.items()},
        outages={name: Outage.of(found) for name, found in samples.outages.items()},
        startup={name: Spread.of(found) for name, found in samples.startup.items()},
        relay={name: Relay.of(found) for name, found in samples.relay.items()},
    )


def read(path: Path) -> Results:
    return msgspec.json.decode(path.read_bytes(), type=Results)


def write(results: Results, path: Path) -> None:
    """As JSON that can be read and compared line by line."""
    path.write_text(_lines(_rounded(msgspec.to_builtins(results))) + "\n")


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(each) for each in value]
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


def _lines(value: Any, indent: str = "") -> str:
    """Objects of objects get a line for each member; what is below them, one line in all."""
    if not isinstance(value, dict) or not any(isinstance(each, dict) for each in value.values()):
        return json.dumps(value)
    deeper = indent + " "
    members = ",\n".join(f"{deeper}{json.dumps(key)}: {_lines(each, deeper)}" for key, each in value.items())
    return f"{{\n{members}\n{indent}}}"
