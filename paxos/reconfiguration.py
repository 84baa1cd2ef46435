"""Which configuration a leader proposes next, if any: one that founds the cluster, or takes in who came back.

A leader proposes one change at a time, when all that it has inherited is decided.
"""

from __future__ import annotations

from random import Random

from paxos.configuration import stop_sign
from paxos.connectivity import Connectivity
from paxos.leader import Leader
from paxos.limits import Limits
from paxos.log import Log
from paxos.messages import Configuration
from paxos.voter_registry import VoterRegistry

CLUSTER_BITS = 63


class Reconfiguration:
    def __init__(
        self, registry: VoterRegistry, net: Connectivity, log: Log, limits: Limits, random: Random
    ) -> None:
        self._registry = registry
        self._net = net
        self._log = log
        self._limits = limits
        self._random = random

    def drive(self, leader: Leader) -> None:
        """Lets the leader propose the next configuration if it is time for one."""
        if leader.stopping:
            return
        current = self._registry.configuration
        if current is None:
            leader.stop(stop_sign(self._founding()))
        elif leader.settled and (members := self._recovered(current)) != current.members:
            leader.stop(stop_sign(Configuration(current.number + 1, current.cluster, members)))

    def _founding(self) -> Configuration:
        """The log's first entry (on disks of release 0.1.0, the next): the cluster gets its id and its members."""
        return Configuration(1, self._random.getrandbits(CLUSTER_BITS) | 1, self._registry.founders())

    def _recovered(self, current: Configuration) -> dict[int, int]:
        """The members, with the new identity of each that came back with another disk and has caught up."""
        members = dict(current.members)
        for pid, identity in current.members.items():
            state = self._net.states.get(pid)
            if (
                pid != self._net.pid and pid in self._net.fresh and state is not None
                and state.identity not in (0, identity) and state.cluster == current.cluster
                and state.decided_upto + self._limits.lag >= self._log.decided_upto
            ):
                members[pid] = state.identity
        return members
