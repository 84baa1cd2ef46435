"""Every pattern of failed links between five nodes, and whether the cluster converges under it.

    python -m tests.simulation.links                      the 1,024 symmetric patterns, one starting leader each
    python -m tests.simulation.links --all                the same from every kind of start
    python -m tests.simulation.links --one-way            one-way patterns in which one node alone can lead: a sample
    python -m tests.simulation.links --one-way --all      all of those, up to renaming, from every kind of start
    python -m tests.simulation.links --any                a random sample of all 2^20 one-way patterns
    python -m tests.simulation.links --members            the symmetric patterns, right after a change of the members

A run begins with a healthy cluster with a given leader (a copy of one that serves many runs), applies a pattern at
once, and lets every node's user submit an operation. If some node still reaches a majority directly, then one such node
must come to lead, everything submitted at a node with a path to it and back must be decided and applied there, and from
then on the ballots must be stable.

After a change of the members a pattern strikes as soon as so many nodes know of it that each majority has one of them.
(Before that, a majority of the new members may be left alone that neither knows of the change nor can decide it.)
"""

from __future__ import annotations

import argparse
import multiprocessing
import pickle
import statistics
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import cache
from itertools import product
from random import Random

import msgspec

from kvstore.operations import Create
from paxos.ballot import Leadership
from paxos.messages import AnyMessage, Change, Prepare
from tests.simulation.copies import dump
from tests.simulation.patterns import (
    ARROWS,
    NODES,
    PAIRS,
    Pattern,
    Renamings,
    able,
    connected,
    mutual,
    one_way_classes,
    reachable,
    renamed,
    symmetric,
)
from tests.simulation.world import SIM_TIMING, Node, Observer, Weather, World

RESTART = 0
"""As a starting leader: none. All nodes crash, and restart under the pattern."""
FIRST = -1
"""As a starting leader: none yet. The nodes start for the first time under the pattern, with empty disks."""
STARTS = (FIRST, RESTART, *NODES)

TIMING = msgspec.structs.replace(SIM_TIMING, tick_s=0.05)
"""Ticks half as often as other simulations do: there are many runs."""
ADDED, RECOVERED = "added", "recovered"
SETTLES_WITHIN_S = 8.0
"""Virtual seconds; the detectors need 0.5 to 5 of them to believe that a link is gone."""
OBSERVED_S = 3.0
"""How long the ballots must be stable afterwards: six times the election time."""
LOOK_EVERY_S = 0.025
FORMATIONS = 4
"""So many healthy clusters of a kind are formed, with different seeds, for runs to begin with."""


# ---- One run


class Standings(Observer):
    """Records campaigns."""

    def __init__(self) -> None:
        self.claims: set[Leadership] = set()
        self.last = 0.0
        """The time of the last campaign."""

    def sent(self, world: World, node: Node, to: int, message: AnyMessage) -> None:
        if type(message) is Prepare and message.ballot.leadership not in self.claims:
            self.claims.add(message.ballot.leadership)
            self.last = world.now


class Case(msgspec.Struct, frozen=True):
    pattern: Pattern
    leader: int
    """The leader when the pattern is applied; RESTART or FIRST for none."""
    seed: int = 0
    delay_s: float = 0.002
    shaken: bool = False
    """Random one-way patterns come and go before the pattern that stays."""
    change: str = ""
    """Of the members, right before the pattern: one was ADDED, or has RECOVERED with a new disk."""

    @property
    def newcomer(self) -> int:
        """The node that this is about."""
        return self.leader % len(NODES) + 1

    @property
    def formation(self) -> Case:
        """Equal for cases that begin with the same healthy cluster."""
        if self.shaken or self.leader == FIRST:
            return self
        change = ADDED if self.change == ADDED else ""
        return Case(frozenset(), self.leader, self.seed % FORMATIONS, self.delay_s, change=change)

    def __str__(self) -> str:
        links = " ".join(
            f"{one}{'-' if (other, one) in self.pattern else '>'}{other}"
            for one, other in sorted(self.pattern) if one < other or (other, one) not in self.pattern
        )
        shaken = " shaken" if self.shaken else ""
        leader = {RESTART: "none", FIRST: "none yet"}.get(self.leader, str(self.leader))
        delay = f"{self.delay_s * 1000:g}"
        return f"links [{links}] leader {leader} delay {delay} ms seed {self.seed}{shaken} {self.change}"


class Result(msgspec.Struct):
    case: Case
    settled: bool = True
    seconds: float = 0.0
    """From the pattern's start until there is a leader and all that must be decided was."""
    still: float = 0.0
    """From the pattern's start until the last campaign."""
    elections: int = 0
    """Leaderships claimed since, by any node, even those that cannot know yet that they are cut off."""
    problem: str = ""


class Run:
    """One cluster under one pattern."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.standings = Standings()
        weather = Weather(delay=case.delay_s, jitter=case.delay_s)
        added = case.change == ADDED
        pids = sorted(NODES, key=lambda pid: (added and pid == case.newcomer, pid))
        self.world = World(case.formation.seed, pids, timing=TIMING, observers=[self.standings], weather=weather,
                           members=len(NODES) - added)
        self._number = 0
        self._pending: set[tuple[int, int]] = set()
        self._unformed = ""

    def form(self) -> None:
        """What all cases of the same formation begin with."""
        try:
            if self.case.leader != FIRST:
                self._form()
        except _Unsettled as problem:
            self._unformed = str(problem)

    def strike(self, case: Case) -> Result:
        """What follows, for one case of that formation."""
        self.case = case
        result = Result(case, not self._unformed, problem=self._unformed)
        if not result.settled:
            return result
        try:
            self._part()
            if case.shaken:
                self._shake()
            if case.change:
                self._change()
            self._observe(result)
        except _Unsettled as problem:
            result.settled, result.problem = False, str(problem)
        return result

    # The phases

    def _form(self) -> None:
        """A healthy cluster with the wanted leader, which has decided something."""
        self.world.start()
        self._until(lambda: self._leader() is not None, "no first leader")
        leader = self.case.leader or NODES[0]
        if self._leader() != leader:
            self._apply(frozenset(arrow for arrow in ARROWS if leader in arrow))
            self._until(lambda: self._leader() == leader, f"{leader} does not take over")
            self._apply(frozenset(ARROWS))
        for node in NODES:
            self._submit(node)
        self._until(lambda: not self._pending and self._agreed(NODES), "the healthy cluster does not settle")
        self.world.run(0.5)

    def _part(self) -> None:
        """From here on runs that began alike go different ways, at different moments between two heartbeats."""
        world, case = self.world, self.case
        if case.formation != case:
            world.random.seed(case.seed)
            for node in world.nodes.values():
                node.process.random.seed(world.random.random())
            world.run(world.random.random() * world.timing.heartbeat_s)
        if case.leader == RESTART:
            for node in world.nodes.values():
                node.crash()

    def _change(self) -> None:
        world, newcomer = self.world, self.world.nodes[self.case.newcomer]
        if self.case.change == ADDED:
            world.nodes[self.case.leader].process.change_members(Change.ADD, newcomer.pid)
        else:
            newcomer.crash()
            newcomer.wipe()
            newcomer.start()

        def known() -> bool:
            return sum(node.replica.registry.number == 2 for node in world.nodes.values()) > len(NODES) // 2

        if not world.run_until(known, SETTLES_WITHIN_S):
            raise _Unsettled("the members do not change")

    def _shake(self) -> None:
        random = Random(self.case.seed)
        for node in self.world.nodes.values():
            if not node.up:
                node.start()
        for _ in range(random.randrange(4, 16)):
            share = random.random()
            self._apply(frozenset(arrow for arrow in ARROWS if random.random() < share))
            self._submit(random.choice(NODES))
            self.world.run(self._slow(random.random() ** 2 * 1.5))

    def _observe(self, result: Result) -> None:
        world, pattern = self.world, self.case.pattern
        struck, before = world.now, len(self.standings.claims)
        self._apply(pattern)
        world.start(node.pid for node in world.nodes.values() if not node.up)
        for node in NODES:
            self._submit(node)
        leaders = able(pattern)
        if leaders:
            self._until(lambda: self._settled(leaders), "not settled")
            result.seconds = world.now - struck
        self._until(self._aware, "the nodes' picture of their links does not become true")
        if leaders:
            self._until(lambda: self._settled(leaders), "not settled for good")
        result.elections = len(self.standings.claims) - before
        result.still = max(0.0, self.standings.last - struck)
        self._stand_still(leaders)
        self._heal()

    def _stand_still(self, leaders: list[int]) -> None:
        world = self.world
        nodes = list(world.nodes.values())
        if self.case.change and leaders:
            # Elsewhere a newcomer may yet promise the claim of who is left alone with it.
            nodes = [world.nodes[pid] for pid in connected(self.case.pattern, self._leader() or leaders[0])]
        ballots = [node.replica.acceptor.promised for node in nodes]
        claims = len(self.standings.claims)
        world.run(self._slow(OBSERVED_S) / 2)
        if leaders:
            for node in connected(self.case.pattern, self._leader() or leaders[0]):
                self._submit(node)
            self._until(lambda: self._settled(leaders), "an operation submitted later is not decided")
        world.run(self._slow(OBSERVED_S) / 2)
        if len(self.standings.claims) != claims:
            raise _Unsettled(f"{len(self.standings.claims) - claims} elections after all was settled")
        if leaders and [node.replica.acceptor.promised for node in nodes] != ballots:
            raise _Unsettled("ballots moved after all was settled")

    def _heal(self) -> None:
        """Restores all links: everything pending gets decided, and all nodes have the same state."""
        self._apply(frozenset(ARROWS))
        self._until(lambda: not self._pending and self._agreed(NODES), "does not heal")
        stores = [node.store.digest() for node in self.world.nodes.values()]
        applied = [node.replica.applied for node in self.world.nodes.values()]
        if len(set(zip(applied, stores, strict=True))) != 1:
            raise _Unsettled(f"stores differ: {applied} {stores}")

    # Helpers

    def _slow(self, seconds: float) -> float:
        """More time for slow links: in proportion to their delay from 50 ms on."""
        return seconds * max(1.0, self.case.delay_s * 20)

    def _apply(self, pattern: Pattern) -> None:
        self.world.weather.cut = set(ARROWS) - pattern

    def _submit(self, pid: int) -> None:
        self._number += 1
        ticket = (pid, self._number)
        self._pending.add(ticket)
        self.world.nodes[pid].submit(
            Create(f"c{self._number}"), lambda applied, outcome: self._pending.discard(ticket)
        )

    def _leader(self) -> int | None:
        """The only node that leads and considers itself able to, with the highest leadership."""
        leading = [node.pid for node in self.world.nodes.values()
                   if node.up and node.replica.leader is not None and node.replica.status().role == "leader"]
        return leading[0] if len(leading) == 1 else None

    def _agreed(self, nodes: Iterable[int]) -> bool:
        """All of `nodes` follow the one leader, and have applied the same."""
        leader = self._leader()
        replicas = [self.world.nodes[pid].replica for pid in nodes]
        return (
            leader is not None
            and all(replica.status().leader == leader for replica in replicas)
            and len({replica.applied for replica in replicas}) == 1
        )

    def _aware(self) -> bool:
        """Every node knows its own links, the live nodes that messages can reach it from, and their links."""
        pattern = self.case.pattern
        heard = {pid: {one for one, other in pattern if other == pid} for pid in NODES}
        return all(
            net.hears == heard[net.pid]
            and net.fresh == {one for one in NODES if net.pid in reachable(pattern, one)}
            and all(heard[pid].issuperset(net.states[pid].hears) for pid in net.fresh)
            for net in (node.replica.net for node in self.world.nodes.values())
        )

    def _settled(self, leaders: list[int]) -> bool:
        leader = self._leader()
        if leader not in leaders:
            return False
        near = connected(self.case.pattern, leader)
        return self._agreed(near) and not any(pid in near for pid, _ in self._pending)

    def _until(self, condition: Callable[[], bool], problem: str) -> None:
        end = self.world.now + self._slow(SETTLES_WITHIN_S)
        while not condition():
            if self.world.now >= end:
                raise _Unsettled(f"{problem} ({self._picture()})")
            self.world.run(LOOK_EVERY_S)

    def _picture(self) -> str:
        states = (node.replica.status() for node in self.world.nodes.values())
        return "; ".join(f"{s.node} {s.role} follows {s.leader} promised {s.promised} decided {s.decided}"
                         for s in states) + f"; pending {sorted(self._pending)}"


class _Unsettled(Exception):
    """Describes what did not happen."""


@cache
def formed(formation: Case) -> bytes:
    """The run after its first phase, to be loaded as often as there are cases of that formation."""
    first = Run(formation)
    first.form()
    return dump(first)


def run(case: Case) -> Result:
    if case.formation == case:
        alone = Run(case)
        alone.form()
        return alone.strike(case)
    shared: Run = pickle.loads(formed(case.formation))
    return shared.strike(case)


# ---- Which cases


def symmetric_cases(every_start: bool, seed: int = 1, delay_s: float = 0.002, shaken: bool = False) -> list[Case]:
    """Without `every_start`, each pattern from one start, and further runs until each kind of start has occurred: each
    place that the leader can have in a pattern, but for the names of nodes."""
    picked: dict[tuple[int, int], None] = {}
    missing: dict[tuple[int, int], tuple[int, int]] = {}
    renamings = {RESTART: Renamings(), 1: Renamings(1)}
    shapes: set[int] = set()
    for number in range(1 << len(PAIRS)):
        picked[number, STARTS[number * 5 % len(STARTS)]] = None
        shape = renamings[RESTART].canonical(symmetric(number))
        if shape not in shapes:
            shapes.add(shape)
            missing.update({_place(number, start, renamings): (number, start) for start in STARTS})
    for case in picked:
        missing.pop(_place(*case, renamings), None)
    if every_start:
        picked.update(dict.fromkeys(product(range(1 << len(PAIRS)), STARTS)))
    picked.update(dict.fromkeys(missing.values()))
    return [Case(symmetric(number), start, seed * 10_000 + number, delay_s, shaken) for number, start in picked]


def members_cases(every_change: bool, seed: int = 1, delay_s: float = 0.002) -> list[Case]:
    """Each symmetric pattern after one change or the other, or after both; each with some node as the leader."""
    return [
        Case(symmetric(number), NODES[number * 3 % len(NODES)], seed * 10_000 + number, delay_s, change=change)
        for number in range(1 << len(PAIRS))
        for change in ((ADDED, RECOVERED) if every_change else (ADDED,) if number.bit_count() % 2 else (RECOVERED,))
    ]


def _place(number: int, start: int, renamings: dict[int, Renamings]) -> tuple[int, int]:
    """Which kind of start this is."""
    if start not in NODES:
        return start, renamings[RESTART].canonical(symmetric(number))
    swapped = tuple(start if node == 1 else 1 if node == start else node for node in NODES)
    return 1, renamings[1].canonical(renamed(symmetric(number), swapped))


def one_way_cases(sample: int | None, seed: int = 1, delay_s: float = 0.002, shaken: bool = False) -> list[Case]:
    """Every class under a random renaming, from every start; or a sample of these."""
    random = Random(seed)
    cases: list[Case] = []
    for number, pattern in enumerate(one_way_classes()):
        for start in STARTS:
            order = list(NODES)
            random.shuffle(order)
            cases.append(Case(renamed(pattern, tuple(order)), start, number * len(STARTS) + start, delay_s, shaken))
    return cases if sample is None else random.sample(cases, sample)


def any_cases(sample: int, seed: int = 1, delay_s: float = 0.002, shaken: bool = False) -> list[Case]:
    """Patterns out of all 2^20, mostly ones in which some node can lead."""
    random = Random(seed)
    cases = []
    for number in range(sample):
        share = random.uniform(0.4, 0.95)
        pattern = frozenset(arrow for arrow in ARROWS if random.random() < share)
        cases.append(Case(pattern, random.choice(STARTS), number, delay_s, shaken))
    return cases


# ---- The table


def kind(pattern: Pattern) -> tuple[int, str, str]:
    """(links that work in both directions, one-way links, how many nodes can lead)."""
    both = sum((other, one) in pattern for one, other in pattern) // 2
    degrees = "".join(str(mutual(pattern, node)) for node in sorted(NODES, key=lambda n: -mutual(pattern, n)))
    return both, degrees, f"{len(able(pattern))}"


def table(results: Iterable[Result]) -> str:
    groups: dict[tuple[int, str, str], list[Result]] = defaultdict(list)
    for result in results:
        groups[kind(result.case.pattern)].append(result)
    lines = ["links  degrees  able   runs  settled  median s   max s  still s  elections"]
    everything: list[Result] = []
    for (both, degrees, leaders), group in sorted(groups.items()):
        everything += group
        lines.append(f"{both:5}  {degrees:>7}  {leaders:>4}  {_numbers(group, leaders != '0')}")
    lines.append(f"{'all':>5}  {'':7}  {'':4}  {_numbers(everything, True)}")
    return "\n".join(lines)


def _numbers(group: list[Result], times: bool) -> str:
    settled = sum(result.settled for result in group)
    seconds = [result.seconds for result in group if result.settled and able(result.case.pattern)]
    elections = [result.elections for result in group]
    spread = f"{statistics.median(seconds):8.2f}  {max(seconds):6.2f}" if times and seconds else f"{'-':>8}  {'-':>6}"
    still = max(result.still for result in group)
    stood = f"{statistics.mean(elections):.2f} (most {max(elections)})"
    return f"{len(group):5}  {settled:7}  {spread}  {still:7.2f}  {stood}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.links", description="Every link pattern.")
    parser.add_argument("--one-way", action="store_true", help="one-way patterns in which one node alone can lead")
    parser.add_argument("--any", action="store_true", help="a random sample of all 2^20 one-way patterns")
    parser.add_argument("--members", action="store_true", help="right after a change of the members")
    parser.add_argument("--all", action="store_true", help="from every start; with --one-way, every class")
    parser.add_argument("--sample", type=int, default=600, help="runs of --any, and of --one-way without --all")
    parser.add_argument("--seed", type=int, default=1, help="of the sample and the renaming")
    parser.add_argument("--delay", type=float, default=2.0, help="of every link, in ms; the jitter is as large again")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--shaken", action="store_true", help="other random patterns come and go before")
    options = parser.parse_args()
    delay_s = options.delay / 1000
    if options.members:
        cases = members_cases(options.all, options.seed, delay_s)
    elif options.any:
        cases = any_cases(options.sample, options.seed, delay_s, options.shaken)
    elif options.one_way:
        cases = one_way_cases(None if options.all else options.sample, options.seed, delay_s, options.shaken)
    else:
        cases = symmetric_cases(options.all, options.seed, delay_s, options.shaken)
    with multiprocessing.Pool(options.jobs) as pool:
        results = list(pool.imap(run, cases, chunksize=8))
    print(table(results))
    failed = [result for result in results if not result.settled]
    for result in failed[:20]:
        print(f"NOT SETTLED: {result.case}: {result.problem}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
