"""Only voters vote: before a cluster is founded, by what their disks say; from then on, by a decided configuration that
names their disks. A node that has lost its disk, or has an older copy of it, votes again only under an identity that
was decided since; what a replaced disk says for positions behind that does not count."""

from __future__ import annotations

from paxos.messages import Accepted, AnyMessage, Confirmed, Promise
from paxos.output import VoterStatus
from tests.simulation.world import Node, Observer, Violation, World


class NoVoter(Violation):
    pass


class Voters(Observer):
    def sent(self, world: World, node: Node, to: int, message: AnyMessage) -> None:
        if not isinstance(message, Promise | Accepted | Confirmed):
            return
        image = node.disk.image
        if image.identity == node.outdated and self._counts_for_the_old(world, node, message):
            raise NoVoter(f"{node.pid} has an old copy of its disk, which has forgotten promises, and sends {message}")
        if any(each.members.get(node.pid) == image.identity for each in world.configurations):
            return
        if node.wiped:
            raise NoVoter(f"{node.pid} has lost its disk, the new one was never decided, and it sends {message}")
        if image.voter_status is not VoterStatus.VOTER and not isinstance(message, Confirmed):
            raise NoVoter(f"{node.pid} is {image.voter_status.value} on disk and sends {message}")

    def _counts_for_the_old(self, world: World, node: Node, message: Promise | Accepted | Confirmed) -> bool:
        """Not if the disk was out of the configuration meanwhile: what it promised before that does not matter."""
        governing = world.governing(message.ballot.op_num)
        number = 0 if governing is None else governing.number
        since = world.configurations[max(node.outdated_since - 1, 0):number]
        return world.counts(governing, node.pid, message.identity) and all(
            world.counts(each, node.pid, message.identity) for each in since)
