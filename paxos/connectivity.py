"""Connectivity: heartbeats, and the graph of all links that they gossip.

Every node puts a NodeState of its own into its heartbeats, and passes on the newest that it has of others. So each
node knows (a moment late) the directed graph of links of the whole cluster, however it is cut: who reaches a majority,
who which claim to lead, and by which hops a message gets to a node that cannot be reached directly.

This file knows nothing of ballots beyond carrying them. (For why leadership must follow the graph of links, see Ng,
Haridi and Carbone, *Omni-Paxos*, EuroSys 2023, on partial connectivity and Ballot Leader Election.)
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable

from paxos.ballot import NOBODY, Leadership
from paxos.commit_time import bounded
from paxos.detector import MOST_PATIENT, Detector
from paxos.limits import Timing
from paxos.messages import Heartbeat, NodeState

RTT_DECAY = 0.1
HINT_HOLDS = 4.0
"""For this many election times a hint that a node died overrides gossip about it (but never its own heartbeats)."""
MOST_ROUND_TRIP = 30.0
"""The longest round trip in seconds that is believed, whatever an echo says."""
MOST_BUSY = 1.0
"""The longest time in seconds for which one message is believed to keep a link busy."""


class Connectivity:
    def __init__(self, pid: int, members: Iterable[int], timing: Timing) -> None:
        self.pid = pid
        self.members = tuple(sorted(members))
        """Of the configuration in force."""
        self.everybody = self.members
        """These, and all others that belong to the cluster, voting or not."""
        self.peers = tuple(member for member in self.members if member != pid)
        """Everybody else."""
        self.configuration = 0
        """The number of the configuration in force."""
        self.states: dict[int, NodeState] = {}
        """The newest of each node, its own included."""
        self.hears: frozenset[int] = frozenset()
        """Peers heard directly and recently."""
        self.fresh: frozenset[int] = frozenset()
        """Nodes known to be alive, directly or by gossip; always includes the node itself."""
        self.changes = 0
        """Grows with whatever is known anew of links, votes, claims and promises: what follows from these alone is the
        same while this is."""
        self._timing = timing
        self._direct: dict[int, Detector] = {}
        self._heard_since: dict[int, float] = {}
        """Of those in `hears`, without a break."""
        self._gossip: dict[int, Detector] = {}
        self._overheard: dict[int, tuple[int, int]] = {}
        """The newest version that others told of a node which was heard directly."""
        self._newer_at: dict[int, float] = {}
        """When a newer row than before last came of each node."""
        self._behind: dict[int, tuple[int, int]] = {}
        """The newest version that came of a node behind the one that is held."""
        self._disbelieved: dict[int, tuple[tuple[int, int], ...]] = {}
        """The versions of a node that were held last when they turned out to be made up: others may still pass them
        on, each another one."""
        self._hinted: dict[int, float] = {}
        self._rtt: dict[int, float] = {}
        self._slowest: float | None = None
        self._degrees: dict[int, int] = {}
        self._links: tuple[int, ...] | None = None
        """These three are computed lazily after a change."""
        self._front: int | None = None
        self._quorum_commit_time: float | None = None
        self._all_vote: bool | None = None
        """These three, too, after anything that a node says of itself."""
        self._commit_times: dict[int, float] = {}
        self._changed = True
        """Somebody said something new about links or votes."""
        self._echoes: dict[int, tuple[float, float]] = {}
        self._echoed: dict[int, float] = {}
        """The last clock reading of this node's own that each peer has returned."""
        self._underway: dict[int, tuple[int, float]] = {}
        """What each peer said last of what it is sending to this node (see Heartbeat)."""
        self._busy_until: dict[int, float] = {}
        """When all of it should have come that a peer was sending when it last said so."""
        self._meet(self.members)

    # Who belongs to the cluster

    @property
    def quorum(self) -> int:
        return len(self.members) // 2 + 1

    def configure(self, number: int, members: Iterable[int]) -> None:
        """The members are these from now on. Who was one stays a peer: it has yet to learn of it."""
        self.configuration = number
        self.members = tuple(sorted(members))
        self._all_vote = None
        self._meet(self.members)

    def meet(self, node: int) -> None:
        """This one belongs to the cluster, too."""
        if node not in self.everybody:
            self._meet((node,))

    def _meet(self, nodes: Iterable[int]) -> None:
        self.everybody = tuple(sorted({*self.everybody, *nodes, self.pid}))
        self.peers = tuple(node for node in self.everybody if node != self.pid)
        self._all = frozenset(self.everybody)
        for peer in self.peers:
            if peer not in self._direct:
                self._direct[peer] = Detector(self._timing.election_s, self._timing.heartbeat_s)
                self._gossip[peer] = Detector(self._timing.election_s, self._timing.heartbeat_s)
        self._changed = True

    # What arrives

    def heard(self, sender: int, message: Heartbeat, now: float) -> None:
        """Processes one heartbeat received directly from a peer. `refresh` must follow."""
        self._direct[sender].beat(now)
        self._hinted.pop(sender, None)
        self._echoes[sender] = (message.sent, now)
        self._underway.pop(sender, None)
        if self.pid in message.underway:
            self._underway[sender] = message.underway[self.pid]
            self._busy_until[sender] = now + bounded(message.underway[self.pid][1])
        echo = message.echoes.get(self.pid)
        if echo is not None:
            self._echoed[sender] = echo[0]
            sample = min(max(0.0, now - echo[0] - echo[1]), MOST_ROUND_TRIP)
            smooth = self._rtt.get(sender, sample)
            # Adapts quickly to a slower network, slowly to a faster one.
            self._rtt[sender] = max(sample, smooth + (sample - smooth) * RTT_DECAY)
            self._slowest = None
        heard = next((state.hears for state in message.states if state.pid == sender), ())
        for state in message.states:
            self._gossiped(sender, state, state.pid == sender or state.pid in heard, now)

    def _gossiped(self, sender: int, state: NodeState, first_hand: bool, now: float) -> None:
        """Whoever is heard directly speaks for itself: nobody can put words into the mouths of a majority. Of the
        others the newest counts; but once nothing newer has come for long, what is known first-hand, or goes on behind
        it: a version may have been made up, and then nothing would ever be newer."""
        if state.pid not in self._gossip:
            return
        held = self.states.get(state.pid)
        if state.pid != sender and state.pid in self.hears:
            # That others hear it keeps it from being taken for dead, for a moment, when it is not heard any more.
            if held is not None and state.version > max(held.version, self._overheard.get(state.pid, held.version)):
                self._overheard[state.pid] = state.version
                self._beat(state.pid, now)
            return
        disbelieved = self._disbelieved.get(state.pid, ())
        if state.version in disbelieved:
            return
        if held is not None and state.version <= held.version:
            if state.version == held.version:
                return
            behind = self._behind.get(state.pid, state.version)
            self._behind[state.pid] = max(behind, state.version)
            silent = now - self._newer_at.get(state.pid, now) > MOST_PATIENT * self._timing.election_s
            if not silent or not (first_hand or state.version > behind):
                return
            self._disbelieved[state.pid] = (*disbelieved, held.version)[-len(self.everybody):]
        self._behind.pop(state.pid, None)
        self._newer_at[state.pid] = now
        self._put(state, held)
        self._beat(state.pid, now)

    def _beat(self, node: int, now: float) -> None:
        if now >= self._hinted.get(node, now):
            self._gossip[node].beat(now)

    def describe(self, state: NodeState) -> None:
        """Sets this node's own row from now on."""
        self._put(state, self.states.get(state.pid))

    def _put(self, state: NodeState, held: NodeState | None) -> None:
        self.states[state.pid] = state
        if held is None or state.commit_s != held.commit_s:
            self._commit_times[state.pid] = bounded(state.commit_s)
            self._quorum_commit_time = None
        if held is None or state.decided_upto != held.decided_upto:
            self._front = None
        if (
            held is None or state.hears != held.hears or state.votes != held.votes
            or state.configuration != held.configuration
        ):
            self._quorum_commit_time = self._all_vote = None
            self._changed = True
            self.changes += 1
        elif (
            state.leading != held.leading or state.established != held.established or state.promised != held.promised
        ):
            self.changes += 1

    def suspect(self, peer: int, now: float) -> None:
        """A hint from outside that `peer` is gone. Its next heartbeat refutes it."""
        if peer in self._direct:
            self._direct[peer].forget()
            self._gossip[peer].forget()
            self._hinted[peer] = now + HINT_HOLDS * self._timing.election_s

    def refresh(self, now: float) -> bool:
        """Updates timeouts; true if the set of peers heard directly has changed."""
        patient = now - self._busy() if self._underway else now
        hears = frozenset([peer for peer in self.peers if self._direct[peer].alive(patient)])
        if len(hears) == len(self.peers):
            fresh = self._all
        else:
            alive = (peer for peer in self.peers if peer in hears or self._gossip[peer].alive(patient))
            fresh = frozenset((self.pid, *alive))
        changed = hears != self.hears
        if changed or fresh != self.fresh or self._changed:
            self._heard_since = {peer: self._heard_since.get(peer, now) for peer in hears}
            self.hears, self.fresh = hears, fresh
            self._slowest = None
            self._degrees = {}
            self._links = None
            self._front = self._quorum_commit_time = None
            self._changed = False
            self.changes += 1
        return changed

    def _busy(self) -> float:
        """Seconds of silence that mean nothing: what is just being sent on a thin link cannot be overtaken."""
        heard = (bounded(seconds) for peer, (_, seconds) in self._underway.items() if peer in self.hears)
        return min(max(heard, default=0.0), MOST_BUSY)

    def echoes(self, now: float) -> dict[int, tuple[float, float]]:
        """For the next heartbeat: each peer's last clock reading, and how long it was held here.

        Omits silent peers: while a reading is held, two clocks that run at different speeds drift apart.
        """
        return {peer: (sent, now - at) for peer, (sent, at) in self._echoes.items() if peer in self.hears}

    def all_have(self, sent: float) -> bool:
        """True if everybody who is there has this node's heartbeat of this time, or a later one, and says so."""
        return all(
            self._echoed.get(peer, -math.inf) >= sent for peer in self.peers
            if peer in self.hears or self.hears_from(peer, self.pid)
        )

    # Derived information

    def hears_from(self, listener: int, speaker: int) -> bool:
        """True if messages from `speaker` reach `listener` directly, as far as this node knows."""
        if listener == self.pid:
            return speaker in self.hears
        state = self.states.get(listener)
        return state is not None and listener in self.fresh and speaker in state.hears

    def hears_steadily(self, peer: int, now: float) -> bool:
        """True if `peer` has been heard for so long that it knows: it sends nothing here by way of others any more."""
        since = self._heard_since.get(peer, now)
        return peer in self.hears and now - since > MOST_PATIENT * self._timing.election_s

    def linked(self, one: int, other: int) -> bool:
        """True if messages pass directly in both directions."""
        return self.hears_from(one, other) and self.hears_from(other, one)

    def links(self) -> tuple[int, ...]:
        """Peers with messages passing in both directions."""
        if self._links is None:
            self._links = tuple(peer for peer in self.peers if self.linked(self.pid, peer))
        return self._links

    def votes(self, node: int) -> bool:
        """True if it may vote: as a member that says so, or in a later configuration than is known here."""
        state = self.states.get(node)
        return state is not None and node in self.fresh and state.votes and (
            node in self.members or state.configuration > self.configuration)

    def outdated(self) -> bool:
        """True if a live node knows a later configuration, and can be asked for it: what is known here of votes and
        quorums is not to be relied on. Of a node that is heard and hears nobody, a new leader here finds the same."""
        return any(
            self.states[node].configuration > self.configuration and self.next_hop(node) is not None
            for node in self.fresh if node in self.states
        )

    def all_vote(self) -> bool:
        if self._all_vote is None:
            self._all_vote = all(member in self.states and self.states[member].votes for member in self.members)
        return self._all_vote

    def degree(self, node: int) -> int:
        """Voting nodes that `node` reaches directly in both directions, itself included."""
        known = self._degrees.get(node)
        if known is None:
            known = sum(self.votes(other) and (other == node or self.linked(node, other)) for other in self.members)
            self._degrees[node] = known
        return known

    def reaches_majority(self, node: int) -> bool:
        """True if `node` could lead: it votes, and exchanges messages directly with a majority of voters."""
        if not self.votes(node):
            return False
        return self.degree(node) >= self.quorum or self.states[node].configuration > self.configuration

    def exchanges_with_majority(self, now: float) -> bool:
        """True if this node recently heard from a majority of voters that hear it: it is not just being cut off."""
        lately = [peer for peer in self.links() if self.votes(peer) and self._direct[peer].lately(now)]
        return self.votes(self.pid) and len(lately) + 1 >= self.quorum

    def commit_time(self, node: int) -> float:
        """Seconds that the disk of `node` takes to make something durable, as it says."""
        return self._commit_times.get(node, 0.0)

    def quorum_commit_time(self) -> float:
        """Seconds in which a quorum of voters makes something durable: the slowest disks are not waited for."""
        if self._quorum_commit_time is None:
            times = sorted([self.commit_time(node) for node in self.members if self.votes(node)])
            self._quorum_commit_time = times[min(self.quorum, len(times)) - 1] if times else 0.0
        return self._quorum_commit_time

    def front(self) -> int:
        """How far any live node knows decisions, as they say."""
        if self._front is None:
            self._front = max([self.states[node].decided_upto for node in self.fresh if node in self.states], default=0)
        return self._front

    def underway(self, now: float) -> list[tuple[Leadership, int | None]]:
        """Of the leader, if it is heard: from which position on it is sending Accepts to this node; None if it sends
        none, but did so a moment ago, so that the word of what is decided may still wait behind those to others. A
        leader that was outranked goes on sending what is never decided."""
        busy = [peer for peer, until in self._busy_until.items() if until > now or peer in self._underway]
        if not busy:
            return []
        highest = max((state.promised for state in self.states.values()), default=NOBODY)
        return [
            (self.states[peer].leading, self._underway[peer][0] if peer in self._underway else None) for peer in busy
            if peer in self.hears and peer in self.states
            and self.states[peer].established and self.states[peer].leading >= highest
        ]

    def incarnations(self) -> dict[int, int]:
        """Of this node and those that it hears."""
        return {node: self.states[node].version[0] for node in (self.pid, *self.hears) if node in self.states}

    def next_hop(self, target: int) -> int | None:
        """The next hop of a message to `target`: `target` itself when it can be reached directly, else the
        first on a shortest path, else None."""
        parents: dict[int, int] = {self.pid: self.pid}
        waiting = deque([self.pid])
        while waiting:
            node = waiting.popleft()
            for other in self.everybody:
                if other in parents or not self.hears_from(other, node):
                    continue
                parents[other] = node
                if other == target:
                    while parents[other] != self.pid:
                        other = parents[other]
                    return other
                waiting.append(other)
        return None

    def round_trip(self, peer: int | None = None) -> float:
        """The measured round-trip time to a peer in seconds; without a peer, the longest one. (A peer that does
        not hear this node echoes nothing, so an old measurement would never be replaced.)"""
        if peer is not None:
            return self._rtt.get(peer, 0.0)
        if self._slowest is None:
            self._slowest = max((self._rtt.get(other, 0.0) for other in self.links()), default=0.0)
        return self._slowest
