"""Three plots as hand-written SVG: lines over axes, logarithmic or not."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from bench.results import Load, Results, Spread

WIDTH, HEIGHT = 720, 400
LEFT, RIGHT, TOP, BOTTOM = 76, 20, 44, 92
COLOURS = ("#0b6e4f", "#c2410c", "#7c3aed", "#2563eb", "#64748b", "#b91c1c")
AT = (1, 256, 1024, 4096)


class Line(msgspec.Struct):
    name: str
    points: list[tuple[float, float]]
    dashed: bool = False


def draw(results: Results, out: Path) -> list[str]:
    """Returns the names of the files written."""
    systems = {name: cases for name, cases in results.load.items() if "leader/1" in cases}
    written: dict[str, str] = {}
    if systems:
        written["throughput.svg"] = chart(
            "Throughput at the leader, 200-byte operations", "operations in flight", "operations/s",
            [Line(name, _over(cases, lambda load: load.rate)) for name, cases in systems.items()], log=True,
        )
        written["latency.svg"] = chart(
            "Latency at the leader: p50, and p99 dashed", "operations in flight", "milliseconds",
            [line for name, cases in systems.items() for line in (
                Line(f"{name} p50", _over(cases, lambda load: load.p50_ms)),
                Line(f"{name} p99", _over(cases, lambda load: load.p99_ms), dashed=True),
            )], log=True,
        )
    if results.outages:
        written["failover.svg"] = chart(
            "The outage of median length in each system", "seconds since the leader was killed or cut off",
            "share of its usual operations/s",
            [Line(name, outage.timeline) for name, outage in results.outages.items()], log=False,
        )
    for name, text in written.items():
        (out / name).write_text(text)
    return list(written)


def _over(cases: dict[str, Load], figure: Callable[[Load], Spread]) -> list[tuple[float, float]]:
    return [(at, figure(cases[f"leader/{at}"]).median) for at in AT if f"leader/{at}" in cases]


def chart(title: str, across: str, up: str, lines: Sequence[Line], *, log: bool) -> str:
    points = [point for line in lines for point in line.points if not log or point[1] > 0]
    if not points:
        return '<svg xmlns="http://www.w3.org/2000/svg"/>\n'
    xs, ys = Scale([x for x, _ in points], log), Scale([y for _, y in points], log, zero=not log)
    width, height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def place(x: float, y: float) -> str:
        return f"{LEFT + width * xs.share(x):.1f},{TOP + height * (1 - ys.share(y)):.1f}"

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        'font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        _text(WIDTH / 2, 22, title, "middle", 'font-size="15"'),
        _text(LEFT + width / 2, HEIGHT - BOTTOM + 36, across, "middle"),
        _text(16, TOP + height / 2, up, "middle", f'transform="rotate(-90 16 {TOP + height / 2})"'),
    ]
    for value in ys.ticks():
        y = TOP + height * (1 - ys.share(value))
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#e2e8f0"/>')
        parts.append(_text(LEFT - 8, y + 4, f"{value:,g}", "end"))
    for value in AT if log else xs.ticks():
        parts.append(_text(LEFT + width * xs.share(value), HEIGHT - BOTTOM + 18, f"{value:,g}", "middle"))
    for index, line in enumerate(lines):
        colour = COLOURS[(index // 2 if any(other.dashed for other in lines) else index) % len(COLOURS)]
        style = f'fill="none" stroke="{colour}" stroke-width="2"' + (' stroke-dasharray="6 4"' if line.dashed else "")
        path = " ".join(place(x, y) for x, y in line.points if not log or y > 0)
        parts.append(f'<polyline points="{path}" {style}/>')
        x, y = LEFT + (index % 4) * width / 4, HEIGHT - 32 + 16 * (index // 4)
        parts.append(f'<line x1="{x}" x2="{x + 18}" y1="{y - 4}" y2="{y - 4}" {style}/>')
        parts.append(_text(x + 22, y, line.name, "start", 'font-size="11"'))
    return "\n".join([*parts, "</svg>"]) + "\n"


class Scale:
    """The position of a value between the minimum (0) and the maximum (1)."""

    def __init__(self, values: Sequence[float], log: bool, zero: bool = False) -> None:
        self._log = log
        low, high = min(values), max(values)
        if log:
            low, high = 10 ** math.floor(math.log10(low)), high * 1.15
        elif zero:
            low, high = min(0.0, low), high * 1.05
        self._low, self._high = low, high if high > low else low + 1

    def share(self, value: float) -> float:
        if self._log:
            return math.log(value / self._low) / math.log(self._high / self._low)
        return (value - self._low) / (self._high - self._low)

    def ticks(self) -> list[float]:
        if self._log:
            powers = range(math.floor(math.log10(self._low)), math.ceil(math.log10(self._high)) + 1)
            return [10.0**power for power in powers if self._low <= 10.0**power <= self._high]
        step = 10 ** math.floor(math.log10(self._high - self._low))
        step = next(s for s in (step / 5, step / 2, step, step * 2) if (self._high - self._low) / s <= 8)
        first = math.ceil(self._low / step - 1e-9)
        return [round(step * index, 9) for index in range(first, int(self._high / step + 1e-9) + 1)]


def _text(x: float, y: float, text: str, anchor: str, more: str = "") -> str:
    text = text.replace("&", "&amp;").replace("<", "&lt;")
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {more}>{text}</text>'
