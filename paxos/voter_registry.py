"""Whether this node may vote. A node that lost its disk may not: it has forgotten its promises.

Each disk has a random identity, created when it is first used. Once a cluster is founded, a node votes exactly as long
as the configuration in force names the identity of its disk (see paxos/configuration.py); what any single node says
changes nothing. (Where it names none for a member, that disk was not known to the founder: there counts what the disk
was admitted as.) The rest of this file is about the time before that, and decides who may found.

Every node that is not founded yet keeps a roster on disk: the first identity it saw for each number. A node that finds
another identity for its own number in any roster knows that it is a replacement without the old promises, and waits as
a learner; once it is a voter, that takes the rosters of most of the others.

A node with a new disk votes only when it is certain that it is not such a replacement: when its identity is in the
rosters of so many others that the rosters of every earlier disk share a member with them (more than half of the
others; both sets are that large, so they intersect), or, for the very first start of a cluster, of a quorum (including
itself) that has never accepted anything. The second rule leaves a gap, which no rule that lets a bare majority of
empty disks found a cluster can close: if disks are lost that form a majority together with nodes that hold
nothing yet, and all nodes that hold anything are unreachable, then that majority looks exactly like a first start.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from paxos.effects import Effects
from paxos.messages import Configuration, Heartbeat, NodeState, RosterStored
from paxos.output import Durable, VoterStatus


class VoterRegistry:
    def __init__(self, pid: int, members: Iterable[int], durable: Durable, effects: Effects) -> None:
        self._pid = pid
        self._in_use = bool(durable.decided or durable.entries or durable.snapshot_position)
        """The disk holds operations from before the cluster had an id: it was made by release 0.1.0. Then whoever was
        met there is a member, too, and no others are added: the configuration file may have been edited since."""
        self._members = frozenset({*members, *(durable.roster if self._in_use else ())})
        self._others = len(self._members) - 1
        self._effects = effects
        self.identity = durable.identity
        self.configuration = durable.configuration
        self.doubtful = durable.reopened
        """Others may remember more of this disk than it does itself (see paxos/memory.py): until that is known, this
        node does not vote."""
        self._status = durable.voter_status
        """Before the cluster is founded, and where its configuration names no disk for this member."""
        self.voter_status = self._status
        self.roster = {**durable.roster, pid: durable.identity}
        self.stored_roster = dict(durable.roster)
        """The part of the roster that is surely on disk: only that may be told to others."""
        self.decided: dict[int, int] = {}
        """The identities that the configuration in force names."""
        if durable.configuration is not None:
            self.configured(durable.configuration)
        self._founded: set[int] = set()
        """Who says that there is a cluster."""
        self._known_by: set[int] = set()
        self._known_while_blank: set[int] = set()
        self._denied_by: set[int] = set()
        """Who remembers another disk of this node."""
        if self._status is VoterStatus.NEW and not durable.roster:
            effects.to_persist().roster = dict(self.roster)
        self._admit()

    def _judge(self) -> VoterStatus:
        if self.configuration is None:
            return self._status
        decided = self.configuration.members.get(self._pid)
        if decided == self.identity:
            return VoterStatus.VOTER
        if decided is None:
            return VoterStatus.NEW
        return self._status if decided == 0 else VoterStatus.LEARNER

    @property
    def admitted(self) -> bool:
        """True if this disk's votes count."""
        return self.voter_status is VoterStatus.VOTER

    @property
    def votes(self) -> bool:
        return self.admitted and not self.doubtful

    @property
    def vouches_as(self) -> int:
        """What this node's votes say of its disk; 0 before the cluster is founded."""
        return 0 if self.configuration is None else self.identity

    def counts(self, node: int, identity: int) -> bool:
        """True if a vote of this node counts, given with this disk. Votes are those of disks, not of nodes: one that
        was replaced, and comes back, has not seen what its successor promised."""
        if self.configuration is None:
            return node in self._members
        named = self.configuration.members.get(node)
        return named is not None and (named == 0 or named == identity)

    def lost(self, states: Mapping[int, NodeState]) -> tuple[int, ...]:
        """The voters whose disks are gone or must not vote any more, from what the nodes say; none as long as the
        others can form a quorum. New disks count by a quorum's decision: only an old one that turns up changes this."""
        if self.configuration is None:
            return ()
        members = self.configuration.members
        lost = [
            pid for pid, identity in members.items()
            if identity and (identity < 0 if (state := states.get(pid)) is None else state.identity != identity)
        ]
        if len(members) - len(lost) >= len(members) // 2 + 1:
            return ()
        if any(state.configuration > self.number for state in states.values()):
            return ()  # what is known here of members is out of date
        return tuple(sorted(lost))

    @property
    def cluster(self) -> int:
        """The id of the cluster; 0 before it is founded."""
        return 0 if self.configuration is None else self.configuration.cluster

    @property
    def number(self) -> int:
        """Of the configuration in force; 0 before the cluster is founded."""
        return 0 if self.configuration is None else self.configuration.number

    @property
    def since(self) -> int:
        """The first position that the configuration in force governs. All before it is decided."""
        return 1 if self.configuration is None else self.configuration.since

    @property
    def members(self) -> Collection[int]:
        """Before the cluster is founded."""
        return self._members

    def founders(self) -> dict[int, int]:
        """The members of a cluster that is founded now, with their identities as far as they are known."""
        return {pid: self.roster.get(pid, 0) for pid in self._members}

    def told_roster(self) -> dict[int, int]:
        """The identities that this node vouches for: decided ones, or those in the roster on its disk."""
        return self.stored_roster if self.configuration is None else self.decided

    def configured(self, configuration: Configuration) -> None:
        """From now on this configuration is in force."""
        self.configuration = configuration
        self.decided = {pid: identity for pid, identity in configuration.members.items() if identity}
        self.voter_status = self._judge()

    def renew(self, identity: int) -> None:
        """From now on this disk counts as another one."""
        self.identity = self._effects.to_persist().identity = identity
        self.voter_status = self._judge()

    def heard(self, sender: int, message: Heartbeat) -> None:
        """Takes in what a heartbeat says of identities. What those say who have a cluster (it may be another one) is
        not for this node to judge, until it has got a decided configuration itself."""
        if self.configuration is not None:
            return
        for state in message.states:
            if state.pid != sender and state.pid not in self._members:
                continue
            (self._founded.add if state.cluster else self._founded.discard)(state.pid)
        unfounded = [state for state in message.states if not state.cluster]
        if sender not in self._founded:
            self._meet(message.roster.items())
            self._remembered(sender, message.roster, any(each.pid == sender and each.blank for each in unfounded))
        self._meet((state.pid, state.identity) for state in unfounded)
        for state in unfounded:
            # Rows of other nodes count even if relayed: a node with only one link must become a voter as well.
            self._remembered(state.pid, state.roster, state.blank)
        self._admit()

    def roster_stored(self, message: RosterStored) -> None:
        self.stored_roster = message.roster

    def _meet(self, disks: Iterable[tuple[int, int]]) -> None:
        if self._in_use:
            return
        before = len(self.roster)
        for pid, identity in disks:
            if pid in self._members:
                self.roster.setdefault(pid, identity)
        if len(self.roster) > before:
            roster = dict(self.roster)
            self._effects.to_persist().roster = roster
            self._effects.send_after_persist(self._pid, RosterStored(roster))

    def _remembered(self, by: int, roster: dict[int, int], blank: bool) -> None:
        """Node `by` has this roster on its disk. One that knows another disk is enough to keep this one from becoming
        a voter; an established voter is demoted only by most of the others."""
        remembered = roster.get(self._pid)
        if remembered is None or by not in self._members or by == self._pid:
            return
        if remembered != self.identity:
            self._denied_by.add(by)
            if self._status is not VoterStatus.VOTER or len(self._denied_by) > self._others // 2:
                self._become(VoterStatus.LEARNER)
        else:
            self._denied_by.discard(by)
            self._known_by.add(by)
            if blank:
                self._known_while_blank.add(by)

    def _admit(self) -> None:
        """A node with a new disk becomes a voter as soon as enough others know it."""
        majority_of_others = len(self._known_by) > self._others // 2
        founding_quorum = len(self._known_while_blank) >= (self._others + 1) // 2
        if self._founded or self._pid not in self._members:
            return  # There is a cluster already, or others found it: it decides whether this node votes.
        if self._status is VoterStatus.NEW and (majority_of_others or founding_quorum):
            self._become(VoterStatus.VOTER)

    def _become(self, status: VoterStatus) -> None:
        """On disk before this node's next vote leaves."""
        if status is not self._status:
            self._status = self._effects.to_persist().voter_status = status
            self.voter_status = self._judge()
