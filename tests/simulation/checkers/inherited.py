"""A new leader proposes, at each open position, what the highest leadership among a quorum's promises accepted there.

This is condition B3 of Lamport's *The Part-Time Parliament* (P2c of *Paxos Made Simple*), observed from outside: which
promises the leader used is not visible, so it is enough that some quorum of the sent ones justifies it.
"""

from __future__ import annotations

from itertools import combinations

from paxos.ballot import NOBODY, Ballot, Leadership
from paxos.messages import NOOP, Accept, AnyMessage, Configuration, Operation, Promise
from tests.simulation.world import Node, Observer, Violation, World

Term = tuple[Leadership, int]
"""A leadership, and the number of the configuration in which it asks for promises."""


class NotInherited(Violation):
    pass


class Inherited(Observer):
    def __init__(self) -> None:
        self._promises: dict[Term, dict[tuple[int, int], Promise]] = {}
        """By term; then by who promised, and from which position on."""
        self._last: dict[Term, int] = {}
        """The highest position that any promise shows."""
        self._leads: set[Term] = set()
        self._looked: set[tuple[Term, int]] = set()

    def sent(self, world: World, node: Node, to: int, message: AnyMessage) -> None:
        if isinstance(message, Promise):
            term = _term(message.ballot, world.governing(message.ballot.op_num))
            if term in self._leads:
                return  # A Prepare came late: its sender leads already, by other promises.
            self._promises.setdefault(term, {})[node.pid, message.ballot.op_num] = message
            shown = max((entry.position for entry in message.entries), default=0)
            self._last[term] = max(shown, self._last.get(term, 0))
        elif isinstance(message, Accept):
            configuration = node.replica.learner.configuration
            term, first = _term(message.ballot, configuration), message.ballot.op_num
            self._leads.add(term)
            if first <= self._last.get(term, 0) and (term, first) not in self._looked:
                self._looked.add((term, first))
                self._look(world, message, configuration)

    def _look(self, world: World, message: Accept, configuration: Configuration | None) -> None:
        promises = self._promises[_term(message.ballot, configuration)]
        quorum = world.quorum(configuration)
        starts = {start for _, start in promises}
        quorums = [
            group for start in starts
            for group in combinations([promise for (pid, of), promise in promises.items()
                          if of == start and world.counts(configuration, pid, promise.identity)], quorum)
        ]
        if not any(_explains(group, message) for group in quorums):
            raise NotInherited(f"no quorum's promises explain {message}: {list(promises.values())}")


def _term(ballot: Ballot, configuration: Configuration | None) -> Term:
    return ballot.leadership, 0 if configuration is None else configuration.number


def _explains(quorum: tuple[Promise, ...], message: Accept) -> bool:
    highest: dict[int, tuple[Leadership, Operation]] = {}
    for promise in quorum:
        for entry in promise.entries:
            held = highest.get(entry.position, (NOBODY, entry.operation))
            if entry.leadership >= held[0]:
                highest[entry.position] = (entry.leadership, entry.operation)
    decided = max(promise.decided_upto for promise in quorum)
    last = max(highest, default=0)
    for position, operation in enumerate(message.operations, message.ballot.op_num):
        if position > last:
            break
        if position <= decided:
            continue
        if position in highest:
            if operation != highest[position][1]:
                return False
        elif operation != NOOP:
            return False
    return True
