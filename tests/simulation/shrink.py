"""Shrinks a failing plan: fewer events, nodes and faults, as long as the same checker still reports it.

Leaving something out changes what comes after it, down to the dice of single messages. So whatever no longer fails is
tried again with a few other dice before it is put back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from tests.simulation.events import AnyEvent, ChangeMembers, Cut, Hint
from tests.simulation.plan import Final, Llm, Plan
from tests.simulation.scenario import Run, execute
from tests.simulation.world import SIM_LIMITS, Weather

DICE = 3
"""How many other seeds are tried for a smaller plan."""


class Shrinker:
    def __init__(self, plan: Plan, budget: int, told: Callable[[str], None]) -> None:
        self.run: Run = execute(plan)
        self.runs = 1
        if self.run.checker is None:
            raise ValueError("this plan does not fail")
        self._budget = budget
        self._told = told

    def shrink(self) -> Run:
        """The smallest failing run that was found within the budget of runs."""
        before = None
        while before != self.run.plan and self.runs < self._budget:
            before = self.run.plan
            self._cut_off()
            self._drop_events()
            for simpler in self._simpler():
                self._try(simpler)
        return self.run

    def _try(self, plan: Plan) -> bool:
        """Takes the plan in place of the one so far, if it fails in the same way."""
        if plan == self.run.plan:
            return False
        for dice in range(DICE + 1):
            if self.runs >= self._budget:
                return False
            self.runs += 1
            run = execute(msgspec.structs.replace(plan, seed=plan.seed + dice))
            if run.checker == self.run.checker:
                self.run = run
                self._told(f"{self.runs} runs: {len(run.plan.events)} events, {run.plan.nodes} nodes, "
                           f"{run.messages} messages")
                return True
        return False

    def _cut_off(self) -> None:
        """Drops everything after the violation."""
        plan, end = self.run.plan, self.run.virtual_s
        if end < plan.safety_s:
            events = tuple(event for event in plan.events if event.at <= end)
            self._try(msgspec.structs.replace(plan, events=events))

    def _drop_events(self) -> None:
        """Leaves out halves, quarters ... single events (after Zeller's delta debugging)."""
        size = max(1, len(self.run.plan.events) // 2)
        while True:
            start = 0
            while start < len(self.run.plan.events):
                events = self.run.plan.events
                rest = events[:start] + events[start + size :]
                if not self._try(msgspec.structs.replace(self.run.plan, events=rest)):
                    start += size
            if size == 1:
                return
            size //= 2

    def _simpler(self) -> Iterator[Plan]:
        """Plans with one fault less. Each is derived from the current plan."""
        replace = msgspec.structs.replace
        if self.run.plan.nodes > 3:
            yield without_nodes(self.run.plan, 3)
            yield without_nodes(self.run.plan, self.run.plan.nodes - 2)
        yield replace(self.run.plan, drift=())
        yield replace(self.run.plan, late=())
        yield replace(self.run.plan, final=Final())
        yield replace(self.run.plan, llm=Llm())
        yield replace(self.run.plan, limits=SIM_LIMITS)
        yield replace(self.run.plan, weather=Weather())
        for name in ("loss", "duplicate", "straggle", "jitter", "turn_s", "bandwidth"):
            yield replace(self.run.plan, weather=replace(self.run.plan.weather, **{name: 0.0}))
        for name in ("delay", "fsync"):
            yield replace(self.run.plan, weather=replace(self.run.plan.weather, **{name: 0.002}))
        yield replace(self.run.plan, weather=replace(self.run.plan.weather, slow_disks={}))
        yield replace(self.run.plan, safety_s=self.run.plan.safety_s / 2)


def without_nodes(plan: Plan, nodes: int) -> Plan:
    """The plan for the first so many nodes only."""
    return msgspec.structs.replace(
        plan, nodes=nodes, spares=0, events=tuple(event for event in plan.events if _mentions(event) <= nodes),
        drift=plan.drift[:nodes], late=plan.late[:nodes],
        final=Final(
            tuple(link for link in plan.final.cut if max(link) <= nodes),
            tuple(pid for pid in plan.final.down if pid <= nodes), plan.final.delay, plan.final.jitter,
            plan.final.watch_s,
        ),
    )


def _mentions(event: AnyEvent) -> int:
    """The highest number of a node in it."""
    match event:
        case Cut(links=links):
            return max((max(link) for link in links), default=0)
        case Hint(pid=pid, peer=peer):
            return max(pid, peer)
        case ChangeMembers(pid=pid, member=member):
            return max(pid, member)
        case _:
            return getattr(event, "pid", 0)
