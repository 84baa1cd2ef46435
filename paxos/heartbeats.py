"""Heartbeats: when one is due, and what it says of its sender."""

from __future__ import annotations

from paxos.acceptor import Acceptor
from paxos.ballot import NOBODY, Leadership
from paxos.commit_time import CommitTime
from paxos.connectivity import Connectivity
from paxos.digests import Digests
from paxos.effects import Effects
from paxos.limits import Timing
from paxos.log import Log
from paxos.memory import Memory
from paxos.messages import Heartbeat, NodeState
from paxos.operations_version import OperationsVersions
from paxos.proposer import Proposer
from paxos.voter_registry import VoterRegistry


class Heartbeats:
    def __init__(
        self, incarnation: int, net: Connectivity, proposer: Proposer, acceptor: Acceptor, log: Log,
        registry: VoterRegistry, memory: Memory, versions: OperationsVersions, commit_time: CommitTime,
        digests: Digests, timing: Timing, effects: Effects, now: float,
    ) -> None:
        self._net = net
        self._proposer = proposer
        self._acceptor = acceptor
        self._log = log
        self._registry = registry
        self._operations_version = versions.own
        self._memory = memory
        self._commit_time = commit_time
        self._digests = digests
        self._timing = timing
        self._effects = effects
        self._version = (incarnation, 0)
        """Of what this node last said of itself."""
        self._due = now
        self._told: Leadership = NOBODY
        """The claim in the last heartbeat that was sent for a change."""

    def describe(self) -> None:
        """Renews what this node says of itself. Must follow every change of a claim."""
        proposer, registry, log = self._proposer, self._registry, self._log
        self._net.describe(NodeState(
            pid=self._net.pid, version=self._version, identity=registry.identity,
            hears=tuple(sorted(self._net.hears)), leading=proposer.claim, established=proposer.leader is not None,
            promised=self._acceptor.promised.leadership, decided_upto=log.decided_upto, votes=registry.votes,
            blank=log.blank, roster={} if self._net.all_vote() else registry.told_roster(),
            operations_version=self._operations_version, cluster=registry.cluster, configuration=registry.number,
            commit_s=self._commit_time.seconds,
            digest=self._digests.latest,
        ))

    def heard(self, message: Heartbeat) -> None:
        """Others may remember a later incarnation of this node than its own (a lost disk and a clock set back); what it
        says must be newer than that, or they would believe the old news for ever."""
        for state in message.states:
            if state.pid == self._net.pid and state.version > self._version:
                self._version = (state.version[0] + 1, 0)

    def send_news(self, urgent: bool, now: float) -> None:
        """Does not wait for the next heartbeat if the claim has changed, or the caller knows of something `urgent`."""
        claim = self._proposer.claim
        if urgent or claim != self._told:
            self._told = claim
            self._send(now)

    def send_if_due(self, now: float) -> None:
        if now >= self._due:
            self._send(now)

    def _send(self, now: float) -> None:
        self._due = now + self._timing.heartbeat_s
        self._version = (self._version[0], self._version[1] + 1)
        self.describe()
        net = self._net
        message = Heartbeat(list(net.states.values()), self._registry.told_roster(), now, net.echoes(now),
                            self._memory.told(), self._proposer.underway())
        self._effects.broadcast(net.peers, message)
