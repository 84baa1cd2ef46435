"""Judges a cluster after the faults: whether all guarantees hold, and how long users waited."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import msgspec

from tests.cluster.fleet import Fleet, Member
from tests.cluster.workers import LAST, Crowd
from tests.simulation.history import Call, Result, infer_candidates
from tests.simulation.linearizability import Verdict, check

SETTLE_S = 60.0
"""The recovery timeout after the last fault, on a machine with other load."""
BUDGET = 3_000_000
"""Configurations to look at: calls without an answer, of users whose node was killed, take more than simulated ones."""
UNAVAILABLE_S = 1.0
"""This long without an answer anywhere counts as unavailability."""


class Waits(NamedTuple):
    """In seconds. `windows` are times in which no operation was answered at any node (stale views are no answers), from
    the first call to the last answer, as (begin, end)."""

    longest: float
    longest_call: Call | None
    windows: list[tuple[float, float]]
    began: float
    ended: float


def waits(history: Sequence[Call]) -> Waits:
    answered = [(call.returned_at, call) for call in history if call.returned_at is not None and call.process != LAST]
    fresh = sorted(at for at, call in answered if call.result is None or not call.result.stale)
    began = min((call.invoked_at for call in history), default=0.0)
    times = [began, *fresh]
    windows = [(a, b) for a, b in pairwise(times) if b - a > UNAVAILABLE_S]
    longest = max(((at - call.invoked_at, number) for number, (at, call) in enumerate(answered)), default=(0.0, -1))
    slowest = answered[longest[1]][1] if answered else None
    return Waits(longest[0], slowest, windows, began, times[-1])


def linearizable(history: Sequence[Call]) -> Verdict:
    """The LLMs' actions are not in the history: they are inferred from what users saw. The fake LLM never says the same
    again when a node is asked again. A view that is marked as possibly stale is not judged as a linearizable read, but
    it must still show a state that once existed."""
    return check(infer_candidates(history, repeating=False), budget=BUDGET)


async def settled(fleet: Fleet, crowd: Crowd) -> list[str]:
    """Problems after the faults have stopped: nodes that differ, conversations that are missing."""
    try:
        await fleet.all_show(_equal, SETTLE_S)
    except TimeoutError as error:
        return [f"not converged within {SETTLE_S:g} s: {error}"]
    problems = []
    created = crowd.created()
    shown: list[bytes] = []
    for member in fleet.members.values():
        result = await _fresh(crowd, member)
        if result is None or result.conversations is None:
            problems.append(f"{member.name} shows nothing, or something stale, although all faults have ended")
            continue
        missing = [context for context in created if context not in result.conversations]
        if missing:
            problems.append(f"{member.name} has lost acknowledged conversations: {', '.join(missing)}")
        shown.append(msgspec.json.encode(result.conversations))
    if len(set(shown)) > 1:
        problems.append("the nodes show different conversations")
    return problems


async def _fresh(crowd: Crowd, member: Member) -> Result | None:
    """What it shows, once it does so in time; what it shows last if it does not."""
    loop = asyncio.get_running_loop()
    until = loop.time() + SETTLE_S
    while True:
        result = await crowd.look(member)
        if (result is not None and result.conversations is not None) or loop.time() > until:
            return result


def _equal(seen: list[dict[str, object]]) -> bool:
    """All know the same, and vote with the disks that they have."""
    same = len({(one["applied"], one["decided"], one["digest"]) for one in seen}) == 1
    return same and all(one["standing"] == "voter" for one in seen)
