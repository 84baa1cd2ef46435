"""Whether this node may vote. A node that lost its disk may not: it has forgotten its promises.

Each disk has a random identity, created when it is first used. Every node keeps a roster on disk: the first identity it
saw for each number. A node that finds another identity for its own number in any roster knows that it is a
replacement without the old promises, and follows as a learner permanently.

A node with a new disk votes only when it is certain that it is not such a replacement: when its identity is in the
rosters of so many others that the rosters of every earlier disk share a member with them (more than half of the
others; both sets are that large, so they intersect), or, for the very first start of a cluster, of a quorum (including
itself) that has never accepted anything. The second rule leaves a gap, which no rule that lets a bare majority of
empty disks found a cluster can close: if disks are lost that form a majority together with nodes that hold
nothing yet, and all nodes that hold anything are unreachable, then that majority looks exactly like a first start.
"""

from __future__ import annotations

from paxos.effects import Effects
from paxos.messages import Heartbeat, RosterStored
from paxos.output import Durable, VoterStatus


class VoterRegistry:
    def __init__(self, pid: int, members: tuple[int, ...], durable: Durable, effects: Effects) -> None:
        self._pid = pid
        self._members = frozenset(members)
        self._others = len(self._members) - 1
        self._effects = effects
        self.identity = durable.identity
        self.voter_status = durable.voter_status
        self.roster = {**durable.roster, pid: durable.identity}
        self.stored_roster = dict(durable.roster)
        """The part of the roster that is surely on disk: only that may be told to others."""
        self._known_by: set[int] = set()
        self._known_while_blank: set[int] = set()
        if self.voter_status is VoterStatus.NEW and not durable.roster:
            effects.to_persist().roster = dict(self.roster)
        self._admit()

    @property
    def votes(self) -> bool:
        return self.voter_status is VoterStatus.VOTER

    def heard(self, sender: int, message: Heartbeat) -> None:
        """Takes in what a heartbeat says of identities."""
        self._meet(message)
        self._remembered(sender, message.roster, any(each.pid == sender and each.blank for each in message.states))
        for state in message.states:
            # Rows of other nodes count even if relayed: a node with only one link must become a voter as well.
            self._remembered(state.pid, state.roster, state.blank)
        self._admit()

    def roster_stored(self, message: RosterStored) -> None:
        self.stored_roster = message.roster

    def _meet(self, message: Heartbeat) -> None:
        before = len(self.roster)
        for pid, identity in (*message.roster.items(), *((state.pid, state.identity) for state in message.states)):
            if pid in self._members:
                self.roster.setdefault(pid, identity)
        if len(self.roster) > before:
            roster = dict(self.roster)
            self._effects.to_persist().roster = roster
            self._effects.send_after_persist(self._pid, RosterStored(roster))

    def _remembered(self, by: int, roster: dict[int, int], blank: bool) -> None:
        """Node `by` has this roster on its disk."""
        remembered = roster.get(self._pid)
        if remembered is None or by not in self._members or by == self._pid:
            return
        if remembered != self.identity:
            self._become(VoterStatus.LEARNER)
        else:
            self._known_by.add(by)
            if blank:
                self._known_while_blank.add(by)

    def _admit(self) -> None:
        """A node with a new disk becomes a voter as soon as enough others know it."""
        majority_of_others = len(self._known_by) > self._others // 2
        founding_quorum = len(self._known_while_blank) >= (self._others + 1) // 2
        if self.voter_status is VoterStatus.NEW and (majority_of_others or founding_quorum):
            self._become(VoterStatus.VOTER)

    def _become(self, status: VoterStatus) -> None:
        """On disk before this node's next vote leaves."""
        if status is not self.voter_status:
            self.voter_status = self._effects.to_persist().voter_status = status
