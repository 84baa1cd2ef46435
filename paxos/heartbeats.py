"""Heartbeats: when one is due, and what it says of its sender.

While a node has nothing new to say they come half as often, which costs half as much. Failures are noticed as soon as
otherwise, since silence is measured from the last one. That is safe only where none gets lost, because fewer of them
fit into the time after which a node is suspected. Therefore an echo says more than how long a message takes: whoever
finds that one of a node's heartbeats is missing leaves the next echo out, and a node whose heartbeats are not echoed in
time returns to the usual pace. So does one that is heard by somebody whom it does not hear, or over slow links, and all
do as long as one runs release 0.1.0, which counts nothing.

A resting node whose heartbeat is soon due sends it with the first one that it hears: what costs most then is that
processes are woken, and so they are woken together.
"""

from __future__ import annotations

from collections import deque

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
from paxos.operations_version import LOWEST, OperationsVersions
from paxos.proposer import Proposer
from paxos.voter_registry import VoterRegistry

REST_ELECTIONS = 2.5
"""For so many election times nothing must have been new, and no heartbeat missing, before they come more rarely."""
LATE = 2
"""Each heartbeat, or the one after it, must have been echoed by the time when this many more are due."""
SOON = 0.5
"""Of the time between heartbeats."""
BEHIND = 1.1
"""Who answered a heartbeat leaves it to the same node to begin the next round: it would wake at the same moment."""


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
        self._versions = versions
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
        self._sent: deque[float] = deque(maxlen=LATE)
        """When the last ones were sent."""
        self._described: tuple[object, ...] = ()
        """What this node says of itself was made of these facts."""
        self._last: NodeState | None = None
        """What the last one said of this node."""
        self._restless_at = now
        """When one said something new, or was found to be missing."""
        self._resting = False
        self._numbers: dict[int, tuple[int, int]] = {}
        """Of the last heartbeat of each peer."""
        self._incomplete: set[int] = set()
        """Peers of which one is missing: they get no echo next time."""

    @property
    def due(self) -> float:
        return self._due

    def describe(self) -> None:
        """Renews what this node says of itself. Must follow every change of a claim."""
        facts = self.facts()
        if facts != self._described:
            self._described = facts
            self._net.describe(self.present_state())

    def facts(self) -> tuple[object, ...]:
        """What `present_state` is made of. To be compared."""
        proposer, registry, log, net = self._proposer, self._registry, self._log, self._net
        return (
            self._version, net.hears, proposer.claim, proposer.leader is not None, self._acceptor.promised,
            log.decided_upto, registry.votes, log.blank, net.all_vote(), registry.told_roster(), registry.configuration,
            registry.identity, self._commit_time.seconds, self._digests.latest,
        )

    def present_state(self) -> NodeState:
        proposer, registry, log, net = self._proposer, self._registry, self._log, self._net
        return NodeState(
            pid=net.pid, version=self._version, identity=registry.identity,
            hears=tuple(sorted(net.hears)), leading=proposer.claim, established=proposer.leader is not None,
            promised=self._acceptor.promised.leadership, decided_upto=log.decided_upto, votes=registry.votes,
            blank=log.blank, roster={} if net.all_vote() else registry.told_roster(),
            operations_version=self._operations_version, cluster=registry.cluster, configuration=registry.number,
            commit_s=self._commit_time.seconds,
            digest=self._digests.latest,
        )

    def heard(self, sender: int, message: Heartbeat, now: float) -> None:
        """Others may remember a later incarnation of this node than its own (a lost disk and a clock set back); what it
        says must be newer than that, or they would believe the old news for ever."""
        for state in message.states:
            if state.pid == self._net.pid and state.version > self._version:
                self._version = (state.version[0] + 1, 0)
            elif state.pid == sender:
                self._look_for_gaps(state)

    def _look_for_gaps(self, state: NodeState) -> None:
        """The sender of a heartbeat counts them in its versions."""
        incarnation, number = state.version
        last = self._numbers.get(state.pid, state.version)
        self._numbers[state.pid] = state.version
        if incarnation == last[0] and number > last[1] + 1 and state.operations_version > LOWEST:
            self._incomplete.add(state.pid)

    def join(self, now: float) -> None:
        """Sends with the one that was just heard, if this node rests and has to send soon."""
        pause = self._timing.idle_heartbeat_s
        if self._resting and self._due - now < SOON * pause:
            self._send(now)
            self._due = now + BEHIND * pause

    def send_news(self, urgent: bool, now: float) -> None:
        """Does not wait for the next heartbeat if the claim has changed, or the caller knows of something `urgent`."""
        claim = self._proposer.claim
        if urgent or claim != self._told:
            self._told = claim
            self._send(now)

    def hurry(self, now: float) -> None:
        """The next one is due now."""
        self._due = min(self._due, now)

    def send_if_due(self, now: float) -> None:
        if now >= self._due:
            self._send(now)

    def _send(self, now: float) -> None:
        self._due = now + self._pause(now)
        self._version = (self._version[0], self._version[1] + 1)
        self.describe()
        net = self._net
        self._last = net.states[net.pid]
        echoes = {peer: echo for peer, echo in net.echoes(now).items() if peer not in self._incomplete}
        self._incomplete.clear()
        message = Heartbeat(list(net.states.values()), self._registry.told_roster(), now, echoes,
                            self._memory.told(), self._proposer.underway())
        self._effects.broadcast(net.peers, message)

    def _pause(self, now: float) -> float:
        """Until the next heartbeat after the one that is sent now."""
        net, timing = self._net, self._timing
        self.describe()
        confirmed = len(self._sent) == LATE and net.all_have(self._sent[0])
        if not confirmed or not self._versions.living_speak() or net.states[net.pid] != self._last:
            self._restless_at = now
        self._sent.append(now)
        slower = timing.idle_heartbeat_s > timing.heartbeat_s
        self._resting = slower and now - self._restless_at >= REST_ELECTIONS * timing.election_s
        return timing.idle_heartbeat_s if self._resting else timing.heartbeat_s
