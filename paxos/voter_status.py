"""May this node vote? A node that lost its disk may not: it has forgotten what it promised.

Each disk has an identity, drawn when it is first used. Every node keeps a roster on disk: the first identity that it
met under each number. A node that finds another identity under its own number in anybody's roster knows that it is a
replacement with an empty memory, and follows as a learner for good.

A node with a new disk votes only when it is sure that it isn't such a replacement: when its identity is in the
rosters of so many others that every earlier life's set of rosters shares a member with them (more than half of the
others; both sets are that large, so they intersect), or, for the very first start of a cluster, of a quorum (with
itself) that has never accepted anything. The second rule leaves a hole, which no rule that lets a bare majority of
empty disks found a cluster can close: if disks are lost, and they make up a majority together with nodes that hold
nothing yet, and all nodes that hold anything are unreachable, then that majority looks exactly like a first start.
"""

from __future__ import annotations

from collections.abc import Iterable

from paxos.messages import Heartbeat
from paxos.output import VoterStatus


class Registration:
    def __init__(
        self, pid: int, members: Iterable[int], identity: int, standing: VoterStatus, roster: dict[int, int]
    ) -> None:
        self.identity = identity
        self.standing = standing
        self.roster = {**roster, pid: identity}
        self._pid = pid
        self._members = frozenset(members)
        self._others = len(self._members) - 1
        self._known_by: set[int] = set()
        self._known_while_blank: set[int] = set()

    @property
    def votes(self) -> bool:
        return self.standing is VoterStatus.VOTER

    def heard(self, sender: int, message: Heartbeat, blank: bool) -> bool:
        """Takes in what a heartbeat says of identities. True if the roster grew and must be stored."""
        known = self._meet(message)
        self._remembered(sender, message.roster, blank)
        for row in message.rows:
            # What others say of themselves comes from afar too: a node with one link left must get to vote as well.
            self._remembered(row.pid, row.roster, row.blank)
        return known

    def _remembered(self, by: int, roster: dict[int, int], blank: bool) -> None:
        """Node `by` has this roster on its disk."""
        remembered = roster.get(self._pid)
        if remembered is not None and by in self._members and by != self._pid:
            if remembered != self.identity:
                self.standing = VoterStatus.LEARNER
            else:
                self._known_by.add(by)
                if blank:
                    self._known_while_blank.add(by)

    def _meet(self, message: Heartbeat) -> bool:
        before = len(self.roster)
        for pid, identity in (*message.roster.items(), *((row.pid, row.identity) for row in message.rows)):
            if pid in self._members:
                self.roster.setdefault(pid, identity)
        return len(self.roster) > before

    def admit(self) -> bool:
        """True when a node with a new disk has just become a voter, which must be stored before it votes."""
        majority_of_others = len(self._known_by) > self._others // 2
        founding_quorum = len(self._known_while_blank) >= (self._others + 1) // 2
        if self.standing is VoterStatus.NEW and (majority_of_others or founding_quorum):
            self.standing = VoterStatus.VOTER
            return True
        return False
