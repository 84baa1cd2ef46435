"""One node acts for a leadership, between two of its starts; a quorum has promised before it does, and it proposes one
operation for each position."""

from __future__ import annotations

from paxos.ballot import Leadership
from paxos.messages import Accept, AnyMessage, Confirm, Decide, Operation, Prepare, Promise
from tests.simulation.world import Node, Observer, Violation, World


class TwoLeaders(Violation):
    pass


class Leaderships(Observer):
    def __init__(self) -> None:
        self._actors: dict[Leadership, tuple[int, int]] = {}
        """Who acts for it: (node, number of its start)."""
        self._promises: dict[tuple[Leadership, int], set[int]] = {}
        """By leadership and position asked for: who promised."""
        self._elected: set[Leadership] = set()
        self._proposed: dict[tuple[Leadership, int], Operation] = {}

    def sent(self, world: World, node: Node, to: int, message: AnyMessage) -> None:
        if isinstance(message, Promise):
            self._promises.setdefault((message.ballot.leadership, message.ballot.op_num), set()).add(node.pid)
        elif isinstance(message, Prepare | Accept | Confirm | Decide):
            leadership, actor = message.ballot.leadership, (node.pid, node.incarnation)
            if self._actors.setdefault(leadership, actor) != actor or message.ballot.pid != node.pid:
                raise TwoLeaders(f"{message} by {actor}, after {self._actors[leadership]} acted for it")
            if isinstance(message, Accept):
                self._accept(world, node, message)

    def _accept(self, world: World, node: Node, message: Accept) -> None:
        leadership = message.ballot.leadership
        if leadership not in self._elected:
            most = max((len(who) for (whose, _), who in self._promises.items() if whose == leadership), default=0)
            if most <= len(world.pids) // 2:
                raise TwoLeaders(f"{node.pid} leads as {leadership} with {most} promises")
            self._elected.add(leadership)
        for position, operation in enumerate(message.operations, message.ballot.op_num):
            proposed = self._proposed.setdefault((leadership, position), operation)
            if proposed is not operation and proposed != operation:
                raise TwoLeaders(f"{node.pid} proposed {proposed} at {position} as {leadership}, and now {operation}")
