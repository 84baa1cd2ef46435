"""What a node remembers of its situation is what it is: the driver asks for it at every turn, and it is computed anew
only after a refresh. So is what it remembers of its own standing as a voter, which is judged when something changes,
and of the leader, which is looked for when something has changed in what nodes say."""

from __future__ import annotations

from paxos.ballot import NOBODY
from tests.simulation.world import Node, Observer, Violation, World

LOOK_EVERY = 8
"""Steps: what is out of date stays so until the next refresh."""


class OutOfDate(Violation):
    pass


class Situations(Observer):
    def __init__(self) -> None:
        self._steps = 0

    def stepped(self, world: World, node: Node) -> None:
        self._steps += 1
        if self._steps % LOOK_EVERY:
            return
        replica = node.replica
        told, present = replica.situation(), replica.present_situation()
        if told != present:
            raise OutOfDate(f"node {node.pid} takes its situation for {told}; it is {present}")
        status, judged = replica.registry.voter_status, replica.registry._judge()
        if status is not judged:
            raise OutOfDate(f"node {node.pid} takes itself for a {status}; it is a {judged}")
        self._look_at_election(node)
        heartbeats, row = replica._heartbeats, replica.net.states[node.pid]
        if heartbeats.facts() == heartbeats._described and row != heartbeats.present_state():
            raise OutOfDate(f"node {node.pid} says {row}; it is {heartbeats.present_state()}")

    def _look_at_election(self, node: Node) -> None:
        """Only while what it remembers counts: it looks again when something has changed, or a claim is young."""
        net, election = node.replica.net, node.replica.election
        if election._judged == election._observed == net.changes and not election._claims:
            leader = election.present_leader(node.clock)
            if election._leader != leader:
                raise OutOfDate(f"node {node.pid} takes {election._leader} for the leader; it is {leader}")
        if election._ranked == net.changes:
            highest = max([NOBODY, *(max(each.promised, each.leading) for each in net.states.values())])
            if election._highest != highest:
                raise OutOfDate(f"node {node.pid} takes {election._highest} for the highest claim; it is {highest}")
