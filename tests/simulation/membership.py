"""What a run does to disks and to the membership, and which of it the cluster must be able to stand.

The assumption under which everything is repaired: at any time, a majority of the voters has its disks. A disk that is
put back from an older copy is noticed if, whatever majority a node hears from, one of them remembers the later one.
Faults that would break this are not carried out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from paxos.ballot import NOBODY, Leadership
from paxos.configuration import is_stop_sign, read_stop_sign
from paxos.messages import Accept, Accepted, AnyMessage, Change, Configuration, Promise, Stamp
from paxos.output import VoterStatus
from paxos.reconfiguration import NO_DISK
from tests.simulation.disk import Disk
from tests.simulation.events import LEADER, ChangeMembers, Restore, Stranger, Swap, Upgrade, Wipe
from tests.simulation.founding import founded
from tests.simulation.node import Node
from tests.simulation.observer import Observer
from tests.simulation.world import World

STRANGER = 0xBAD
"""The id of another cluster."""


class Membership(Observer):
    def __init__(self, world: World, start: Callable[[Node], None]) -> None:
        self._world = world
        self._start = start
        self._vouched: dict[int, Stamp] = {}
        """By disk, the stamp of the last write that it vouched for."""
        self._over = False
        """Faults have ended."""
        self._displaced: dict[int, Node] = {}
        """Nodes in whose place a stranger runs."""
        self._asked: list[tuple[Node, Change, int]] = []
        self._proposed: list[Configuration] = []
        """All that were ever named in a stop-sign."""
        world.observe(self)

    def sent(self, world: World, node: Node, to: int, message: AnyMessage) -> None:
        if isinstance(message, Promise | Accepted):
            self._vouched[node.disk.image.identity] = node.disk.image.stamp
        elif isinstance(message, Accept):
            named = [read_stop_sign(operation) for operation in message.operations if is_stop_sign(operation)]
            self._proposed += [each for each in named if each is not None and each not in self._proposed]

    # ---- What the cluster can stand

    def possible(self) -> Iterator[Configuration]:
        """The configurations that count, or may turn out to: the last that was decided, the one before as long as no
        majority of the last one has stored its beginning, and all that may be decided yet, or proposed by who has not
        noticed yet what happened."""
        decided = self._world.configurations
        if not decided:
            return
        last = decided[-1]
        yield last
        begun = [self._holds(pid, last, last.since - 1) for pid in last.members]
        if len(decided) > 1 and sum(begun) < self._world.quorum(last):
            yield decided[-2]
        yield from (each for each in self._proposed if each.number > last.number)
        for _, change, member in self._asked:
            members = dict(last.members)
            if change is Change.ADD and member not in members:
                for identity in self._identities(member):
                    yield Configuration(last.number + 1, last.cluster, members | {member: identity}, last.since)
                continue
            elif change is Change.REPLACE and member in members:
                members[member] = NO_DISK
            elif change is Change.REMOVE and len(members) > 1:
                members.pop(member, None)
            yield Configuration(last.number + 1, last.cluster, members, last.since)

    def _identities(self, pid: int) -> set[int]:
        """Of all disks that it ever had: a leader may not know yet which one it has now."""
        node = self._world.nodes[pid]
        return {node.disk.image.identity, *node.removed}

    def _holds(self, pid: int, configuration: Configuration, position: int) -> bool:
        node = self._world.nodes.get(pid)
        if node is None or not self._world.counts(configuration, pid, node.disk.image.identity):
            return False
        return max(node.disk.image.decided, node.disk.image.snapshot_position) >= position

    def intact(self, node: Node, configuration: Configuration) -> bool:
        """True if its disk is the one that votes there, and holds all that was decided before it did. A copy
        from before its last use may be taken for old by those who remember that, though it voted for nothing since."""
        image, decided = node.disk.image, self._world.configurations
        used = node.removed.get(image.identity)
        if used is not None and used.image.stamp > image.stamp:
            return False
        if image.identity == node.outdated or not self._world.counts(configuration, node.pid, image.identity):
            return False
        if configuration.members[node.pid] == 0 and image.voter_status is not VoterStatus.VOTER:
            return False
        first = next((each for each in decided if each.members.get(node.pid) == image.identity), None)
        return first is None or first.number == 1 or self._holds(node.pid, first, first.since - 1)

    def may_vote_now(self, node: Node, configuration: Configuration) -> bool:
        """A new disk that has not heard of the cluster has to hear from more nodes than a leader does."""
        image = node.disk.image
        heard = image.configuration is not None or image.voter_status is VoterStatus.VOTER
        return heard and self.intact(node, configuration)

    def may_be_lost(self, node: Node) -> bool:
        """True if the cluster is founded, and its disks are enough without this one."""
        world = self._world
        if not world.configurations or node.foreign or self._displaced:
            return False
        others = [other for other in world.nodes.values() if other is not node]
        return self._enough(others) and all(
            self._remembered(each, node) for each in others if each.disk.image.identity == each.outdated)

    def _enough(self, nodes: list[Node]) -> bool:
        """True if the disks of these are a majority in each configuration that may count."""
        return all(
            sum(self.intact(node, each) for node in nodes) >= self._world.quorum(each) for each in self.possible())

    def _may_return(self, node: Node, copy: Disk) -> bool:
        """True if it does no harm, or is noticed, that this copy is put in the place of the node's disk."""
        identity = copy.image.identity
        counts = any(self._world.counts(each, node.pid, identity) for each in self.possible())
        return self.may_be_lost(node) and (not counts or self._remembered(node, identity=identity))

    def _remembered(self, node: Node, but: Node | None = None, identity: int | None = None) -> bool:
        """True if every majority that `node` may hear from remembers on disk what its disk (or the one of this
        identity, that it had before) vouched for last."""
        world = self._world
        identity = node.disk.image.identity if identity is None else identity
        stamp = self._vouched.get(identity, (0, 0))
        who = {
            other.pid for other in world.nodes.values() if other is not node and other is not but
            and (held := other.disk.image.remembered.get(node.pid)) is not None
            and held.identity == identity and held.stamp >= stamp and other.disk.image.identity != other.outdated
        }
        return stamp == (0, 0) or all(
            len(set(each.members) - who - {node.pid}) + 1 < world.quorum(each)
            for each in (*self.possible(), *world.configurations))

    # ---- Faults

    def wipe(self, event: Wipe) -> str:
        node = self._world.nodes[event.pid]
        if not node.up or node.foreign:
            return "wipe (too late)"
        node.crash()
        allowed = self.may_be_lost(node)
        if allowed:
            node.wipe(damaged=event.damaged)
            if event.clock_back:
                node.epoch_us //= 2
                node.offset += 1000.0
        self._world.at(event.down, lambda: self._start(node))
        return ("damaged" if event.damaged else "wipe") if allowed else "crash"

    def strangers_leave(self, node: Node) -> None:
        """Before a node starts that belongs to no cluster yet, and would have to choose between two."""
        if node.disk.image.configuration is None:
            for pid in list(self._displaced):
                if pid != node.pid:
                    self._leaves(pid)

    def copy_for(self, event: Restore) -> None:
        """To be called `age` before the event."""
        node = self._world.nodes[event.pid]
        copy = node.backup()
        self._world.at(event.age, lambda: self._restore(event, node, copy))

    def _restore(self, event: Restore, node: Node, copy: Disk) -> None:
        if not node.up or self._world.nodes[event.pid] is not node:
            return
        node.crash()

        def back() -> None:
            if self._over:
                self._start(node)
                return
            if not node.up and self._may_return(node, copy):
                node.restore(copy, self._vouched.get(copy.image.identity, (0, 0)))
            self._start(node)

        self._world.at(event.down, back)

    def swap(self, event: Swap) -> str:
        node = self._world.nodes[event.pid]
        if not node.up or node.foreign:
            return "swap (too late)"
        node.crash()
        former = node.disk
        if not self.may_be_lost(node):
            self._world.at(event.seconds, lambda: self._start(node))
            return "crash"
        node.wipe()
        self._start(node)
        empty = node.disk

        def back() -> None:
            there = node.disk is empty and self._world.nodes[event.pid] is node
            if there and not self._over and self.may_be_lost(node):
                if node.up:
                    node.crash()
                node.restore(former, self._vouched.get(former.image.identity, (0, 0)))
                self._start(node)

        self._world.at(event.seconds, back)
        return "swap"

    def stranger(self, event: Stranger) -> str:
        world = self._world
        node = world.nodes[event.pid]
        joining = any(other.up and not other.replica.cluster for other in world.nodes.values())
        if not node.up or node.foreign or joining:
            return "stranger (too late)"  # Who has no cluster yet, or lost its disk, may believe a stranger.
        node.crash()
        self._displaced[event.pid] = node
        other = world.nodes[event.pid] = Node(world, event.pid, foreign=True)
        members = (event.pid,) if event.alone else world.pids
        identities = {pid: 7 * pid for pid in members} | {event.pid: other.disk.image.identity}
        other.disk.write([founded(identities, STRANGER)])
        other.start()
        world.at(event.seconds, lambda: self._leaves(event.pid))
        return "stranger"

    def _leaves(self, pid: int) -> None:
        node = self._displaced.pop(pid, None)
        if node is not None:
            stranger = self._world.nodes[pid]
            if stranger.up:
                stranger.crash()
            self._world.nodes[pid] = node
            self._start(node)

    def change(self, event: ChangeMembers) -> None:
        node = self.leader() if event.pid == LEADER else self._world.nodes[event.pid]
        if node.up and not node.leaving and not node.foreign:
            asked = node, Change(event.change), event.member
            self._asked.append(asked)
            if self._enough(list(self._world.nodes.values())):
                node.process.change_members(*asked[1:])
            else:  # Too many of those that would be left have just lost their disks, and the leader can't know yet.
                self._asked.remove(asked)

    def upgrade(self, event: Upgrade) -> None:
        node = self._displaced.get(event.pid, self._world.nodes[event.pid])
        node.old = False
        if node.up:
            node.crash()
            self._world.at(event.down, lambda: self._start(node))

    def calm(self) -> None:
        """Nobody asks for anything any more; strangers are gone; all nodes run this release."""
        self._over = True
        for pid in list(self._displaced):
            self._leaves(pid)
        for node, _, _ in self._asked:
            if node.up:
                node.replica.abandon_change()
        for node in self._world.nodes.values():
            if node.old:
                node.old = False
                if node.up:
                    node.crash()

    def leader(self) -> Node:
        """The node with the highest claim, or the first."""
        own = (node for node in self._world.nodes.values() if not node.foreign)
        return max(own, key=lambda node: (claim(node), -node.pid))

    # ---- Afterwards

    def all_vote(self, nodes: list[Node]) -> bool:
        """True if all of these that are members vote, and (if nobody is missing) there is a cluster."""
        configurations = self._world.configurations
        if not configurations:
            return not all(self._world.nodes[pid] in nodes for pid in self._world.named) or bool(
                self._world.weather.cut)
        members = configurations[-1].members
        return all(node.replica.registry.votes for node in nodes if node.pid in members)


def claim(node: Node) -> Leadership:
    if not node.up or node.replica.leader is None:
        return NOBODY
    return node.replica.leader.leadership
