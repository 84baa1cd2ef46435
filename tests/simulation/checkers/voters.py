"""Only voters vote; a node that has lost its disk never votes again."""

from __future__ import annotations

from paxos.messages import Accepted, AnyMessage, Confirmed, Promise
from paxos.output import VoterStatus
from tests.simulation.world import Node, Observer, Violation, World


class NoVoter(Violation):
    pass


class Voters(Observer):
    def sent(self, world: World, node: Node, to: int, message: AnyMessage) -> None:
        if isinstance(message, Promise | Accepted | Confirmed):
            if node.wiped:
                raise NoVoter(f"{node.pid} has lost its disk and sends {message}")
            if node.standing_on_disk is not VoterStatus.VOTER and not isinstance(message, Confirmed):
                raise NoVoter(f"{node.pid} is {node.standing_on_disk.value} on disk and sends {message}")
