"""The proposer of a node: a candidate while it asks for promises, a leader once it has a quorum of them, else neither.

Its own acceptor is asked like any other: by a message to itself.
"""

from __future__ import annotations

from collections.abc import Iterable

from paxos.acceptor import Acceptor
from paxos.ballot import NOBODY, Ballot, Leadership, ballot
from paxos.candidate import Candidate
from paxos.catchup import CatchUp
from paxos.connectivity import Connectivity
from paxos.effects import Effects
from paxos.flow import Flow
from paxos.leader import Leader
from paxos.learner import Learner
from paxos.limits import Limits
from paxos.log import Log
from paxos.messages import (
    Accepted,
    Behind,
    Confirm,
    Confirmed,
    Decide,
    Operation,
    Prepare,
    Promise,
    ReadReply,
    ReadRequest,
)
from paxos.pace import Pace
from paxos.routing import Router
from paxos.voter_registry import VoterRegistry


class Proposer:
    def __init__(
        self, net: Connectivity, log: Log, acceptor: Acceptor, learner: Learner, catch_up: CatchUp, router: Router,
        registry: VoterRegistry, limits: Limits, effects: Effects,
    ) -> None:
        self._net = net
        self._log = log
        self._acceptor = acceptor
        self._learner = learner
        self._catch_up = catch_up
        self._router = router
        self._registry = registry
        self._limits = limits
        self._effects = effects
        self.candidate: Candidate | None = None
        self.leader: Leader | None = None
        self._read_rounds = 0
        """Begun while this node led. They go on counting in the next configuration, under the same leadership: what
        confirms an earlier round must not confirm a later one."""
        self._paces: dict[int, Pace] = {}
        self.flow = self._idle_flow()
        """The leader's."""

    @property
    def claim(self) -> Leadership:
        """The leadership that this node claims, as a candidate or a leader."""
        if self.leader is not None:
            return self.leader.leadership
        return self.candidate.ballot.leadership if self.candidate is not None else NOBODY

    @property
    def is_busy(self) -> bool:
        """Something waits to be promised, accepted, confirmed or told."""
        leader = self.leader
        return self.candidate is not None or (leader is not None and (
            leader.pending or leader.next > leader.decided_upto + 1 or leader.decided_upto > leader.announced_upto
            or leader.read_index.running or self.flow.is_busy))

    def step_down(self) -> None:
        """Operations in flight will be proposed again by the next leader, or resent by their origin."""
        if self.leader is not None:
            self._read_rounds = self.leader.read_index.count
        self.candidate = self.leader = None
        self.flow = self._idle_flow()

    def _idle_flow(self) -> Flow:
        """While there is no leadership there is nobody to send to: what an earlier one sent must not matter."""
        return Flow((), 0, self._paces, self._round_s, 0.0)

    def offer(self, operations: Iterable[Operation]) -> None:
        """Operations to be proposed; lost if this node neither leads nor is about to."""
        if self.leader is not None:
            self.leader.offer(operations)
        elif self.candidate is not None:
            self.candidate.offer(operations)

    def linked(self, member: int) -> None:
        """What was on its way to this member is lost."""
        leader = self.leader
        if leader is not None:
            self.flow.linked(member, leader.decided_upto)
            if leader.read_index.running:
                self._ask_confirmations(leader)

    def repeat(self, now: float, patience_s: float) -> None:
        """Resends what has been unanswered for too long."""
        candidate, leader = self.candidate, self.leader
        if candidate is not None and candidate.retry.due(now, patience_s):
            if self._log.decided_upto >= candidate.ballot.op_num:
                candidate.restart(self._log.decided_upto + 1)
            self._ask_promises(candidate)
        if leader is not None:
            self.flow.heard(self._net.incarnations(), leader.decided_upto)
            for batch, members in self.flow.overdue(
                lambda member: patience_s + self._round_s(member), leader.decided_upto, now
            ):
                self._effects.broadcast(members, leader.accept_message(batch))
            if leader.read_index.running and leader.read_index.retry.due(now, patience_s):
                self._ask_confirmations(leader)

    # ---- Phase 1

    def campaign(self, leadership: Leadership, now: float) -> None:
        """Claims a new leadership. The claim is this node's own promise, and on disk before any Prepare is sent:
        after a crash it cannot claim the same one again."""
        self.step_down()
        self._acceptor.promise(ballot(leadership))
        self._ask(ballot(leadership, self._log.decided_upto + 1), now)

    def _ask(self, asked: Ballot, now: float) -> None:
        self.candidate = Candidate(asked, self._net.quorum, self._limits, now)
        self._ask_promises(self.candidate)

    def _ask_promises(self, candidate: Candidate) -> None:
        message = Prepare(candidate.ballot)
        for member in self._net.members:
            if member not in candidate.promises:
                self._effects.send_after_persist(member, message)

    def promised(self, sender: int, message: Promise, now: float) -> bool:
        """Takes in a Promise; true if this node leads from now on."""
        candidate = self.candidate
        if not self._registry.counts(sender, message.identity):
            return False
        inheritance = candidate.promised(sender, message) if candidate is not None else None
        if candidate is None or inheritance is None:
            return False
        configuration = self._learner.configuration
        self._catch_up.learn(inheritance.start, inheritance.decided, now)
        if self._learner.configuration is not configuration:
            return False  # These promises are no quorum of the configuration that counts from here on.
        decided_upto = self._log.decided_upto
        known = max(0, decided_upto - inheritance.first_open + 1)
        """Positions that became known to be decided while waiting for promises need no second proposal."""
        self.leader = Leader(
            candidate.ballot.leadership, self._net.quorum, self._limits, decided_upto, inheritance.open[known:],
            self._learner.sessions,
        )
        self.leader.read_index.count = self._read_rounds
        self.flow = Flow(self._net.members, self._net.quorum, self._paces, self._round_s, now)
        self.leader.offer(candidate.held)
        self.candidate = None
        return True

    def again(self, now: float) -> None:
        """A configuration has ended, and with it what its members had promised: the same leadership asks the members of
        the next one, if this node still votes. Not so if it led and another leadership ended the configuration: it may
        have made proposals for what comes after."""
        claim, leader = self.claim, self.leader
        held = leader.waiting() if leader is not None else self.candidate.held if self.candidate is not None else []
        self.announce()
        self.step_down()
        if claim != NOBODY and self._registry.votes and (leader is None or leader.stopping):
            self._ask(ballot(claim, self._log.decided_upto + 1), now)
            self.offer(held)

    def behind(self, sender: int, message: Behind, now: float) -> None:
        """An acceptor wants this candidate to catch up first. It asks again from where it is by then, soon."""
        candidate = self.candidate
        if candidate is not None and message.ballot == candidate.ballot:
            candidate.retry.reset(now)
            if message.decided_upto > self._log.decided_upto:
                self._catch_up.heard_of(message.decided_upto)
                self._catch_up.hurry(sender)

    # ---- Phase 2

    def propose(self, now: float) -> None:
        """Sends what there is to send as the leader. What is decided rides on an Accept if there is one."""
        leader = self.leader
        if leader is None:
            return
        flow, decided_upto = self.flow, leader.decided_upto
        if leader.pending and flow.has_room():
            for batch in leader.propose(flow.batch_bytes()):
                flow.queue(batch)
        for batch, members in flow.due(decided_upto, now):
            self._effects.broadcast(members, leader.accept_message(batch))
        self._announce_to_owners(leader)
        if leader.settled and leader.read_index.start(leader.decided_upto, now):
            self._ask_confirmations(leader)

    def announce(self) -> None:
        """Tells all others what is decided, whom no Accept has told it."""
        if (leader := self.leader) is not None and leader.decided_upto > leader.announced_upto:
            leader.announced_upto = leader.decided_upto
            self._announce(leader, self._net.peers)

    def _announce_to_owners(self, leader: Leader) -> None:
        """Those whose users wait for it are told at once, the others with the next Accept, or by `announce`. Who has no
        direct link gets it from others."""
        if leader.owners:
            net, owners, leader.owners = self._net, leader.owners, set()
            direct = owners.issubset((net.pid, *net.links()))
            self._announce(leader, [node for node in net.peers if node in owners] if direct else net.peers)

    def _announce(self, leader: Leader, nodes: Iterable[int]) -> None:
        untold = self.flow.untold(nodes, leader.decided_upto)
        if untold:
            self._effects.broadcast(untold, Decide(ballot(leader.leadership, leader.decided_upto)))

    def _round_s(self, member: int) -> float:
        """Seconds to this member and back, with what its disk takes: a commit that is under way, and its own."""
        return self._net.round_trip(member) + 2 * self._net.commit_time(member)

    def underway(self) -> dict[int, tuple[int, float]]:
        """See Heartbeat."""
        return self.flow.underway()

    def accepted(self, sender: int, message: Accepted, now: float) -> None:
        leader = self.leader
        if leader is None or not self._registry.counts(sender, message.identity):
            return
        if message.ballot.leadership == leader.leadership:
            self.flow.answered(sender, message.ballot.op_num, now)
        if leader.accepted(sender, message):
            self._learner.decide(leader.leadership, leader.decided_upto, now)

    # ---- Reads

    def read_request(self, sender: int, message: ReadRequest) -> None:
        if self.leader is not None:
            self.leader.read_index.ask(sender, message.ticket)

    def _ask_confirmations(self, leader: Leader) -> None:
        message = Confirm(ballot(leader.leadership, leader.next), leader.read_index.count)
        self._effects.broadcast(self._net.members, message)

    def confirmed(self, sender: int, message: Confirmed) -> None:
        leader = self.leader
        if leader is None or not self._registry.counts(sender, message.identity):
            return
        if message.ballot.leadership == leader.leadership:
            for node, ticket, position in leader.read_index.confirmed(sender, message):
                self._announce(leader, [node] if node in self._net.peers else [])  # its reader waits for that, too
                self._router.send(node, ReadReply(ticket, position))
