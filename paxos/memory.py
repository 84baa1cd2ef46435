"""Notices a disk that went back in time: a copy put back from a backup has forgotten promises, and must not vote.

Every node tells in its heartbeats what it last vouched for to others (the highest promise, the last position accepted),
and everybody remembers the most that it heard of each member's disk, passes it on, and stores it now and then. A node
that starts with a used disk votes only after it has heard from a quorum (itself included; whoever votes needs one
anyway). When others remember more of its disk than the disk itself does, it draws a new identity, and comes back like a
node that has lost its disk (see paxos/configuration.py).

What nobody remembers who can be reached is not noticed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from random import Random

from paxos.acceptor import Acceptor
from paxos.ballot import NOBODY
from paxos.connectivity import Connectivity
from paxos.effects import Effects
from paxos.log import Log
from paxos.messages import Accepted, AnyMessage, Promise, Vouched
from paxos.output import Durable
from paxos.voter_registry import VoterRegistry

IDENTITY_BITS = 62


class Memory:
    def __init__(
        self, durable: Durable, registry: VoterRegistry, net: Connectivity, acceptor: Acceptor, log: Log,
        random: Random, effects: Effects,
    ) -> None:
        self._registry = registry
        self._net = net
        self._acceptor = acceptor
        self._log = log
        self._random = random
        self._effects = effects
        self._most: dict[int, Vouched] = dict(durable.remembered)
        """The most that is known of each member's disk."""
        self._unsaved = False
        """Something is remembered of others that is not stored."""

    def told(self) -> dict[int, Vouched]:
        """For the next heartbeat: of the disks that the configuration in force names."""
        decided = self._registry.decided
        return {pid: most for pid, most in self._most.items() if decided.get(pid) == most.identity}

    def vouched(self, messages: Iterable[AnyMessage]) -> None:
        """These leave now, and what they vouch for is on disk."""
        pid, identity = self._net.pid, self._registry.identity
        held = self._most.get(pid)
        promised, accepted = (NOBODY, 0) if held is None or held.identity != identity else (
            held.promised, held.accepted)
        for message in messages:
            if isinstance(message, Promise | Accepted):
                promised = max(promised, message.ballot.leadership)
                if isinstance(message, Accepted):
                    accepted = max(accepted, message.ballot.op_num + message.count - 1)
        if promised != NOBODY:
            self._most[pid] = Vouched(identity, promised, min(accepted, self._log.last))

    def heard(self, remembered: Mapping[int, Vouched]) -> None:
        """What a peer remembers of members' disks. Of this node's own it counts even if the disk is so old that the
        configuration on it does not name it."""
        decided = self._registry.decided
        for pid, told in remembered.items():
            own = pid == self._net.pid and told.identity == self._registry.identity
            if decided.get(pid) != told.identity and not own:
                continue
            held = self._most.get(pid)
            if held is not None and held.identity == told.identity:
                promised, accepted = max(held.promised, told.promised), max(held.accepted, told.accepted)
                if (promised, accepted) == (held.promised, held.accepted):
                    continue
                told = Vouched(told.identity, promised, accepted)
            self._most[pid] = told
            self._unsaved = self._unsaved or pid != self._net.pid

    def to_store(self) -> dict[int, Vouched] | None:
        """What others are remembered for, if any of it is new since the last call."""
        if not self._unsaved:
            return None
        self._unsaved = False
        return {pid: most for pid, most in self.told().items() if pid != self._net.pid}

    def settle(self) -> bool:
        """Decides whether this node's disk is what the others remember; true if that ends its doubts."""
        registry = self._registry
        most = self._most.get(self._net.pid)
        if most is not None and most.identity == registry.identity and registry.admitted and (
            most.promised > self._acceptor.promised.leadership or most.accepted > self._log.last
        ):
            identity = self._random.getrandbits(IDENTITY_BITS) | 1
            self._effects.to_persist().identity = registry.identity = identity
        if registry.doubtful and len(self._net.fresh.intersection(self._net.members)) >= self._net.quorum:
            registry.doubtful = False
            return True
        return False
