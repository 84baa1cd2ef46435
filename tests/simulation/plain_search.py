"""The search of orders.py without its shortcuts, for conversations that do not only grow: they are deleted, begin anew,
are called otherwise, and begin with the turns of others. It takes any model, and short histories only."""

from __future__ import annotations

from collections.abc import Sequence

from tests.simulation.history import Call
from tests.simulation.model import Family, agrees_in_family, apply_to_family
from tests.simulation.orders import Answer

ANY_LIFE = frozenset(("once", "delete", "rename", "fork", "system", "auto", "undelete", "regenerate"))
"""The operations that make this search necessary."""
_FEW = 0, 1, 2
_FIFO = ANY_LIFE | {"create", "query", "ask", "choose", "retry", "cancel"}


class PlainSearch:
    """Sets of calls are bits of an int, numbered in order of invocation."""

    def __init__(self, calls: Sequence[Call], fifo: bool) -> None:
        self.explored = 0
        self._calls = sorted(
            (call for call in calls if not (call.is_open and call.reads)), key=lambda call: call.invoked_at)
        self._completed = sum(1 << i for i, call in enumerate(self._calls) if not call.is_open)
        self._first = [self._set_before(i, fifo) for i in range(len(self._calls))]

    def _set_before(self, i: int, fifo: bool) -> int:
        """The completed calls that must be placed before this one."""
        call = self._calls[i]
        before = 0
        for j, other in enumerate(self._calls):
            returned = other.returned_at is not None and other.returned_at < call.invoked_at
            typed = fifo and j < i and other.process == call.process and {other.op, call.op} <= _FIFO
            if j != i and not other.is_open and (returned or typed):
                before |= 1 << j
        return before

    def run(self, budget: int) -> Answer:
        """There may be very many open calls, of which few took effect: so few are tried first."""
        for most in (*_FEW, len(self._calls)):
            self.explored = 0
            answer = self._run(budget, most)
            if answer == "ok":
                break
        return answer

    def _run(self, budget: int, most: int) -> Answer:
        """`most` open calls took effect."""
        stack: list[tuple[int, Family]] = [(0, Family())]
        known: set[tuple[int, Family]] = set(stack)
        while stack:
            placed, state = stack.pop()
            if placed & self._completed == self._completed:
                return "ok"
            self.explored += 1
            if self.explored > budget:
                return "unknown"
            for following in self._branches(placed, state):
                if following not in known and (following[0] & ~self._completed).bit_count() <= most:
                    known.add(following)
                    stack.append(following)
        return "violation"

    def _branches(self, placed: int, state: Family) -> list[tuple[int, Family]]:
        """Where one more call leads. One that cannot change anything may as well be placed at once."""
        branches: list[tuple[int, Family]] = []
        for i, call in enumerate(self._calls):
            if placed >> i & 1 or self._first[i] & ~placed:
                continue
            after, outcome = apply_to_family(state, call.op, call.args)
            if call.result is not None:
                if not agrees_in_family(call.result, state, call.args, outcome):
                    continue
                if call.reads or not call.result.ok:
                    return [(placed | 1 << i, state)]
            if call.result is not None or after != state:
                branches.append((placed | 1 << i, after))
        return branches
