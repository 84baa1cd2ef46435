"""Reduces a violation to the fewest calls that show it, for people who must find the bug."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

import msgspec

from tests.simulation.history import Call, is_free, unanswered, until, with_freed
from tests.simulation.orders import Answer, Search

_BUDGET = 100_000
_STEP = 2_000
"""Configurations to look at, in all and for each attempt."""


class Failure(msgspec.Struct, frozen=True):
    """What is wrong with one conversation, or (context None) with the order of conversations.

    contradiction: calls whose recorded times and answers cannot all be true, even if every other call took effect at
    any time whatever, or never.
    bystanders: calls that belong to the contradiction, but only by the time of their invocation.
    prefix: the history up to the first return that cannot be explained. All are empty if the answer is "unknown".
    """

    context: str | None
    answer: Answer
    contradiction: tuple[Call, ...] = ()
    bystanders: tuple[Call, ...] = ()
    prefix: tuple[Call, ...] = ()
    fifo: bool = False

    def __str__(self) -> str:
        where = "the order of conversations" if self.context is None else f"conversation {self.context}"
        if self.answer == "unknown":
            return f"{where}: unknown, the search gave up"
        if not self.contradiction:
            return f"{where}: not linearizable"
        lines = [f"{where}: not linearizable. These cannot all be true, whatever became of the other calls:"]
        marked = [(call, "") for call in self.contradiction]
        marked += [(call, "" if call.is_open else " (answer of no importance)") for call in self.bystanders]
        marked.sort(key=lambda item: item[0].invoked_at)
        views = [call.result.turns for call in self.contradiction if call.result and call.result.turns is not None]
        in_all = takewhile(lambda turns: turns.count(turns[0]) == len(turns), zip(*views, strict=False))
        # The last turns are shown even if they are the same: that they are may be what is wrong, after a retry.
        same = min(len(list(in_all)), max(map(len, views)) - 1) if len(views) > 1 else 0
        lines += [f"  {call.describe(same)}{remark}" for call, remark in marked]
        if self.fifo:
            lines.append("  (given that the calls of one process take effect in the order of their invocation)")
        return "\n".join(lines)


class Shrinker:
    """Finds what is at the bottom of a violation. It stops when it has worked enough; what it has then is larger than
    need be, but no less true."""

    def __init__(self, context: str, calls: Sequence[Call], fifo: bool) -> None:
        self._context = context
        self._calls = calls
        self._fifo = fifo
        self._left = _BUDGET

    def failure(self) -> Failure:
        end = self._first_bad_return()
        prefix = until(self._calls, end)
        if self._fifo and self._violated(prefix, fifo=False):
            self._fifo = False
        known = with_freed(prefix, self._begun_before_it(prefix))
        needed = self._needed(known)
        strict = [call for i, call in enumerate(known) if i in needed]
        freed = [call for i, call in enumerate(known) if i not in needed]
        freed = with_freed(freed, set(range(len(freed))))
        # What began later cannot explain anything, but that it began too late may be the point.
        later = [open_call for call in self._calls if call.invoked_at > end for open_call in unanswered(call)]
        too_late = self._needed(later, [*strict, *freed]) if later else set()
        late = [call for i, call in enumerate(later) if i in too_late] if self._left > 0 else []
        answered: list[Call] = []
        bystanders: list[Call] = []
        for i, call in enumerate(strict):
            attempt = [*strict[:i], *unanswered(call), *strict[i + 1 :]]
            if call.is_open or (not call.reads and self._violated([*attempt, *late, *freed])):
                strict = attempt
                bystanders.append(call)
            else:
                answered.append(call)
        bystanders = [self._as_recorded(call) for call in [*bystanders, *late]]
        return Failure(self._context, "violation", tuple(answered), tuple(bystanders), tuple(prefix), self._fifo)

    def _as_recorded(self, call: Call) -> Call:
        """The call with the answer that it had, if it is one that was cut away."""
        return call if call in self._calls else next(one for one in self._calls if unanswered(one) == [call])

    def _violated(self, calls: Sequence[Call], fifo: bool | None = None) -> bool:
        if self._left <= 0:
            return False
        search = Search(calls, self._fifo if fifo is None else fifo)
        answer = search.run(_STEP)
        self._left -= search.explored + len(calls) // 8  # preparing the search is work, too
        return answer == "violation"

    def _first_bad_return(self) -> float:
        """When the first answer came that cannot be explained. (If a prefix is a violation, so is every longer one.)"""
        times = sorted({call.returned_at for call in self._calls if call.returned_at is not None})
        low, high = 0, len(times) - 1
        while low < high:
            middle = (low + high) // 2
            if self._violated(until(self._calls, times[middle])):
                high = middle
            else:
                low = middle + 1
        return times[low]

    def _begun_before_it(self, calls: Sequence[Call]) -> set[int]:
        """Calls that can be freed because they are long past: what contradicts each other is mostly close together."""
        begins = sorted({call.invoked_at for call in calls})
        low, high = 0, len(begins) - 1
        while low < high:
            middle = (low + high + 1) // 2
            if self._violated(with_freed(calls, _begun_before(calls, begins[middle]))):
                low = middle
            else:
                high = middle - 1
        return _begun_before(calls, begins[low])

    def _needed(self, calls: Sequence[Call], others: Sequence[Call] = ()) -> set[int]:
        """The calls that cannot be freed without the violation going away: tried many at a time, then one by one."""
        freed = {i for i, call in enumerate(calls) if is_free(call)}
        size = len(calls) - len(freed)
        while size and self._left > 0:
            rest = [i for i in range(len(calls)) if i not in freed]
            for start in range(0, len(rest), size):
                attempt = freed.union(rest[start : start + size])
                if self._left > 0 and self._violated([*with_freed(calls, attempt), *others]):
                    freed = attempt
            size //= 2
        return set(range(len(calls))) - freed


def _begun_before(calls: Sequence[Call], time: float) -> set[int]:
    return {i for i, call in enumerate(calls) if call.invoked_at < time}
