"""The search of orders.py without its shortcuts, for conversations that do not only grow: they are deleted, begin anew,
are called otherwise, and begin with the turns of others. It takes any model, and short histories only; also longer ones
with very many open calls, if few of those took effect."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tests.simulation.history import ALWAYS, Args, Call
from tests.simulation.model import Family, agrees_in_family, apply_to_family
from tests.simulation.orders import Answer

ANY_LIFE = frozenset(("once", "delete", "rename", "fork", "system", "auto", "undelete", "regenerate", "synth"))
"""The operations that make this search necessary."""
_FEW = range(9)
_FIFO = ANY_LIFE | {"create", "query", "ask", "choose", "retry", "cancel"}


class PlainSearch:
    """Sets of calls are bits of an int, numbered in order of invocation."""

    def __init__(self, calls: Sequence[Call], fifo: bool) -> None:
        self.explored = 0
        self._calls = sorted(
            (call for call in calls if not (call.is_open and call.reads)), key=lambda call: call.invoked_at)
        self._completed = sum(1 << i for i, call in enumerate(self._calls) if not call.is_open)
        numbers = range(len(self._calls))
        self._later = [sum(1 << j for j in numbers if fifo and self._typed(i, j)) for i in numbers]
        """What the same process typed after a call."""
        self._open_before = [
            sum(1 << j for j in numbers if self._later[j] >> i & 1 and self._calls[j].is_open) for i in numbers]
        self._first = [self._set_before(i) for i in numbers]
        self._alike = self._earlier_alike()

    def _typed(self, i: int, j: int) -> bool:
        one, other = self._calls[i], self._calls[j]
        return i < j and one.process == other.process and {one.op, other.op} <= _FIFO and one.invoked_at != ALWAYS

    def _set_before(self, i: int) -> int:
        """The completed calls that must be placed before this one. A stale view may have seen anything earlier."""
        call = self._calls[i]
        begins = ALWAYS if call.result is not None and call.result.stale else call.invoked_at
        before = 0
        for j, other in enumerate(self._calls):
            returned = other.returned_at is not None and other.returned_at < begins
            if j != i and not other.is_open and (returned or self._later[j] >> i & 1):
                before |= 1 << j
        return before

    def _earlier_alike(self) -> list[int | None]:
        """For each open call an earlier one, if any, that does the same and may take effect no later than this one.
        Whether a question that nobody ever saw is the one or the other makes no difference."""
        results = [call.result for call in self._calls if call.result is not None]
        shown = [turns for result in results for turns in (result.turns or (), *(result.conversations or {}).values())]
        seen = {turn.query for turns in shown for turn in turns}
        earlier: list[int | None] = [None] * len(self._calls)
        alike: dict[tuple[str, Args], list[int]] = {}
        for j, call in enumerate(self._calls):
            if call.is_open:
                unseen = call.op in ("query", "ask") and call.args.text not in seen
                what = call.op, msgspec.structs.replace(call.args, text="") if unseen else call.args
                before = alike.setdefault(what, [])
                earlier[j] = next((i for i in reversed(before) if not self._first[i] & ~self._first[j]), None)
                before.append(j)
        return earlier

    def run(self, budget: int) -> Answer:
        """There may be very many open calls, of which few took effect. So an order with few is looked for first, and
        of those that are alike the first are tried: what is found is an order, but there may be others."""
        for most in _FEW:
            if self._run(budget, most, alike=True) == "ok":
                return "ok"
        return self._run(budget, len(self._calls), alike=False)

    def _run(self, budget: int, most: int, alike: bool) -> Answer:
        """At most `most` open calls took effect."""
        left = budget
        stack: list[tuple[int, Family]] = [(0, Family())]
        known: set[tuple[int, Family]] = set(stack)
        while stack:
            placed, state = stack.pop()
            if placed & self._completed == self._completed:
                return "ok"
            self.explored += 1
            left -= 1
            if left < 0:
                return "unknown"
            for following in self._branches(placed, state, alike):
                if following not in known and (following[0] & ~self._completed).bit_count() <= most:
                    known.add(following)
                    stack.append(following)
        return "violation"

    def _branches(self, placed: int, state: Family, alike: bool) -> list[tuple[int, Family]]:
        """Where one more call leads. One that cannot change anything may as well be placed at once, if that overtakes
        nothing."""
        branches: list[tuple[int, Family]] = []
        for i, call in enumerate(self._calls):
            if placed >> i & 1 or self._first[i] & ~placed or self._is_overtaken(i, placed):
                continue
            earlier = self._alike[i] if alike else None
            if earlier is not None and not placed >> earlier & 1 and not self._is_overtaken(earlier, placed):
                continue
            after, outcome = apply_to_family(state, call.op, call.args)
            if call.result is not None:
                if not agrees_in_family(call.result, state, call.args, outcome):
                    continue
                if call.reads or not call.result.ok:
                    after = state
                    if not self._open_before[i] & ~placed:
                        return [(placed | 1 << i, state)]
            if call.result is not None or after != state:
                branches.append((placed | 1 << i, after))
        return branches

    def _is_overtaken(self, i: int, placed: int) -> bool:
        """It is open, and can take effect no more, since what was typed later did."""
        return bool(self._later[i] & placed)
