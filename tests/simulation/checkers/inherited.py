"""A new leader proposes, at each open position, what the highest leadership among a quorum's promises accepted there.

This is condition B3 of Lamport's *The Part-Time Parliament* (P2c of *Paxos Made Simple*), observed from outside: which
promises the leader used is not visible, so it is enough that some quorum of the sent ones justifies it.
"""

from __future__ import annotations

from itertools import combinations

from paxos.ballot import NOBODY, Leadership
from paxos.messages import Accept, AnyMessage, Operation, Promise
from tests.simulation.world import Node, Observer, Violation, World


class NotInherited(Violation):
    pass


class Inherited(Observer):
    def __init__(self) -> None:
        self._promises: dict[Leadership, dict[tuple[int, int], Promise]] = {}
        """By leadership; then by who promised, and from which position on."""
        self._last: dict[Leadership, int] = {}
        """The highest position that any promise shows."""
        self._leads: set[Leadership] = set()
        self._looked: set[tuple[Leadership, int]] = set()

    def sent(self, world: World, node: Node, to: int, message: AnyMessage) -> None:
        if isinstance(message, Promise):
            leadership = message.ballot.leadership
            if leadership in self._leads:
                return  # A Prepare came late: its sender leads already, by other promises.
            self._promises.setdefault(leadership, {})[node.pid, message.ballot.op_num] = message
            shown = max((entry.position for entry in message.entries), default=0)
            self._last[leadership] = max(shown, self._last.get(leadership, 0))
        elif isinstance(message, Accept):
            leadership, first = message.ballot.leadership, message.ballot.op_num
            self._leads.add(leadership)
            if first <= self._last.get(leadership, 0) and (leadership, first) not in self._looked:
                self._looked.add((leadership, first))
                self._look(world, message)

    def _look(self, world: World, message: Accept) -> None:
        promises = self._promises[message.ballot.leadership]
        quorum = len(world.pids) // 2 + 1
        starts = {start for _, start in promises}
        quorums = [
            group for start in starts
            for group in combinations([promise for (_, of), promise in promises.items() if of == start], quorum)
        ]
        if not any(_explains(group, message) for group in quorums):
            raise NotInherited(f"no quorum's promises explain {message}: {list(promises.values())}")


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
        elif not operation.is_noop:
            return False
    return True
