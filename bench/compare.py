"""Two checkouts of ConsensusLLM beside each other: is this one slower than the release before?

They are measured alternately in one run, so that what else the machine does falls on both alike, and each round gives
a ratio. Only the outside contract is used (bench/ours.py), so the other checkout may be of any release. A checkout
compared with itself (--against .) shows how far ratios stray by chance alone.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from bench.report import NAMES
from bench.results import LoadSample, Spread

Round: TypeAlias = tuple[dict[str, LoadSample], dict[str, LoadSample]]
"""Old and new, by case."""

ONE_IN_FLIGHT = ("leader/1", "follower/1")
MANY_IN_FLIGHT = ("leader/256", "leader/1024", "leader/4096", "spread/1025")


class Figure(NamedTuple):
    name: str
    better: str
    of: Callable[[LoadSample], float]
    form: str


RATE = Figure("operations/s", "higher", lambda sample: sample.rate, ",.0f")
P50 = Figure("p50, ms", "lower", lambda sample: sample.p50_ms, ".2f")
P99 = Figure("p99, ms", "lower", lambda sample: sample.p99_ms, ".2f")
CPU = Figure("us CPU/operation", "lower", lambda sample: sum(sample.us_per_operation.values()), ".0f")

ROWS = [
    *((case, RATE) for case in MANY_IN_FLIGHT),
    *((case, figure) for case in ONE_IN_FLIGHT for figure in (P50, P99)),
    *((case, CPU) for case in (*ONE_IN_FLIGHT, *MANY_IN_FLIGHT)),
]


def table(rounds: list[Round]) -> str:
    lines = [
        f"Medians of {len(rounds)} rounds; of the rounds' ratios new/old, the median [min .. max].", "",
        "| load | figure | old | new | new/old | better if |", "|---|---|---|---|---|---|",
        *(row(rounds, case, figure) for case, figure in ROWS),
    ]
    errors = [sum(sample.errors for each in rounds for sample in each[side].values()) for side in (0, 1)]
    if any(errors):
        lines += ["", f"Operations that failed: {errors[0]} old, {errors[1]} new."]
    return "\n".join(lines)


def row(rounds: list[Round], case: str, figure: Figure) -> str:
    pairs = [(figure.of(old[case]), figure.of(new[case])) for old, new in rounds]
    old, new = (format(statistics.median(side), figure.form) for side in zip(*pairs, strict=True))
    ratio = Spread.of([new / old for old, new in pairs])
    return (
        f"| {NAMES[case]} | {figure.name} | {old} | {new} | {ratio.median:.2f} [{ratio.least:.2f} .. {ratio.most:.2f}] "
        f"| {figure.better} |"
    )
