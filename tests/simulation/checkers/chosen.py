"""Only what a quorum accepted is decided, and what is chosen stays chosen (Lamport, *Paxos Made Simple*, P2).

An operation is chosen at a position as soon as the disks of a quorum of voters hold it as accepted under one and the
same leadership. From then on no higher leadership may propose anything else there. The voters are those of the
configuration that governs the position: a stop-sign before it makes what was accepted behind it void, unless it counts
in the next configuration, too.
"""

from __future__ import annotations

from paxos.ballot import NOBODY, Leadership
from paxos.messages import Accept, AnyMessage, Operation
from paxos.output import Persist, VoterStatus
from storage.records import Compaction
from tests.simulation.world import Node, Observer, Violation, World


class NotChosen(Violation):
    pass


class Chosen(Observer):
    def __init__(self) -> None:
        self.chosen: dict[int, tuple[Leadership, Operation]] = {}
        self._accepted: dict[tuple[int, Leadership], tuple[Operation, set[int]]] = {}
        """By position and leadership: the accepted operation, and the disks (identities) that hold it."""
        self._voters: dict[int, int] = {}
        """Identities of disks that vote (or once did), and their nodes."""
        self._front = 0
        self._configurations = 0

    def stored(self, world: World, node: Node, item: Persist | Compaction) -> None:
        if isinstance(item, Compaction):
            return
        identity = node.disk.image.identity
        if item.voter_status is VoterStatus.VOTER:
            self._voters[identity] = node.pid
            for position, leadership in list(self._accepted):
                self._count(world, position, leadership)
        for entry in item.entries:
            if entry.leadership == NOBODY:
                continue
            place = entry.position, entry.leadership
            operation, disks = self._accepted.setdefault(place, (entry.operation, set()))
            if operation != entry.operation:
                raise NotChosen(f"{node.pid} accepted {entry}; another node accepted {operation} under that leadership")
            disks.add(identity)
            self._count(world, *place)

    def _count(self, world: World, position: int, leadership: Leadership) -> None:
        operation, disks = self._accepted[position, leadership]
        configuration = world.governing(position)
        if configuration is None:
            voters = {self._voters[disk] for disk in disks if disk in self._voters}
        else:
            admitted = {self._voters[disk] for disk in disks if disk in self._voters}
            voters = {pid for pid, identity in configuration.members.items()
                      if identity in disks or (identity == 0 and pid in admitted)}
        if len(voters) < world.quorum(configuration):
            return
        first, chosen = self.chosen.setdefault(position, (leadership, operation))
        if chosen != operation:
            raise NotChosen(f"position {position}: {chosen} was chosen under {first}, {operation} under {leadership}")
        if leadership < first:
            self.chosen[position] = (leadership, operation)

    def sent(self, world: World, node: Node, to: int, message: AnyMessage) -> None:
        if not isinstance(message, Accept):
            return
        for position, operation in enumerate(message.operations, message.ballot.op_num):
            leadership, chosen = self.chosen.get(position, (NOBODY, operation))
            if chosen != operation and leadership < message.ballot.leadership:
                raise NotChosen(f"{node.pid} proposes {operation} as {message.ballot} at position {position}, where "
                                f"{chosen} was chosen under {leadership}")

    def _start(self, world: World) -> None:
        """Another configuration is in force: what is chosen from its first position on is counted anew."""
        since = world.configurations[self._configurations].since
        self._configurations += 1
        self.chosen = {position: what for position, what in self.chosen.items() if position < since}
        for position, leadership in list(self._accepted):
            if position >= since:
                self._count(world, position, leadership)

    def stepped(self, world: World, node: Node) -> None:
        while self._configurations < len(world.configurations):
            self._start(world)
        log = node.replica.log
        while self._front < log.decided_upto:
            self._front += 1
            if self._front not in self.chosen:
                raise NotChosen(f"{node.pid} knows position {self._front} as decided ({log.get(self._front)}), but no "
                                "quorum has accepted anything there")
            entry = log.get(self._front)
            if entry is not None and entry.operation != self.chosen[self._front][1]:
                raise NotChosen(f"{node.pid} knows {entry} as decided, but {self.chosen[self._front]} was chosen")
