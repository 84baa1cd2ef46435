"""The faults of a run, drawn from a seed before it begins."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import combinations, permutations
from random import Random

import msgspec

from tests.cluster.disk_faults import CHANGED, LOST, OLDER, REPLACED

LEADER = 0
"""Stands for the number of the node that leads when the fault begins."""

NODES = (1, 2, 3, 4, 5)


class Fault(msgspec.Struct, frozen=True):
    """`at` and `seconds` (how long it lasts) in seconds; `commands` are the operator's, without their duration. In them
    {0} stands for the number of the leader, {1} to {4} for those of the others."""

    at: float
    kind: str
    seconds: float
    nodes: tuple[int, ...] = ()
    commands: tuple[str, ...] = ()

    def __str__(self) -> str:
        nodes = ", ".join("the leader" if node == LEADER else f"node {node}" for node in self.nodes)
        return f"{self.at:7.1f} s  {self.kind} for {self.seconds:.1f} s: {nodes}{'; '.join(self.commands)}"


Draw = Callable[[Random], tuple[tuple[int, ...], tuple[str, ...]]]


def _some(random: Random, least: int, most: int) -> tuple[int, ...]:
    return tuple(random.sample(NODES, random.randint(least, most)))


def _one(random: Random) -> tuple[int, ...]:
    return (random.choice((*NODES, *[LEADER] * len(NODES))),)


def _cuts(random: Random) -> tuple[str, ...]:
    """Any pattern of links."""
    share = random.uniform(0.15, 0.7)
    return tuple(f"failLink {a} {b}" for a, b in combinations(NODES, 2) if random.random() < share)


def _one_way_cuts(random: Random) -> tuple[str, ...]:
    share = random.uniform(0.1, 0.5)
    return tuple(f"failLink {a} {b} --oneway" for a, b in permutations(NODES, 2) if random.random() < share)


def _partition(random: Random) -> tuple[str, ...]:
    groups: list[list[int]] = [[] for _ in range(random.choice((2, 2, 2, 3)))]
    nodes = random.sample(NODES, len(NODES))
    for number, node in enumerate(nodes):
        (groups[number] if number < len(groups) else random.choice(groups)).append(node)
    return ("partition " + "|".join(",".join(map(str, group)) for group in groups),)


def _leader_in_minority(random: Random) -> tuple[str, ...]:
    companion, *others = random.sample((1, 2, 3, 4), 4)
    return (f"partition {{0}},{{{companion}}}|" + ",".join(f"{{{other}}}" for other in others),)


def _delay(random: Random) -> tuple[str, ...]:
    link = " {} {}".format(*random.sample(NODES, 2)) if random.random() < 0.5 else ""
    most = 2000 if link else 400
    return (f"delay{link} {random.randint(5, most)} {random.randint(0, most)}",)


def _percent(name: str, most: int) -> Draw:
    def draw(random: Random) -> tuple[tuple[int, ...], tuple[str, ...]]:
        link = " {} {}".format(*random.sample(NODES, 2)) if random.random() < 0.3 else ""
        return (), (f"{name}{link} {random.randint(1, most)}",)

    return draw


KINDS: dict[str, Draw] = {
    "kill one": lambda random: (_one(random), ()),
    "kill several": lambda random: (_some(random, 2, 4), ()),
    "kill all": lambda random: (tuple(random.sample(NODES, len(NODES))), ()),
    "pause": lambda random: (_one(random) if random.random() < 0.7 else _some(random, 2, 3), ()),
    "cut links": lambda random: ((), _cuts(random)),
    "cut one way": lambda random: ((), _one_way_cuts(random)),
    "partition": lambda random: ((), _partition(random)),
    "leader in minority": lambda random: ((), _leader_in_minority(random)),
    "isolate leader": lambda random: ((), ("isolate {0}",)),
    "deaf leader": lambda random: ((), tuple(f"failLink {{{each}}} {{0}} --oneway" for each in range(1, 5))),
    "mute leader": lambda random: ((), tuple(f"failLink {{0}} {{{each}}} --oneway" for each in range(1, 5))),
    "delay": lambda random: ((), _delay(random)),
    "loss": _percent("loss", 40),
    "duplicates": _percent("duplicate", 50),
    "reordering": _percent("reorder", 80),
    "kill network": lambda random: ((), ()),
    "full disk": lambda random: ((), ()),
    "frozen files": lambda random: (_one(random), ()),
    LOST: lambda random: (_some(random, 1, 2), ()),
    OLDER: lambda random: (_one(random), ()),
    CHANGED: lambda random: (_one(random), ()),
    REPLACED: lambda random: (_one(random), ()),
}

_UNDISTURBED = ("leader in minority", "isolate leader", "deaf leader", "mute leader", OLDER)
"""These reveal the worst bugs, but only with a leader and possible successors: no other fault is active meanwhile. (For
an older disk, the others must have heard of the last that was on it.)"""
_RECOVERED_S = 2.5
"""After most faults there is a leader again by then."""

PAUSE_S = 1.5
"""The average time between the starts of two faults."""
CALM_S = 4.0
"""The pause after each kind of fault has occurred."""


def draw_plan(seed: int, seconds: float, kinds: Mapping[str, Draw] = KINDS) -> list[Fault]:
    """Every kind occurs once before any is repeated."""
    random = Random(seed)
    plan: list[Fault] = []
    now = 0.5
    for kind in _decks(random, kinds):
        if kind is None:
            now += CALM_S
            continue
        lasts = random.uniform(0.3, 2.5) * (3 if random.random() < 0.1 else 1)
        if kind in _UNDISTURBED:
            lasts += 1.0
            now = max([now, *(fault.at + fault.seconds + _RECOVERED_S for fault in plan)])
        if now + lasts > seconds:
            break
        nodes, commands = kinds[kind](random)
        plan.append(Fault(now, kind, lasts, nodes, commands))
        now += random.expovariate(1 / PAUSE_S) + (lasts if kind in _UNDISTURBED else 0)
    return plan


def _decks(random: Random, kinds: Mapping[str, Draw]) -> Iterator[str | None]:
    """Kinds of faults without end; None for a calm."""
    while True:
        yield from random.sample(sorted(kinds), len(kinds))
        yield None
