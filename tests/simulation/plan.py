"""What will happen in one run of the swarm, drawn from its seed before anything happens.

A plan is data: it can be printed, stored, and shrunk by leaving things out (see shrink.py). What it leaves to the run
are only the dice of single messages and disk writes.
"""

from __future__ import annotations

from random import Random

import msgspec

from paxos.limits import Limits
from tests.simulation.events import (
    LEADER,
    AnyEvent,
    Crash,
    CrashAll,
    Cut,
    Depose,
    Fail,
    Hint,
    Leave,
    Link,
    Pause,
    Stall,
    Storm,
    Use,
    Wipe,
)
from tests.simulation.plan_members import hostile_events, members_events, release_events
from tests.simulation.world import POINTS, SIM_LIMITS, Weather

KINDS = (
    "Prepare", "Promise", "Accept", "Accept", "Accepted", "Accepted", "Outranked", "Behind", "Decide", "Forward",
    "ReadRequest", "ReadReply", "Confirm", "Confirmed", "Fetch", "Learn", "SnapshotPiece", "Heartbeat",
)
"""Of messages. A run in which only some of them are lost goes further in the wrong direction than one in which every
message may be."""

class Llm(msgspec.Struct, frozen=True, omit_defaults=True):
    """How the LLMs answer: within `seconds`, and how often they fail."""

    seconds: float = 0.2
    failing: float = 0.0


class Final(msgspec.Struct, frozen=True, omit_defaults=True):
    """What stays when the faults end: links cut for good, nodes down for good, and how slow the network is."""

    cut: tuple[Link, ...] = ()
    down: tuple[int, ...] = ()
    delay: float = 0.002
    jitter: float = 0.002
    watch_s: float = 0.0
    """How long no ballot may grow after everything has converged."""


class Plan(msgspec.Struct, frozen=True, omit_defaults=True):
    seed: int
    nodes: int
    safety_s: float
    """How long faults last."""
    events: tuple[AnyEvent, ...]
    final: Final
    weather: Weather
    limits: Limits
    drift: tuple[float, ...] = ()
    """How fast the clock of each node runs."""
    late: tuple[float, ...] = ()
    """When each node is first started."""
    llm: Llm = Llm()
    spares: int = 0
    """Nodes that are no members at first, with the next numbers."""
    old: bool = False
    """All begin as nodes of release 0.1.0."""


KEYED = "d"
"""The conversation whose questions have keys, and that is deleted. No LLM answers it: what is judged without shortcuts
must be short."""
COPIED = ("e", "f", "g")
"""Conversations that are called otherwise, and begin with each other's turns. No LLM answers them, either."""
REVISED = "h"
"""The conversation in which another answer is asked for, or one out of the others. LLMs answer it, a few times only."""
SLOW_COMMIT_S = 0.3
"""Longer than most messages take."""
LEAST_BANDWIDTH = 20_000.0
"""Bytes a second, for each node of a cluster: so many more heartbeats there are."""


def draw(seed: int) -> Plan:
    """The plan that belongs to a seed."""
    random = Random(f"plan {seed}")
    nodes = random.choices((3, 5, 7), (5, 5, 1))[0]
    safety_s = random.uniform(2.0, 7.0) if nodes < 7 else random.uniform(2.0, 4.0)
    faults, uses = _faults(random, nodes, safety_s), _uses(random, nodes, safety_s)
    final, weather = _final(random, nodes), _slow(Random(f"slow {seed}"), nodes, _weather(random))
    uses = _fewer(uses, weather)
    events: list[AnyEvent] = [*faults, *uses, *_stops(Random(f"stops {seed}"), nodes, safety_s),
                              *_traps(Random(f"traps {seed}"), seed, nodes, safety_s),
                              *_retries(Random(f"retries {seed}"), nodes, uses)]
    spares, changes = members_events(Random(f"members {seed}"), nodes, safety_s)
    upgrades = release_events(Random(f"release {seed}"), nodes, safety_s)
    events += [*changes, *upgrades, *_quotas(Random(f"quotas {seed}"), nodes, safety_s),
               *_keyed(Random(f"keyed {seed}"), nodes, safety_s),
               *_copied(Random(f"copied {seed}"), nodes, safety_s),
               *_revised(Random(f"revised {seed}"), nodes, safety_s),
               *hostile_events(Random(f"hostile {seed}"), nodes, safety_s)]
    return Plan(
        seed=seed, nodes=nodes, safety_s=safety_s,
        events=tuple(sorted(events, key=lambda event: event.at)),
        final=final, weather=weather,
        limits=_bytes(Random(f"bytes {seed}"), _limits(random)),
        drift=tuple(random.uniform(0.8, 1.25) if random.random() < 0.3 else 1.0 for _ in range(nodes)),
        late=tuple(random.uniform(0, 0.6 * safety_s) if random.random() < 0.1 else 0.0 for _ in range(nodes)),
        llm=Llm(_log_uniform(random, 0.01, 2.0), random.choice((0.0, 0.3, 0.9))),
        spares=spares, old=bool(upgrades),
    )


def _log_uniform(random: Random, low: float, high: float) -> float:
    return float(low * (high / low) ** random.random())


def _weather(random: Random) -> Weather:
    """Half of the runs have a quick network, where much happens in little time."""
    slow = random.random() < 0.5
    delay = _log_uniform(random, 0.001, 1.0) if slow else 0.002
    straggle = random.random() < 0.5
    kinds = random.sample(KINDS, random.randint(1, 3)) if random.random() < 0.5 else []
    loss = random.choice((0.0, 0.0, 0.02, 0.1, 0.2, 0.4))
    if random.random() < 0.1:
        # Leaders mostly talk to themselves: different operations get accepted at the same positions.
        kinds, loss = ["Accept"], 0.45
    return Weather(
        delay=delay,
        jitter=delay * random.choice((0.0, 1.0, 3.0)),
        loss=2 * loss if kinds else loss,
        duplicate=random.choice((0.0, 0.0, 0.05, 0.3)),
        straggle=random.choice((0.05, 0.2, 0.5) if kinds else (0.01, 0.05, 0.2)) if straggle else 0.0,
        straggle_s=_log_uniform(random, 0.05, 4.0) if straggle else 0.0,
        fsync=random.choice((0.0, 0.002, 0.01, 0.05, 0.2)),
        turn_s=random.choice((0.0, 0.0, 0.005, 0.03)),
        only=frozenset(kinds),
    )


def _slow(random: Random, nodes: int, weather: Weather) -> Weather:
    """In some runs links are so thin that heartbeats alone fill a good part of them; in some every commit, or every
    commit of some nodes, takes much longer than any message."""
    if random.random() < 0.15:
        return msgspec.structs.replace(weather, bandwidth=_log_uniform(random, LEAST_BANDWIDTH * nodes, 3e6))
    if random.random() < 0.85:
        return weather
    slow_s = _log_uniform(random, SLOW_COMMIT_S, 3.0)
    if random.random() < 0.5:
        return msgspec.structs.replace(weather, fsync=slow_s)
    pids = random.sample(range(1, nodes + 1), random.randint(1, nodes - 1))
    return msgspec.structs.replace(weather, slow_disks=dict.fromkeys(pids, slow_s))


def _limits(random: Random) -> Limits:
    """Small enough for a short run to reach the bounds."""
    batch, pipeline = random.choice(((1, 4), (2, 2), (8, 1), (8, 4)))
    lag = random.choice((2, 6, 24))
    return msgspec.structs.replace(
        SIM_LIMITS,
        batch_operations=batch,
        batch_bytes=random.choice((60, 256 * 1024)),
        forward_bytes=random.choice((80, 1024 * 1024)),
        lag_bytes=random.choice((150, 2 * 1024 * 1024)),
        horizon_bytes=random.choice((4000, 8 * 1024 * 1024)),
        queue=random.choice((6, 200, 200)),
        snapshot_idle_s=random.choice((0.3, 10.0)),
        pipeline=pipeline,
        snapshot_every=random.choice((3, 6, 15, 40)),
        keep=lag + random.choice((0, 0, 4)),
        hold=random.choice((5, 40, 400)),
        lag=lag,
        horizon=random.choice((12, 60, 400)),
        learn_operations=random.choice((1, 4, 16)),
        piece_bytes=random.choice((40, 150, 512)),
        forward_window=random.choice((4, 64, 64)),
    )


def _bytes(random: Random, limits: Limits) -> Limits:
    """Some logs are bounded by the size of what is in them before its number counts. What is kept behind a snapshot is
    at least what a proposer may lack."""
    return msgspec.structs.replace(
        limits,
        keep_bytes=random.choice((0, 1_000, 4 * 1024 * 1024)) + limits.lag_bytes,
        hold_bytes=random.choice((2_000, 64 * 1024 * 1024)),
        snapshot_bytes=random.choice((300, 2_000, 16 * 1024 * 1024)),
        pieces=random.choice((1, 4, 32)),
        queue_bytes=random.choice((500, 64 * 1024 * 1024, 64 * 1024 * 1024)),
    )


def _faults(random: Random, nodes: int, safety_s: float) -> list[AnyEvent]:
    kinds = ("crash", "trap", "crash all", "wipe", "pause", "stall", "cut one", "one way", "isolate", "partition",
             "depose", "storm", "hint", "catching up")
    liked = {kind: random.choice((0.0, 0.5, 1.0, 3.0)) for kind in kinds}
    liked["crash all"] *= 0.4
    liked["wipe"] *= 0.5
    liked["catching up"] *= 1.5
    weights = [liked[kind] for kind in kinds]
    count = int(safety_s * random.choice((0.0, 0.5, 1.0, 2.0, 4.0))) if any(weights) else 0
    chosen = random.choices(kinds, weights, k=count) if count else []
    if random.random() < 0.3:
        # Leaders change so quickly that many of their messages are still on their way to their successors.
        chosen += ["depose"] * int(safety_s * random.choice((1, 3)))
    faults: list[AnyEvent] = []
    for kind in chosen:
        at = random.uniform(0.3, safety_s)
        if kind == "catching up":
            faults += _catching_up(random, nodes, at)
        else:
            fault = _fault(random, kind, nodes, at)
            faults.append(fault)
            if isinstance(fault, Crash | Wipe) and fault.pid != LEADER and random.random() < 0.5:
                # Users of a restarted node read from it at once.
                faults.append(Use(at=at + fault.down + 0.01, pid=fault.pid, user=1, op="viewall"))
    return faults


def _stops(random: Random, nodes: int, safety_s: float) -> list[AnyEvent]:
    """In a third of the runs, nodes that stop before they are gone."""
    count = random.choice((0, 0, 1 + int(safety_s / 3)))
    return [
        random.choice((Fail, Fail, Leave))(
            at=random.uniform(0.3, safety_s), pid=random.choice((LEADER, random.randint(1, nodes))),
            lingers=_log_uniform(random, 0.01, 0.5), down=_log_uniform(random, 0.05, 1.0),
        )
        for _ in range(count)
    ]


def _traps(random: Random, seed: int, nodes: int, safety_s: float) -> list[AnyEvent]:
    """In every other run processes die in the middle of their work, at each point in as many runs as at any other."""
    if seed % 2 == 0:
        return []
    point = POINTS[seed // 2 % len(POINTS)]
    # Snapshots are seldom on their way: whoever is the first to get there, dies.
    many = point in ("piece sent", "piece received", "snapshot installed")
    pids = random.sample(range(1, nodes + 1), nodes if many else 1)
    return [
        Crash(at=random.uniform(0.3, safety_s / 2 if many else safety_s), pid=pid,
              down=_log_uniform(random, 0.05, 1.0), point=point, count=random.choice((1, 1, 2, 3)))
        for pid in pids
    ]


def _catching_up(random: Random, nodes: int, at: float) -> list[AnyEvent]:
    """A node falls behind, and a fault hits it, or a node that helps it, while it catches up."""
    pids = range(1, nodes + 1)
    pid, other = random.sample(pids, 2)
    away = random.uniform(0.3, 2.0)
    point = random.choice(("piece sent", "piece received", "snapshot installed"))
    busy = [
        Use(at=at + away * (number + 1) / 12, pid=other, user=1, op="query", context=random.choice("abc"))
        for number in range(10)
    ]
    return [
        Cut(at=at, links=_between([pid], [peer for peer in pids if peer != pid]), seconds=away),
        *busy,
        Crash(at=at + away, pid=random.choice((other, LEADER)) if point == "piece sent" else pid,
              down=_log_uniform(random, 0.05, 1.0), point=point, count=random.choice((1, 1, 2, 3))),
    ]


def _fault(random: Random, kind: str, nodes: int, at: float) -> AnyEvent:
    pids = range(1, nodes + 1)
    pid, peer = random.sample(pids, 2)
    seconds = _log_uniform(random, 0.05, 3.0)
    victim = random.choice((pid, LEADER))
    match kind:
        case "crash":
            return Crash(at=at, pid=victim, down=seconds, hinted=random.random() < 0.5, rebooted=random.random() < 0.3)
        case "trap":
            return Crash(at=at, pid=victim, down=seconds, hinted=random.random() < 0.5, point=random.choice(POINTS),
                         count=int(_log_uniform(random, 1, 7)))
        case "crash all":
            return CrashAll(at=at, down=min(seconds, 0.5), apart=random.choice((0.0, 0.05, 0.3)))
        case "wipe":
            return Wipe(at=at, pid=pid, down=min(seconds, 1.0), clock_back=random.random() < 0.5)
        case "pause":
            return Pause(at=at, pid=victim, seconds=seconds)
        case "stall":
            return Stall(at=at, pid=victim, seconds=seconds)
        case "cut one":
            return Cut(at=at, links=((pid, peer), (peer, pid)), seconds=seconds)
        case "one way":
            targets = random.sample(pids, random.randint(1, nodes))
            return Cut(at=at, links=tuple((pid, target) for target in targets if target != pid), seconds=seconds)
        case "isolate":
            return Cut(at=at, links=_between([pid], [other for other in pids if other != pid]), seconds=seconds)
        case "partition":
            shuffled = random.sample(pids, nodes)
            where = random.randint(1, nodes - 1)
            return Cut(at=at, links=_between(shuffled[:where], shuffled[where:]), seconds=seconds)
        case "depose":
            return Depose(at=at, cut_s=min(seconds, 0.8),
                          spared=tuple(random.sample(pids, random.randint(0, nodes // 2))))
        case "storm":
            return Storm(at=at, loss=random.uniform(0, 0.7), delay=_log_uniform(random, 0.001, 1.5),
                         straggle=random.uniform(0, 0.5), straggle_s=_log_uniform(random, 0.1, 4.0), seconds=seconds)
        case _:
            return Hint(at=at, pid=pid, peer=peer)


def _between(some: list[int], others: list[int]) -> tuple[Link, ...]:
    return tuple(link for one in some for other in others for link in ((one, other), (other, one)))


def _retries(random: Random, nodes: int, uses: list[Use]) -> list[AnyEvent]:
    """In half of the runs, questions that are asked again while LLMs answer them, and looked at soon after."""
    share = random.choice((0.0, 0.3))
    events: list[AnyEvent] = []
    for use in uses:
        if use.op not in ("query", "ask") or random.random() >= share:
            continue
        at = use.at + _log_uniform(random, 0.02, 1.0)
        dice = random.randint(0, 9)
        events.append(Use(at=at, pid=random.randint(1, nodes), user=3, op="retry", context=use.context, dice=dice))
        later = at + _log_uniform(random, 0.01, 0.5)
        events.append(Use(at=later, pid=random.randint(1, nodes), user=3, op="view", context=use.context))
    return events


def _quotas(random: Random, nodes: int, safety_s: float) -> list[AnyEvent]:
    """In a quarter of the runs, quotas that conversations reach, and that are changed while they do."""
    count = random.choice((0, 0, 0, 2))
    return [
        Use(at=random.uniform(0.3, safety_s), pid=random.randint(1, nodes), user=4, op="quotas",
            dice=random.randint(1, 6))
        for _ in range(count)
    ]


def _keyed(random: Random, nodes: int, safety_s: float) -> list[AnyEvent]:
    """In a quarter of the runs, users that repeat questions at any nodes, cancel them, and delete the conversation."""
    if random.random() < 3 / 4:
        return []
    deleting = random.choice((0.0, 0.3))
    events: list[AnyEvent] = []

    def use(op: str, at: float) -> None:
        events.append(
            Use(at=at, pid=random.randint(1, nodes), user=5, op=op, context=KEYED, dice=random.randint(1, 2)))

    for _ in range(random.randint(4, 8)):
        at = random.uniform(0.3, safety_s)
        use("once", at)
        use("view", at + random.uniform(0.05, 0.5))
        if random.random() < 0.7:
            use("cancel", at + random.uniform(0.05, 0.5))
        if random.random() < deleting:
            use("delete", at + random.uniform(0.05, 0.5))
    return events


def _copied(random: Random, nodes: int, safety_s: float) -> list[AnyEvent]:
    """In an eighth of the runs, users that make conversations of each other, and give them each other's names."""
    if random.random() < 7 / 8:
        return []
    events: list[AnyEvent] = []

    def use(op: str, at: float, dice: int = 0, context: str | None = None) -> None:
        context = context or random.choices(COPIED, (4, 2, 1))[0]
        events.append(Use(at=at, pid=random.randint(1, nodes), user=6, op=op, context=context, dice=dice))

    use("create", 0.3, context=COPIED[0])
    for _ in range(random.randint(3, 6)):
        at = random.uniform(0.3, safety_s)
        use("query", at)
        use(random.choice(("cancel", "cancel", "delete", "create", "undelete")), at + random.uniform(0.05, 0.5))
        op, later = random.choice(("rename", "fork", "fork", "system")), random.uniform(0.05, 0.8)
        dice = random.randint(0, 5)
        use("auto" if op == "system" and dice > 3 else op, at + later, dice)
        use("view", at + random.uniform(0.05, 1.0))
    return events


def _revised(random: Random, nodes: int, safety_s: float) -> list[AnyEvent]:
    """In a third of the runs, users that want another answer than they got: to an ask, or out of those to a query."""
    if random.random() < 2 / 3:
        return []
    events: list[AnyEvent] = []

    def use(op: str, at: float, pid: int | None = None) -> None:
        events.append(Use(
            at=at, pid=pid or random.randint(1, nodes), user=7, op=op, context=REVISED, dice=random.randint(0, 9)
        ))

    for _ in range(random.randint(1, 3)):
        at, asker = random.uniform(0.3, safety_s), random.randint(1, nodes)
        use("create", at, asker)
        op, again = random.choice((("ask", "regenerate"), ("query", "synth"), ("query", "synth")))
        use(op, at + 0.01, asker)
        for _ in range(random.randint(2, 5)):
            later = at + _log_uniform(random, 0.1, 3.0)
            use(again, later)
            use("view", later + random.uniform(0.01, 0.5))
        if op == "query":
            if random.random() < 0.3:
                use("retry", at + _log_uniform(random, 0.1, 3.0))
            use(random.choice(("choose", "choose", "choose", "cancel")), at + random.uniform(1.0, 4.0))
        use("view", at + random.uniform(0.1, 4.0))
    return events


def _uses(random: Random, nodes: int, safety_s: float) -> list[Use]:
    ops = ("create", "query", "ask", "choose", "cancel", "view", "viewall")
    weights = (2, 6, random.choice((0, 2)), 6, 1, random.choice((2, 8)), 1)
    contexts = "abc"[: random.randint(1, 3)]
    count = int(safety_s * random.choice((3, 6, 12)))
    uses = [
        Use(at=random.uniform(0.0, 0.3), pid=random.randint(1, nodes), user=0, op="create", context=context)
        for context in contexts
    ]
    busy = random.sample(range(1, nodes + 1), random.randint(1, nodes))
    for op in random.choices(ops, weights, k=count):
        # Users come one by one, or many at once.
        at = random.uniform(0.3, safety_s)
        burst = random.choice((1, 1, 1, 4))
        uses += [
            Use(at=at + number * 0.001, pid=random.choice(busy), user=random.randint(1, 2), op=op,
                context=random.choice(contexts), dice=random.randint(0, 9))
            for number in range(burst)
        ]
    return uses


def _fewer(uses: list[Use], weather: Weather) -> list[Use]:
    """Where a commit takes long, users do a third of what they would do: in the end all must be decided, maybe one
    by one. The first three may create the conversations."""
    slow = max([weather.fsync, *weather.slow_disks.values()]) >= SLOW_COMMIT_S
    return uses[:3] + uses[3::3] if slow else uses


def _final(random: Random, nodes: int) -> Final:
    delay = random.choice((0.002, 0.002, 0.02, 0.2))
    pids = range(1, nodes + 1)
    cut: set[Link] = set()
    down: tuple[int, ...] = ()
    pattern = random.choice(("whole", "whole", "random", "random", "minority down", "star", "chain"))
    if pattern == "random":
        share = random.uniform(0.1, 0.6)
        cut = {(one, other) for one in pids for other in pids if one != other and random.random() < share}
    elif pattern == "star":
        hub = random.choice(pids)
        cut = {(one, other) for one in pids for other in pids if one != other and hub not in (one, other)}
    elif pattern == "chain":
        order = random.sample(pids, nodes)
        near = {(order[i], order[j]) for i in range(nodes) for j in range(nodes) if abs(i - j) == 1}
        cut = {(one, other) for one in pids for other in pids if one != other} - near
    elif pattern == "minority down":
        down = tuple(random.sample(pids, random.randint(1, (nodes - 1) // 2)))
    return Final(tuple(sorted(cut)), down, delay, delay, watch_s=1.5 if random.random() < 0.25 else 0.0)


def dump(plan: Plan) -> bytes:
    """As JSON, without default values."""
    return msgspec.json.format(msgspec.json.encode(plan), indent=1)


def load(data: bytes) -> Plan:
    """Reads what `dump` wrote. Raises msgspec.ValidationError for anything else."""
    return msgspec.json.decode(data, type=Plan)
