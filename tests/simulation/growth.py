"""How conversations grow, and what views say of it: the bounds of the search in orders.py.

A conversation only gains: turns, candidates of the last turn, the end of that turn. The one exception is a retry,
which takes candidates away as long as the turn is open. So what matters is which retries may come before a view.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import NamedTuple, TypeAlias

from tests.simulation.model import State, Turn

UNSEEN = "(never seen)"

Nodes: TypeAlias = frozenset[int | None]
"""Nodes that may be asked again; None stands for all of them."""

NOBODY: Nodes = frozenset()
ALL: Nodes = frozenset([None])


class Shown(NamedTuple):
    """What some views show, all of them the same.

    views, before: sets of calls: these views, and all that were invoked by the time that the first of these returned;
    nothing else can come before it.
    """

    state: State
    views: int
    before: int


class Stage(NamedTuple):
    """What these views show comes before what those of the next stage show. If it is more than one thing, its order is
    not known, and it may come more than once."""

    shown: tuple[Shown, ...]
    views: int


def stages(shown: Iterable[Shown], may_lose: Callable[[int], bool]) -> list[Stage]:
    """may_lose: whether this turn may lose candidates while it is open."""
    grouped: list[list[Shown]] = []
    for one in sorted(shown, key=lambda one: _growth(one.state)):
        if grouped and _same_open_turn(grouped[-1][-1].state, one.state, may_lose):
            grouped[-1].append(one)
        else:
            grouped.append([one])
    return [Stage(tuple(group), sum(one.views for one in group)) for group in grouped]


def contradict(stages: Iterable[Stage], may_lose: Callable[[int], bool]) -> bool:
    """Whether no conversation, however it grew, can have shown all this."""
    states = [shown.state for stage in stages for shown in stage.shown]
    return any(not _grows(one, two, may_lose) for one, two in pairwise(states))


def leads_to(state: State, later: State, lost: Nodes) -> bool:
    """Whether the state could become the later one, if all its closed turns are the same as there and `lost` may be
    asked again in its open one."""
    if not state or later is None:
        return state is None or later is not None
    return len(state) <= len(later) and may_become(state[-1], later[len(state) - 1], lost)


def may_become(turn: Turn, later: Turn, lost: Nodes) -> bool:
    """Whether a turn could still look like `later`: a closed one never changes, an open one loses no more than what
    these nodes said."""
    if not turn.is_open:
        return turn == later
    if turn.kind != later.kind or turn.text != later.text:
        return False
    if None in lost or turn.candidates <= later.candidates:
        return True
    answers = dict(later.candidates)
    # An ask that failed may be answered by the same node after all.
    replaced = (None,) if turn.kind == "ask" else ()
    return all(
        node in lost or (node in answers and text in (*replaced, answers[node])) for node, text in turn.candidates
    )


def shows(state: State, shown: State) -> bool:
    """Whether the state is what a view shows, given that it may become it: then closed turns are the same."""
    if not state or not shown:
        return state == shown
    return len(state) == len(shown) and state[-1]._replace(retries=frozenset()) == shown[-1]


def forget(state: State) -> State:
    """What still matters of a state that no view will see."""
    return None if state is None else tuple(map(forget_turn, state))


def forget_turn(turn: Turn) -> Turn:
    if not turn.is_open:
        return Turn(turn.kind, None, chosen=0)
    answered = frozenset((node, None if text is None else UNSEEN) for node, text in turn.candidates)
    return Turn(turn.kind, None, answered, retries=turn.retries)


def _growth(state: State) -> tuple[int, ...]:
    """A key that sorts the states of a growing conversation."""
    if state is None:
        return ()
    if not state:
        return (0,)
    last = state[-1]
    return (len(state), not last.is_open, len(last.candidates), sum(text is not None for _, text in last.candidates))


def _same_open_turn(one: State, two: State, may_lose: Callable[[int], bool]) -> bool:
    return bool(one and two and len(one) == len(two) and one[-1].is_open and two[-1].is_open and may_lose(len(one)))


def _grows(one: State, two: State, may_lose: Callable[[int], bool]) -> bool:
    """Whether the first state could become the second."""
    if not one or two is None:
        return one is None or two is not None
    lost = ALL if may_lose(len(one)) else NOBODY
    return len(one) <= len(two) and all(may_become(turn, later, lost) for turn, later in zip(one, two, strict=False))
