"""Draws what happens to disks and to the membership in a run of the swarm, and upgrades from release 0.1.0."""

from __future__ import annotations

from random import Random

from paxos.messages import Change
from tests.simulation.events import (
    LEADER,
    AnyEvent,
    ChangeMembers,
    Crash,
    Hostile,
    Restore,
    Stranger,
    Swap,
    Upgrade,
    Wipe,
)


def members_events(random: Random, nodes: int, safety_s: float) -> tuple[int, list[AnyEvent]]:
    """(how many spare nodes there are, events): in two thirds of the runs nothing at all."""
    if random.random() < 2 / 3:
        return 0, []
    spares = random.choice((0, 1, 2))
    kinds = ("add", "remove", "replace", "restore", "swap", "stranger", "damaged", "wiped")
    liked = [random.choice((0.0, 1.0, 3.0)) for _ in kinds]
    if not any(liked):
        return spares, []
    events: list[AnyEvent] = []
    for kind in random.choices(kinds, liked, k=1 + int(safety_s * random.choice((0.5, 1.0, 2.0)))):
        events += _events(random, kind, nodes, spares, random.uniform(0.5, safety_s))
    return spares, events


def _events(random: Random, kind: str, nodes: int, spares: int, at: float) -> list[AnyEvent]:
    pid = random.randint(1, nodes + spares)
    seconds = random.choice((0.1, 0.3, 1.0, 2.0))
    match kind:
        case "restore":
            return [Restore(at=at, pid=pid, age=random.choice((0.05, 0.3, 1.0, 3.0)), down=seconds)]
        case "swap":
            return [Swap(at=at, pid=pid, seconds=seconds)]
        case "stranger":
            return [Stranger(at=at, pid=pid, seconds=seconds, alone=random.random() < 0.7)]
        case "damaged" | "wiped":
            return [Wipe(at=at, pid=pid, down=min(seconds, 1.0), damaged=kind == "damaged")]
    change = {"add": Change.ADD, "remove": Change.REMOVE, "replace": Change.REPLACE}[kind]
    if change is Change.ADD and spares and random.random() < 0.7:
        pid = random.randint(nodes + 1, nodes + spares)
    asker = random.choice((LEADER, random.randint(1, nodes + spares)))
    asked: list[AnyEvent] = [ChangeMembers(at=at, pid=asker, change=int(change), member=pid)]
    if change is Change.REPLACE:
        asked.append(Crash(at=max(0.3, at - 0.8), pid=pid, down=2.0 + seconds))
    if random.random() < 0.5:  # the leader dies when the change is somewhere on its way
        asked.append(Crash(at=at + random.uniform(0.0, 0.1), pid=LEADER, down=seconds))
    return asked


def hostile_events(random: Random, nodes: int, safety_s: float) -> list[AnyEvent]:
    """In a sixth of the runs, one member is hostile for a while, once or more often."""
    if random.random() < 5 / 6:
        return []
    pid = random.choice((LEADER, random.randint(1, nodes)))
    return [
        Hostile(at=random.uniform(0.8, safety_s), pid=pid, seconds=random.choice((0.2, 0.5, 1.5)))
        for _ in range(random.choice((1, 1, 3)))
    ]


def release_events(random: Random, nodes: int, safety_s: float) -> list[AnyEvent]:
    """In a tenth of the runs the nodes are of release 0.1.0, and are upgraded one by one; not all, maybe, before the
    faults end."""
    if random.random() < 0.9:
        return []
    order = random.sample(range(1, nodes + 1), random.randint(1, nodes))
    return [
        Upgrade(at=safety_s * (number + 1) / (nodes + 1), pid=pid, down=random.choice((0.05, 0.3)))
        for number, pid in enumerate(order)
    ]
