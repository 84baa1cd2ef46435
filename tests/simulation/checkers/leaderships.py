"""One node acts for a leadership, between two of its starts; a quorum has promised before it does, and it proposes one
operation for each position, and nothing behind a stop-sign that is not decided."""

from __future__ import annotations

from paxos.ballot import Leadership
from paxos.configuration import is_stop_sign
from paxos.messages import Accept, AnyMessage, Confirm, Decide, Operation, Prepare, Promise
from tests.simulation.world import Node, Observer, Violation, World


class TwoLeaders(Violation):
    pass


class Leaderships(Observer):
    def __init__(self) -> None:
        self._actors: dict[Leadership, tuple[int, int]] = {}
        """Who acts for it: (node, number of its start)."""
        self._promises: dict[tuple[Leadership, int], set[tuple[int, int]]] = {}
        """By leadership and position asked for: who promised, and with which disk."""
        self._elected: set[tuple[Leadership, int]] = set()
        """By leadership and the number of the configuration."""
        self._stops: dict[Leadership, int] = {}
        """By leadership: the position of the last stop-sign that it proposed."""
        self._proposed: dict[tuple[Leadership, int], Operation] = {}

    def sent(self, world: World, node: Node, to: int, message: AnyMessage) -> None:
        if isinstance(message, Promise):
            self._promises.setdefault((message.ballot.leadership, message.ballot.op_num), set()).add(
                (node.pid, message.identity))
        elif isinstance(message, Prepare | Accept | Confirm | Decide):
            leadership, actor = message.ballot.leadership, (node.pid, node.incarnation)
            if self._actors.setdefault(leadership, actor) != actor or message.ballot.pid != node.pid:
                raise TwoLeaders(f"{message} by {actor}, after {self._actors[leadership]} acted for it")
            if isinstance(message, Accept):
                self._accept(world, node, message)

    def _accept(self, world: World, node: Node, message: Accept) -> None:
        leadership = message.ballot.leadership
        configuration = node.replica.learner.configuration  # It may not know yet of one that governs this position.
        term = leadership, configuration.number if configuration is not None else 0
        if term not in self._elected:
            most = max((
                len({pid for pid, identity in who if world.counts(configuration, pid, identity)})
                for (whose, start), who in self._promises.items()
                if whose == leadership and world.governing(start) == configuration), default=0)
            if most < world.quorum(configuration):
                raise TwoLeaders(f"{node.pid} leads as {leadership} with {most} promises of {configuration}")
            self._elected.add(term)
        stop = self._stops.get(leadership, 0)
        if message.ballot.op_num > stop > node.replica.log.decided_upto:
            raise TwoLeaders(f"{node.pid} proposes {message} behind the stop-sign at {stop}, which is not decided")
        for position, operation in enumerate(message.operations, message.ballot.op_num):
            if message.ballot.op_num <= self._stops.get(leadership, 0) == position - 1:
                raise TwoLeaders(f"{node.pid} proposes {message}, with a stop-sign in its middle")
            if is_stop_sign(operation):
                self._stops[leadership] = position
            proposed = self._proposed.setdefault((leadership, position), operation)
            if proposed is not operation and proposed != operation:
                raise TwoLeaders(f"{node.pid} proposed {proposed} at {position} as {leadership}, and now {operation}")
