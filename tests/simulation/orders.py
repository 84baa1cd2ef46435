"""The search for one order of a conversation's calls that respects real time and explains every answer.

Depth first, with a memory of the configurations (calls that took effect, state) that led nowhere. What makes that fast
here is that a conversation mostly grows (see growth.py), so that what views show bounds the states worth visiting; each
such shortcut says below why it loses no solution, and the tests compare the whole with a search that has none of them.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple, TypeAlias

import msgspec

from tests.simulation.growth import (
    NOBODY,
    UNSEEN,
    Nodes,
    Shown,
    contradict,
    forget,
    forget_turn,
    leads_to,
    shows,
    stages,
)
from tests.simulation.history import ALWAYS, Args, Call, Op, changed_turn, is_free
from tests.simulation.model import State, Turn, agrees, apply, as_shown, seen

_FIFO: frozenset[Op] = frozenset(("create", "query", "ask", "choose", "retry", "cancel"))
_PHASES: dict[str, frozenset[Op]] = {
    "missing": frozenset(("create",)),
    "settled": frozenset(("query", "ask")),
    "open": frozenset(("choose", "retry", "cancel", "candidate", "answer")),
}
"""By what a conversation is like, the operations that change it."""

Answer: TypeAlias = Literal["ok", "violation", "unknown"]


class _Config(NamedTuple):
    """A point of the search: which completed calls are placed, which open ones took effect or cannot do so any more,
    the state that these made.

    stage: how many of the `Stage`s are behind; returned: how many calls in order of return are known to be placed.
    """

    done: int
    used: int
    state: State
    stage: int
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
        self._set_pins()
        self._set_retries()
        self._stages = stages(self._shown(), self._may_lose)
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

    def _shown(self) -> Iterable[Shown]:
        """What views show. What may come more than once is listed for each of them."""
        shown: dict[tuple[State, int], Shown] = {}
        for i, before in zip(self._by_return, self._windows, strict=True):
            result = self._calls[i].result
            if result is not None and self._calls[i].reads:
                state = seen(result)
                again = bool(state and state[-1].is_open and self._may_lose(len(state)))
                key = (state, i if again else 0)
                views = 1 << i | (shown[key].views if key in shown else 0)
                shown[key] = Shown(state, views, shown[key].before if key in shown else before)
        return shown.values()

    def _set_pins(self) -> None:
        """The turn that a call would add or change, where that is known: only then is it worth trying."""
        self._pin = [changed_turn(call) for call in self._calls]
        self._pinned: dict[int | None, int] = {}
        for i, turn in enumerate(self._pin):
            self._pinned[turn] = self._pinned.get(turn, 0) | 1 << i

    def _about(self, turn: int) -> int:
        """The calls that may add or change this turn."""
        return self._pinned.get(turn, 0) | self._pinned.get(None, 0)

    def _set_retries(self) -> None:
        """The retries that may take effect, and the responses for which it matters how many did before."""
        self._retries = self._set(call.op == "retry" for call in self._calls) & self._effective
        self._of_a_round = self._set(call.args.round is not None for call in self._calls)

    def _may_lose(self, turn: int) -> bool:
        return bool(self._retries & self._about(turn))

    def _lost(self, retries: int, turn: int) -> Nodes:
        """The nodes that these retries may ask again in this turn."""
        retries &= self._about(turn)
        return frozenset(self._calls[i].args.node for i in _bits(retries)) if retries else NOBODY

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
        """The calls that made unique things, and the candidates, where an answer says so. Returns whether two claim the
        same."""
        self._owner: dict[tuple[object, ...], int] = {}
        self._given: dict[tuple[int | None, int | None], int] = {}
        for i in _bits(self._completed & self._effective):
            thing = self._thing(i, self._pin[i])
            if thing is not None and self._owner.setdefault(thing, i) != i:
                return True
            if self._calls[i].op == "candidate":
                key = (self._pin[i], self._calls[i].args.node)
                self._given[key] = self._given.get(key, 0) | 1 << i
        return False

    def _too_many(self, i: int, turn: int, done: int, retries: int) -> bool:
        """Whether candidates are left of which each would need a retry before it, and there are not so many left."""
        node = self._calls[i].args.node
        given = self._given.get((turn, node), 0) & ~done & ~(1 << i)
        if not given:
            return False
        asked = [j for j in _bits(retries & self._about(turn)) if self._calls[j].args.node in (None, node)]
        return given.bit_count() > len(asked)

    def _thing(self, i: int, turn: int | None) -> tuple[object, ...] | None:
        """What this call makes if it takes effect at this turn (None: nobody knows which)."""
        call = self._calls[i]
        if call.op == "create":
            return ("conversation",)
        if turn is None:
            return None
        if call.op in ("query", "ask"):
            return ("turn", turn)
        ends = call.op in ("choose", "cancel") or (call.op == "answer" and call.args.text is not None)
        return ("end", turn) if ends else None

    def run(self, budget: int) -> Answer:
        if self._conflict or contradict(self._stages, self._may_lose):
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
        done, used, state, stage, returned = config
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
            if stage < len(self._stages):
                for shown in self._stages[stage].shown:
                    done |= shown.views & window if shows(state, shown.state) else 0
                if not self._stages[stage].views & ~done:
                    stage += 1
                    state = state if stage < len(self._stages) else forget(state)
            if state and state[-1].is_open:
                done, used, state = self._welcome(window & ~done, _Config(done, used, state, stage, returned))
        return _Config(done, used, state, stage, returned)

    def _welcome(self, window: int, config: _Config) -> tuple[int, int, State]:
        """Candidates that arrive now rather than later or never, as nobody left could tell.

        None of them can get lost by a retry. Of views, the next shows it already (and later ones do), or there is none.
        Of chooses, those that need it are helped; and there is no refused one left that it would disturb.
        """
        done, used, state, stage, _ = config
        assert state is not None
        lost = self._lost(self._retries & ~done & ~used, len(state))
        for i in _bits(window & self._pinned.get(len(state), 0) & self._phases["open"]):
            call = self._calls[i]
            if call.op != "candidate" or call.args.turn is None or not lost.isdisjoint((None, call.args.node)):
                continue
            if (self._choosers.get(call.args.node, 0) | self._empty_handed) & ~done:
                continue
            if stage == len(self._stages) and len(self._answers[call.args.turn, call.args.node]) > 1:
                continue
            after = self._take(i, config._replace(done=done, used=used, state=state))
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
        done, used, state, stage, returned = config
        phase = "missing" if state is None else "open" if state and state[-1].is_open else "settled"
        target = (0 if state is None else len(state)) + (phase == "settled")
        worth = self._phases[phase] & self._about(target)
        next_ones = self._windows[returned] & ~done & ~used & (worth | self._disturbing)
        branches: list[_Config] = []
        for i in _bits(next_ones & self._completed):
            if self._after[i] & ~done:
                continue
            if self._refused >> i & 1:
                if self._answered(i, state):
                    branches.append(_Config(done | 1 << i, used | self._overtakes[i], state, stage, returned))
                continue
            after = self._take(i, config)
            if after is not None:
                branches.append(_Config(done | 1 << i, self._spent(i, used, after), after, stage, returned))
        branches.reverse()
        return self._open_branches(next_ones & ~self._completed, config) + branches

    def _open_branches(self, next_ones: int, config: _Config) -> list[_Config]:
        done, used, _, stage, returned = config
        tried: set[tuple[Op, Args, str | None]] = set()
        branches: list[tuple[int, _Config]] = []
        for i in _bits(next_ones):
            if self._after[i] & ~done or self._class[i] in tried:
                continue
            tried.add(self._class[i])
            after = self._take(i, config)
            if after is not None:
                ruled_out = (self._overtakes[i] & ~used).bit_count()
                branch = _Config(done, self._spent(i, used | 1 << i, after), after, stage, returned)
                branches.append((ruled_out, branch))
        # Those that rule out others come last: that one of the others was needed may show only much later.
        branches.sort(key=lambda item: -item[0])
        return [branch for _, branch in branches]

    def _take(self, i: int, config: _Config) -> State:
        """The state after this call took effect; None if it cannot, or if some completed call then never could."""
        done, used, state, stage, _ = config
        call = self._calls[i]
        after, outcome = apply(state, call.op, call.args)
        if not outcome.ok or (call.result is not None and not agrees(call.result, after, outcome)):
            return None
        thing = self._thing(i, outcome.turn)
        if thing is not None and self._owner.get(thing, i) != i:
            return None
        retries = self._retries & ~done & ~used & ~(1 << i)
        if call.op == "candidate" and outcome.turn is not None and self._too_many(i, outcome.turn, done, retries):
            return None
        if after and call.op == "retry":
            if self._outdated(after) & self._completed & ~done:
                return None
            if not self._of_a_round & self._about(len(after)) & ~done & ~used:
                after = as_shown(after)  # nobody left could tell how often nodes were asked
        if stage == len(self._stages):
            return (*after[:-1], forget_turn(after[-1])) if after else after
        # All views that are left show this state or one that comes later: those of this stage at least by what they
        # show, if no more candidates get lost than by the retries that may come before them.
        for shown in self._stages[stage].shown:
            lost = self._lost(retries & shown.before, len(after or ())) if shown.views & ~done else NOBODY
            if shown.views & ~done and not leads_to(after, shown.state, lost):
                return None
        return after

    def _spent(self, i: int, used: int, state: State) -> int:
        """The open calls that can take no effect any more after this call did."""
        closed = len(state) - state[-1].is_open if state else 0
        used |= self._overtakes[i] | self._gone[min(closed, len(self._gone) - 1)]
        outdated = self._outdated(state) if state and self._retries >> i & 1 else 0
        return used | outdated & ~self._completed

    def _outdated(self, state: tuple[Turn, ...]) -> int:
        """The responses to the open turn whose node has been asked again since."""
        open_turn, calls = state[-1], self._calls
        responses = _bits(self._of_a_round & self._effective & self._pinned.get(len(state), 0))
        return sum(1 << i for i in responses if (calls[i].args.round or 0) < open_turn.round(calls[i].args.node))


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
        else msgspec.structs.replace(call, args=msgspec.structs.replace(call.args, text=UNSEEN))
        for call in calls
    ]  # fmt: skip
