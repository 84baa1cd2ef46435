"""Is a history linearizable? A checker of the Wing-Gong/Lowe kind.

Each conversation is judged by itself: there must be one order of its calls that respects real time and in which the
model gives every recorded answer (orders.py searches for it). blame.py identifies contradictions.

    verdict = check(history)
    assert verdict.ok, verdict
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import msgspec

from tests.simulation.blame import Failure, Shrinker
from tests.simulation.history import Call, SeenTurn, families, validate
from tests.simulation.orders import Answer, Search
from tests.simulation.plain_search import ANY_LIFE, PlainSearch

BUDGET = 300_000
"""Configurations to look at, for each conversation, before the answer is "unknown"."""


class Verdict(msgspec.Struct, frozen=True):
    """`ok` only if every conversation was proved linearizable. `explored` counts configurations: a measure of work."""

    failures: tuple[Failure, ...]
    calls: int
    conversations: int
    explored: int

    @property
    def ok(self) -> bool:
        return not self.failures

    @property
    def answer(self) -> Answer:
        answers = {failure.answer for failure in self.failures}
        return "violation" if "violation" in answers else "unknown" if answers else "ok"

    def __str__(self) -> str:
        head = f"{self.answer}: {self.calls} calls, {self.conversations} conversations, {self.explored} configurations"
        return "\n".join([head, *map(str, self.failures)])


def check(history: Sequence[Call], *, fifo: bool = True, budget: int = BUDGET, explain: bool = True) -> Verdict:
    """Checks a whole history. Raises ValueError if a call in it is not well-formed.

    fifo: creates, queries, asks, chooses and cancels of one process take effect in the order of their invocation, so an
    open one cannot do so after a later one did.
    explain: also look for the fewest calls that show a violation, which takes longer than finding it.
    """
    for call in history:
        validate(call)
    failures = _creation_order(history)
    explored = 0
    conversations = families(history)
    for context, calls in conversations:
        grows = ANY_LIFE.isdisjoint(call.op for call in calls)
        search: Search | PlainSearch = Search(calls, fifo) if grows else PlainSearch(calls, fifo)
        answer = search.run(budget)
        explored += search.explored
        if answer == "unknown" and grows:  # perhaps among very many open calls
            search = PlainSearch(calls, fifo)
            answer = search.run(budget)
            explored += search.explored
        if answer == "violation" and explain and grows:
            failures.append(Shrinker(context, calls, fifo).failure())
        elif answer != "ok":
            failures.append(Failure(context, answer))
    return Verdict(tuple(failures), len(history), len(conversations), explored)


def _creation_order(history: Sequence[Call]) -> list[Failure]:
    """Conversations are shown in order of creation, and never vanish unless they are deleted or called otherwise: of
    two lists, the shorter begins the longer.

    This is part of the order between conversations, which checking each by itself cannot see.
    """
    gone = [call.args for call in history if call.op in ("delete", "rename", "undelete")]
    deleted = {context for args in gone for context in (args.context, args.name)}
    lists = [
        ([context for context in call.result.conversations if context not in deleted], call)
        for call in history if call.result and call.result.conversations
    ]
    lists.sort(key=lambda item: len(item[0]))
    for (shorter, one), (longer, other) in pairwise(lists):
        if longer[: len(shorter)] != shorter:
            return [Failure(None, "violation", (_names_only(one), _names_only(other)))]
    return []


def _names_only(viewall: Call) -> Call:
    assert viewall.result is not None and viewall.result.conversations is not None
    names: dict[str, tuple[SeenTurn, ...]] = dict.fromkeys(viewall.result.conversations, ())
    return msgspec.structs.replace(viewall, result=msgspec.structs.replace(viewall.result, conversations=names))
