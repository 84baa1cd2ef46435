"""Which configuration comes next, if any: one that founds the cluster, takes in who came back with another disk, or
makes a change that was asked for.

A leader proposes one change at a time, when all that it has inherited is decided, and only one after which it still
reaches a quorum. Whoever asks for a change repeats that until it is decided, whoever leads by then.
"""

from __future__ import annotations

from random import Random

from paxos.bounds import MOST_PID
from paxos.configuration import new_cluster, stop_sign
from paxos.connectivity import Connectivity
from paxos.leader import Leader
from paxos.limits import Limits
from paxos.log import Log
from paxos.messages import Change, Configuration, NodeState, Reconfigure
from paxos.operations_version import OperationsVersions
from paxos.voter_registry import VoterRegistry

ASKED_S = 5.0
"""A change that nobody has asked for again in this time is not wanted any more."""
MOST_ASKED = 16
"""Changes that are asked for at one time, at most."""
NO_DISK = -1
"""In the place of the identity of a member that is being replaced."""

Members = dict[int, int]


class Reconfiguration:
    def __init__(
        self, registry: VoterRegistry, net: Connectivity, log: Log, versions: OperationsVersions, limits: Limits,
        random: Random,
    ) -> None:
        self._registry = registry
        self._versions = versions
        self._net = net
        self._log = log
        self._limits = limits
        self._random = random
        self._asked: dict[Reconfigure, float] = {}
        """What others, or this node itself, ask for, and when they did last."""

    def ask(self, message: Reconfigure, now: float) -> None:
        if message in self._asked or len(self._asked) < MOST_ASKED:
            self._asked[message] = now

    def drive(self, leader: Leader, now: float) -> None:
        """Lets the leader propose the next configuration if it is time for one. As long as it waits for room, what it
        names is renewed."""
        if leader.stopping:
            return
        current = self._registry.configuration
        if current is None:
            if (leader.next == 1 and self._versions.living_speak()) or self._versions.all_speak():
                leader.stop(stop_sign(self._founding()))
            return
        self._asked = {what: at for what, at in self._asked.items()
                       if now - at < ASKED_S and what.number >= current.number}
        members = self._next(current) if leader.settled else None
        leader.stop(None if members is None else stop_sign(Configuration(current.number + 1, current.cluster, members)))

    def _founding(self) -> Configuration:
        """The log's first entry: the cluster gets its id and its members. With data of release 0.1.0 it is the next one
        once no member runs that release any more, which takes a stop-sign for a no-op. (A log may be empty there, too:
        hence the look at who lives.)"""
        return Configuration(1, new_cluster(self._random), self._registry.founders())

    def _next(self, current: Configuration) -> Members | None:
        """The members of the next configuration; None if there is no reason to change any."""
        recovered = self._recovered(current)
        if recovered != current.members:
            return recovered
        for asked in self._asked:
            if asked.number != current.number:
                continue
            changed = self._changed(current, asked)
            if changed is not None and changed != current.members and self._reaches_quorum(changed, current):
                return changed
        return None

    def _recovered(self, current: Configuration) -> Members:
        """The members, with the new identity of each that came back with another disk and has caught up."""
        members = dict(current.members)
        for pid in current.members:
            state = self._level(pid, current)
            if pid != self._net.pid and state is not None and state.identity != 0:
                members[pid] = state.identity
        return members

    def _changed(self, current: Configuration, asked: Reconfigure) -> Members | None:
        """The members after this change; None if it makes no sense now."""
        members, node = dict(current.members), asked.node
        match asked.change:
            case Change.ADD if node not in members and 0 < node <= MOST_PID:
                state = self._level(node, current)
                if state is None or state.identity == 0:
                    return None
                members[node] = state.identity
            case Change.REMOVE if node in members and len(members) > 1:
                del members[node]
            case Change.REPLACE if node in members and node not in self._net.fresh:
                members[node] = NO_DISK
            case _:
                return None
        return members

    def _level(self, node: int, current: Configuration) -> NodeState | None:
        """What the node says of itself, if it is alive, belongs to this cluster, and knows nearly all."""
        state = self._net.states.get(node)
        if (
            state is None or node not in self._net.fresh or state.cluster != current.cluster
            or state.decided_upto + self._limits.lag < self._log.decided_upto
        ):
            return None
        return state

    def _reaches_quorum(self, members: Members, current: Configuration) -> bool:
        """True if this node exchanges messages with a quorum of these who vote now: what comes may go again at once, so
        nothing may depend on it (but for the second of two). Who knows an earlier configuration only may say that it
        votes, with a disk that does not count any more."""
        net, second = self._net, len(current.members) == 1
        reached = sum(
            node == net.pid or (
                net.linked(net.pid, node) and identity in (0, net.states[node].identity)
                and (net.votes(node) or (second and node not in current.members)))
            for node, identity in members.items()
        )
        return reached >= len(members) // 2 + 1


def is_made(change: Change, node: int, before: Configuration, now: Configuration) -> bool:
    """True if a change that was asked for in the configuration `before` has been made."""
    if change is Change.ADD:
        return node in now.members
    if change is Change.REMOVE:
        return node not in now.members
    return now.members.get(node) != before.members.get(node)
