"""Notices a disk that went back in time: a copy put back from a backup has forgotten promises, and must not vote.

Every write of promises or entries gets a stamp, which goes to the disk with it, and grows. A node tells the last stamp
that it vouched for in the vote itself and in its heartbeats; everybody remembers the highest that it heard of each
member's disk, passes it on, and stores it within a moment. So whoever has counted a vote remembers it. The start of a
process is written with a stamp, too, once its disk is not in doubt: one that served a later process is known even if
that one never voted.

A node that starts with a used disk votes only after it has heard from a quorum (itself included; whoever votes needs
one anyway). When others remember a later write on its disk than the disk holds, it draws a new identity, and comes back
like a node that has lost its disk (see paxos/configuration.py).

What nobody remembers who can be reached is not noticed.

One word is enough for that, so a member that lies about it, in numbers that may be, makes others renounce their disks,
as many as it lies about. To ask for two witnesses would not help, and would harm: everybody passes on what it is told,
as it must, since the only one that counted a vote may be gone; so a lie has all witnesses soon, and of the truth there
may be one within reach. To ask for a majority of them would let old copies vote: of the last votes of a disk, the one
leader that counted them may know alone, and without it those left and the old copy would decide something else. A node
that only stopped voting while in doubt would be as lost, for nothing ever refutes what is said of an earlier process.
What would help is that a disk signs its stamps, with a key that the configuration names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random

from msgspec.structs import replace

from paxos.connectivity import Connectivity
from paxos.effects import Effects
from paxos.messages import Accepted, AnyMessage, Promise, Stamp, Vouched
from paxos.output import Durable
from paxos.voter_registry import VoterRegistry

IDENTITY_BITS = 62
NO_STAMP: Stamp = (0, 0)


class Memory:
    def __init__(
        self, durable: Durable, registry: VoterRegistry, net: Connectivity, random: Random, effects: Effects
    ) -> None:
        self._registry = registry
        self._net = net
        self._random = random
        self._effects = effects
        self._found = self._stored = durable.stamp
        """The last stamp on the disk: when this node started, and now."""
        self._incarnation = durable.incarnation
        self._writes = 0
        self._earlier = NO_STAMP
        """The highest that others remember of this very disk, from before this node started."""
        self._most: dict[int, Vouched] = dict(durable.remembered)
        """The most that is known of each member's disk."""
        self._unsaved = False
        """Something is remembered of others that is not stored."""
        self._urgent = False
        """It is about a disk with another process: that is rare, and not forgotten even for a moment."""

    def next_stamp(self) -> Stamp | None:
        """For a write that is about to go to the disk. A disk that may be an old copy gets none: it would look newer
        than what others remember of it."""
        if self._registry.doubtful or self._is_old():
            return None
        self._writes += 1
        return self._incarnation, self._writes

    def _is_old(self) -> bool:
        return self._earlier > self._found

    def told(self) -> dict[int, Vouched]:
        """For the next heartbeat: of the disks that the configuration in force names."""
        decided = self._registry.decided
        return {pid: most for pid, most in self._most.items() if decided.get(pid) == most.identity}

    def vouched(
        self, messages: Sequence[tuple[int, AnyMessage]], stamp: Stamp | None
    ) -> Sequence[tuple[int, AnyMessage]]:
        """These leave now, and what they vouch for is on disk, up to the last `stamp`. Returns them with it."""
        self._stored = stored = self._stored if stamp is None else stamp
        votes = any(isinstance(message, Promise | Accepted) for _, message in messages)
        if votes or stamp is not None:
            self._most[self._net.pid] = Vouched(self._registry.identity, stored)
        if not votes:
            return messages
        return [
            (to, replace(message, stamp=stored) if isinstance(message, Promise | Accepted) else message)
            for to, message in messages
        ]

    def voted(self, sender: int, vote: Promise | Accepted) -> None:
        """Another node's vote has come."""
        if sender != self._net.pid and vote.stamp > NO_STAMP:
            self.heard({sender: Vouched(vote.identity, vote.stamp)})

    def heard(self, remembered: Mapping[int, Vouched]) -> None:
        """What a peer remembers of members' disks. Of this node's own it counts even if the disk is so old that the
        configuration on it does not name it."""
        decided = self._registry.decided
        for pid, told in remembered.items():
            if pid == self._net.pid:
                self._heard_of_own(told)
            elif decided.get(pid) == told.identity:
                held = self._most.get(pid)
                if held is None or held.identity != told.identity or held.stamp < told.stamp:
                    self._most[pid] = told
                    self._unsaved = True
                    self._urgent = self._urgent or held is None or held.stamp[0] < told.stamp[0]

    def _heard_of_own(self, told: Vouched) -> None:
        """What this process itself has said comes back, too: never more than that."""
        own = self._most.get(self._net.pid)
        said = own.stamp if own is not None and own.identity == told.identity else NO_STAMP
        if told.identity == self._registry.identity and (told.stamp[0] < self._incarnation or told.stamp > said):
            self._earlier = max(self._earlier, told.stamp)

    def is_due(self, usually: bool) -> bool:
        """True if there is something to store now; `usually`: it has been a while since the last time."""
        return self._unsaved and (usually or self._urgent)

    def to_store(self) -> dict[int, Vouched] | None:
        """What others are remembered for, if any of it is new since the last call."""
        if not self._unsaved:
            return None
        self._unsaved = self._urgent = False
        return {pid: most for pid, most in self.told().items() if pid != self._net.pid}

    def settle(self) -> bool:
        """Decides whether this node's disk is what the others remember; true if that ends its doubts."""
        registry = self._registry
        if registry.admitted and self._is_old():
            self._earlier = NO_STAMP
            registry.renew(self._random.getrandbits(IDENTITY_BITS) | 1)
        if registry.doubtful and len(self._net.fresh.intersection(self._net.members)) >= self._net.quorum:
            registry.doubtful = False
            if not self._is_old():  # This process is remembered of its disk, too, even if it never writes to it.
                self._effects.to_persist().stamp = (self._incarnation, 0)
            return True
        return False
