"""How far other nodes may drive this one's numbers up. Whatever a single frame says, there is something left to add.

A promise cannot be taken back, and a node that comes later must outbid whatever was claimed before it: so a number that
is taken in counts for ever, on every disk that it gets to. Two kinds of numbers have that power:

- sequence numbers of leaderships, which honest nodes raise by one with every campaign;
- incarnations, which are the time of day in microseconds, or a little more (see paxos/learner.py).

Each has a ceiling, far above what honest nodes get to in decades. What is above it is not believed; but if it is told
again, the ceiling has risen by one step meanwhile, and it rises by no more than one step a second.

Why hostile frames cannot brick a node: to drive a ceiling to where messages end (paxos/bounds.py) takes them two years
without a pause, and thirty for sequence numbers.

Why honest nodes always get through: what all of them have taken in by time t is at most a step for each second of
hostile frames above where a new node's ceiling is. Whoever was away meanwhile refuses it at first, is told it again at
least as often as heartbeats come, and is level after as many seconds. A cluster that never met a hostile frame is never
above the ceiling at all, however long a node was cut off.

Incarnations of operations are in the decided log, where all nodes must judge alike: there `Sessions` limits the step
from one to the next, by the same numbers and without a clock.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from msgspec.structs import replace

from paxos.ballot import Ballot, Leadership
from paxos.messages import (
    Accept,
    Accepted,
    AnyMessage,
    Confirm,
    Decide,
    Heartbeat,
    NodeState,
    Outranked,
    Prepare,
    Promise,
    Stamp,
    Vouched,
)

STEP_S = 1.0
"""A ceiling rises by one step in this time at most."""
USUAL_SEQ_NUM = 2**40
"""A campaign a millisecond gets there in 34 years."""
SEQ_NUM_STEP = 2**32
MOST_WRITES = 2**40
"""Of one process on its disk: one a millisecond for 34 years."""
YEAR_US = 31_557_600_000_000
USUAL_INCARNATION = (2026 - 1970 + 20) * YEAR_US
"""Nobody's clock is right that shows a later year, unless this node's own does, too."""
INCARNATION_STEP = 2**36
"""More than any two incarnations of a node differ that follow upon each other beyond what a clock shows."""


class Ceiling:
    """Of one kind of number."""

    def __init__(self, limit: int, step: int) -> None:
        self._limit = limit
        self._step = step
        self._due = -math.inf

    def covers(self, number: int, now: float) -> bool:
        """False for a number that is not believed now. The same one may be, if it is told again."""
        if number <= self._limit:
            return True
        if now >= self._due:
            self._due = now + STEP_S
            self._limit += self._step
        return False


class Ceilings:
    """What of a message may be believed."""

    def __init__(self, promised: Ballot, incarnation: int) -> None:
        self._seq_nums = Ceiling(max(USUAL_SEQ_NUM, promised.seq_num) + SEQ_NUM_STEP, SEQ_NUM_STEP)
        self._incarnations = Ceiling(max(USUAL_INCARNATION, incarnation) + INCARNATION_STEP, INCARNATION_STEP)

        self._refusals: dict[type, Callable[[int, Any, float], str | None]] = {
            Prepare: self._of_owner, Accept: self._of_owner, Confirm: self._of_owner, Decide: self._of_owner,
            Outranked: self._of_outranked, Promise: self._of_vote, Accepted: self._of_vote,
        }

    def refusal(self, sender: int, message: AnyMessage, now: float) -> str | None:
        """Why this must not be taken in, in words; None if it may."""
        refusal = self._refusals.get(type(message))
        return None if refusal is None else refusal(sender, message, now)

    def _of_owner(self, sender: int, message: Prepare | Accept | Confirm | Decide, now: float) -> str | None:
        """Only its owner speaks for a leadership."""
        ballot = message.ballot
        if ballot.pid != sender:
            return f"a {type(message).__name__} in the name of node {ballot.pid}"
        return self._of_leadership(ballot.leadership, now)

    def _of_outranked(self, sender: int, message: Outranked, now: float) -> str | None:
        return self._of_leadership(message.promised.leadership, now)

    def _of_leadership(self, leadership: Leadership, now: float) -> str | None:
        return None if self._covers(leadership, now) else f"nobody can have campaigned {leadership[0]} times"

    def _of_vote(self, sender: int, message: Promise | Accepted, now: float) -> str | None:
        return None if self._can_be(message.stamp, now) else f"a write that cannot be, {message.stamp}"

    def _covers(self, leadership: Leadership, now: float) -> bool:
        return self._seq_nums.covers(leadership[0], now)

    def believable(self, message: Heartbeat, now: float) -> Heartbeat:
        """Without what it says of nodes that cannot be."""
        states = [state for state in message.states if self._is_believable(state, now)]
        remembered = self._remembered(message.remembered, now)
        if len(states) == len(message.states) and len(remembered) == len(message.remembered):
            return message
        return replace(message, states=states, remembered=remembered)

    def _is_believable(self, state: NodeState, now: float) -> bool:
        return (
            self._incarnations.covers(state.version[0], now)
            and self._covers(state.leading, now) and self._covers(state.promised, now)
        )

    def _remembered(self, remembered: Mapping[int, Vouched], now: float) -> dict[int, Vouched]:
        return {pid: told for pid, told in remembered.items() if self._can_be(told.stamp, now)}

    def _can_be(self, stamp: Stamp, now: float) -> bool:
        incarnation, writes = stamp
        return writes <= MOST_WRITES and self._incarnations.covers(incarnation, now)
