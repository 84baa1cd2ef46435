"""The search for one order of a conversation's calls that respects real time and explains every answer.

Depth first, with a memory of the configurations (calls that took effect, state) that led nowhere. What makes that fast
here is that a conversation only grows, so that what views show bounds the states worth visiting; each such shortcut
says below why it loses no solution, and the tests compare the whole with a search that has none of them.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Literal, NamedTuple, TypeAlias

import msgspec

from tests.simulation.history import ALWAYS, Args, Call, Op, is_free
from tests.simulation.model import State, Turn, agrees, apply, grows, growth, may_become, seen

_UNSEEN = "(never seen)"
_FIFO: frozenset[Op] = frozenset(("create", "query", "ask", "choose", "cancel"))
_PHASES: dict[str, frozenset[Op]] = {
    "missing": frozenset(("create",)),
    "settled": frozenset(("query", "ask")),
    "open": frozenset(("choose", "cancel", "candidate", "answer")),
}
"""By what a conversation is like, the operations that change it."""

Answer: TypeAlias = Literal["ok", "violation", "unknown"]


class _View(NamedTuple):
    """What some views show, all of them the same, and the set of these."""

    state: State
    calls: int


class _Config(NamedTuple):
    """A point of the search: which completed calls are placed, which open ones took effect or cannot do so any more,
    the state that these made.

    view: how many of the `_View`s are behind; returned: how many calls in order of return are known to be placed.
    """

    done: int
    used: int
    state: State
    view: int
    returned: int


class Search:
    """Sets of calls are bits of an int, numbered in order of invocation."""

    def __init__(self, calls: Sequence[Call], fifo: bool) -> None:
        self.explored = 0
        kept = [_early_if_stale(call) for call in calls if not (call.is_open and call.reads)]
        kept.sort(key=lambda call: call.invoked_at)  # stable: equal times keep the order in which they were recorded
        self._calls = _without_unseen_texts(kept)
        self._completed = self._set(not call.is_open for call in self._calls)
        self._refused = self._set(bool(call.result and not call.result.ok and not call.reads) for call in self._calls)
        self._effective = self._set(not call.reads for call in self._calls) & ~self._refused
        self._phases = {
            name: self._set(call.op in ops for call in self._calls) & self._effective for name, ops in _PHASES.items()
        }
        self._by_return = sorted(_bits(self._completed), key=lambda i: self._calls[i].returned_at or 0.0)
        self._windows = self._window_sets()
        self._views = self._view_sets()
        self._set_pins()
        self._set_fifo(fifo)
        self._set_classes()
        self._set_choosers()
        self._set_gone()
        self._conflict = self._set_owners()

    def _set(self, members: Iterator[bool] | Sequence[bool]) -> int:
        return sum(1 << i for i, member in enumerate(members) if member)

    def _window_sets(self) -> list[int]:
        """For each completed call in order of return: the calls that were invoked by then.

        Only these may come next as long as that call is not placed: anything else would come before it although it was
        invoked after its return.
        """
        times = [call.invoked_at for call in self._calls]
        return [(1 << bisect_right(times, self._calls[i].returned_at or 0.0)) - 1 for i in self._by_return]

    def _view_sets(self) -> list[_View]:
        """Views by what they show, in the order in which a growing conversation shows it."""
        shown: dict[State, int] = {}
        for i, call in enumerate(self._calls):
            if call.result is not None and call.reads:
                state = seen(call.result)
                shown[state] = shown.get(state, 0) | 1 << i
        return [_View(state, shown[state]) for state in sorted(shown, key=growth)]

    def _set_pins(self) -> None:
        """The turn that a call would add or change, where that is known: only then is it worth trying."""
        self._pin: list[int | None] = [
            (call.result.turn if call.result else None) or call.args.turn for call in self._calls
        ]
        self._pinned: dict[int | None, int] = {}
        for i, turn in enumerate(self._pin):
            self._pinned[turn] = self._pinned.get(turn, 0) | 1 << i

    def _set_fifo(self, fifo: bool) -> None:
        """By call: the completed calls of its process that must come before it, and the open ones, which do or never
        take effect."""
        self._after = [0] * len(self._calls)
        self._overtakes = [0] * len(self._calls)
        processes: dict[str, tuple[int, int]] = {}
        for i, call in enumerate(self._calls):
            if fifo and call.op in _FIFO and not is_free(call):
                self._after[i], self._overtakes[i] = completed, opened = processes.get(call.process, (0, 0))
                processes[call.process] = (completed, opened | 1 << i) if call.is_open else (completed | 1 << i, opened)
        # Refused calls whose placement may rule out an open one: not placed at once, but tried like any other.
        self._disturbing = self._refused & self._set(bool(overtaken) for overtaken in self._overtakes)

    def _set_classes(self) -> None:
        """Open calls that are as good as each other; of these, only the first that may come next is tried.

        That holds for equal calls if no call of their processes depends on them, and within one process.
        """
        overtaken = 0
        for calls in self._overtakes:
            overtaken |= calls
        self._class: list[tuple[Op, Args, str | None]] = []
        for i, call in enumerate(self._calls):
            alone = not overtaken >> i & 1 and not self._overtakes[i]
            self._class.append((call.op, call.args, None if alone else call.process))

    def _set_choosers(self) -> None:
        """Which refused chooses a candidate of a node could make succeed (or fail for another reason)."""
        self._choosers: dict[int | None, int] = {}
        self._empty_handed = 0
        self._answers: dict[tuple[int | None, int | None], set[bool]] = {}
        for i, call in enumerate(self._calls):
            if call.op == "choose" and self._refused >> i & 1:
                self._choosers[call.args.node] = self._choosers.get(call.args.node, 0) | 1 << i
                if call.result and call.result.reason == "nothing":
                    self._empty_handed |= 1 << i
            if call.op == "candidate" and self._effective >> i & 1:
                key = (call.args.turn, call.args.node)
                self._answers.setdefault(key, set()).add(call.args.text is None)

    def _set_gone(self) -> None:
        """By number of closed turns, the open calls that can take no effect any more."""
        opened = self._set(call.is_open for call in self._calls)
        self._gone = [self._phases["missing"] & opened]
        for turn in range(1, max((turn for turn in self._pinned if turn is not None), default=0) + 1):
            self._gone.append(self._gone[-1] | (self._pinned.get(turn, 0) & opened))

    def _set_owners(self) -> bool:
        """The calls that made unique things, where an answer says so. Returns whether two claim the same."""
        self._owner: dict[tuple[object, ...], int] = {}
        for i in _bits(self._completed & self._effective):
            thing = self._thing(i, self._pin[i])
            if thing is not None and self._owner.setdefault(thing, i) != i:
                return True
        return False

    def _thing(self, i: int, turn: int | None) -> tuple[object, ...] | None:
        """What this call makes if it takes effect at this turn (None: nobody knows which)."""
        call = self._calls[i]
        if call.op == "create":
            return ("conversation",)
        if turn is None:
            return None
        if call.op in ("query", "ask"):
            return ("turn", turn)
        if call.op == "candidate":
            return ("candidate", turn, call.args.node)
        return None if call.op == "answer" and call.args.text is None else ("end", turn)

    def run(self, budget: int) -> Answer:
        views = self._views
        if self._conflict or any(not grows(one.state, two.state) for one, two in pairwise(views)):
            return "violation"
        stack = [_Config(0, 0, None, 0, 0)]
        failed: dict[tuple[int, int | None, Turn | None], list[int]] = {}
        while stack:
            if self.explored >= budget:
                return "unknown"
            self.explored += 1
            config = self._advance(stack.pop())
            if config.returned == len(self._by_return):
                return "ok"
            # The closed turns need no place in the key: views, or their absence, make them the same for all.
            state = config.state
            seen_before = failed.setdefault(
                (config.done, None if state is None else len(state), state[-1] if state else None), []
            )
            # Whatever can be done from here could be done as well having used fewer of the open calls.
            if any(used & ~config.used == 0 for used in seen_before):
                continue
            seen_before.append(config.used)
            stack.extend(self._branches(config))
        return "violation"

    def _advance(self, config: _Config) -> _Config:
        """Places everything that may as well be placed at once."""
        done, used, state, view, returned = config
        before = None
        while before != (done, used):
            before = (done, used)
            while returned < len(self._by_return) and done >> self._by_return[returned] & 1:
                returned += 1
            if returned == len(self._by_return):
                break
            window = self._windows[returned] & ~done & ~used
            # What changes nothing and is answered rightly in this state can only be harder to place later.
            for i in _bits(window & self._refused):
                if not self._after[i] & ~done and not self._overtakes[i] & ~used and self._answered(i, state):
                    done |= 1 << i
            if view < len(self._views) and _equal(state, self._views[view].state):
                done |= self._views[view].calls & window
                if not self._views[view].calls & ~done:
                    view += 1
                    state = state if view < len(self._views) else _forget(state)
            if state and state[-1].is_open:
                done, used, state = self._welcome(window & ~done, done, used, state, view)
        return _Config(done, used, state, view, returned)

    def _welcome(self, window: int, done: int, used: int, state: State, view: int) -> tuple[int, int, State]:
        """Candidates that arrive now rather than later or never, as nobody left could tell.

        Of views, the next shows it already (and later ones do), or there is none. Of chooses, those that need it are
        helped; and there is no refused one left that it would disturb.
        """
        assert state is not None
        for i in _bits(window & self._pinned.get(len(state), 0) & self._phases["open"]):
            call = self._calls[i]
            if call.op != "candidate" or call.args.turn is None:
                continue
            if (self._choosers.get(call.args.node, 0) | self._empty_handed) & ~done:
                continue
            if view == len(self._views) and len(self._answers[call.args.turn, call.args.node]) > 1:
                continue
            after = self._take(i, state, view)
            if after is not None:
                state = after
                done, used = (done | 1 << i, used) if self._completed >> i & 1 else (done, used | 1 << i)
        return done, used, state

    def _answered(self, i: int, state: State) -> bool:
        call = self._calls[i]
        assert call.result is not None
        after, outcome = apply(state, call.op, call.args)
        return agrees(call.result, after, outcome)

    def _branches(self, config: _Config) -> list[_Config]:
        """The calls that may come next; the one to try first is last."""
        done, used, state, view, returned = config
        phase = "missing" if state is None else "open" if state and state[-1].is_open else "settled"
        target = (0 if state is None else len(state)) + (phase == "settled")
        worth = self._phases[phase] & (self._pinned.get(target, 0) | self._pinned.get(None, 0))
        next_ones = self._windows[returned] & ~done & ~used & (worth | self._disturbing)
        branches: list[_Config] = []
        for i in _bits(next_ones & self._completed):
            if self._after[i] & ~done:
                continue
            if self._refused >> i & 1:
                if self._answered(i, state):
                    branches.append(_Config(done | 1 << i, used | self._overtakes[i], state, view, returned))
                continue
            after = self._take(i, state, view)
            if after is not None:
                branches.append(_Config(done | 1 << i, self._spent(i, used, after), after, view, returned))
        branches.reverse()
        return self._open_branches(next_ones & ~self._completed, config) + branches

    def _open_branches(self, next_ones: int, config: _Config) -> list[_Config]:
        done, used, state, view, returned = config
        tried: set[tuple[Op, Args, str | None]] = set()
        branches: list[tuple[int, _Config]] = []
        for i in _bits(next_ones):
            if self._after[i] & ~done or self._class[i] in tried:
                continue
            tried.add(self._class[i])
            after = self._take(i, state, view)
            if after is not None:
                ruled_out = (self._overtakes[i] & ~used).bit_count()
                branch = _Config(done, self._spent(i, used | 1 << i, after), after, view, returned)
                branches.append((ruled_out, branch))
        # Those that rule out others come last: that one of the others was needed may show only much later.
        branches.sort(key=lambda item: -item[0])
        return [branch for _, branch in branches]

    def _take(self, i: int, state: State, view: int) -> State:
        """The state after this call took effect; None if it cannot, or if some completed call then never could."""
        call = self._calls[i]
        after, outcome = apply(state, call.op, call.args)
        if not outcome.ok or (call.result is not None and not agrees(call.result, after, outcome)):
            return None
        thing = self._thing(i, outcome.turn)
        if thing is not None and self._owner.get(thing, i) != i:
            return None
        if view == len(self._views):
            return (*after[:-1], _forget_turn(after[-1])) if after else after
        # All views that are left show this state or one that comes later.
        goal = self._views[view].state
        if goal is None or after is None or len(after) > len(goal):
            return None
        return after if not after or may_become(after[-1], goal[len(after) - 1]) else None

    def _spent(self, i: int, used: int, state: State) -> int:
        """The open calls that can take no effect any more after this call did."""
        closed = len(state) - state[-1].is_open if state else 0
        return used | self._overtakes[i] | self._gone[min(closed, len(self._gone) - 1)]


def _bits(members: int) -> Iterator[int]:
    while members:
        lowest = members & -members
        yield lowest.bit_length() - 1
        members ^= lowest


def _early_if_stale(call: Call) -> Call:
    """A stale view shows the past: it may be placed arbitrarily early."""
    return msgspec.structs.replace(call, invoked_at=ALWAYS) if call.result and call.result.stale else call


def _without_unseen_texts(calls: Sequence[Call]) -> list[Call]:
    """Texts that no view shows are all the same to the search."""
    texts: set[str | None] = {None}
    for call in calls:
        for turn in (call.result and call.result.turns) or ():
            texts.update((turn.query, *turn.candidates.values()))
    return [
        call if call.args.text in texts
        else msgspec.structs.replace(call, args=msgspec.structs.replace(call.args, text=_UNSEEN))
        for call in calls
    ]  # fmt: skip


def _equal(state: State, shown: State) -> bool:
    """Whether the state is what the next view shows, given that it may become it: then closed turns are the same."""
    if state is None or shown is None:
        return state is shown
    return len(state) == len(shown) and state[-1:] == shown[-1:]


def _forget(state: State) -> State:
    """What still matters of a state that no view will see."""
    return None if state is None else tuple(map(_forget_turn, state))


def _forget_turn(turn: Turn) -> Turn:
    if not turn.is_open:
        return Turn(turn.kind, None, chosen=0)
    return Turn(turn.kind, None, frozenset((node, None if text is None else _UNSEEN) for node, text in turn.candidates))
