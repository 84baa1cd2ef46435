"""One node of Multi-Paxos: puts the roles of this package together, and decides nothing that a role can decide.

A driver feeds it messages, ticks and submissions, and works through the Output records that it returns (see output.py
for the order that makes this safe). No handler raises on any well-formed message, however old or unexpected.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from random import Random
from typing import Any, TypeAlias

import msgspec

from paxos.acceptor import Acceptor
from paxos.admission import Admission
from paxos.ballot import NOBODY, Ballot, Leadership, ballot
from paxos.bounds import MOST_PID
from paxos.candidate import Candidate
from paxos.catchup import CatchUp
from paxos.ceilings import Ceilings
from paxos.commit_time import CommitTime
from paxos.connectivity import Connectivity
from paxos.digests import Digests
from paxos.effects import Effects
from paxos.election import Election
from paxos.heartbeats import Heartbeats
from paxos.leader import Leader
from paxos.learner import Learner
from paxos.limits import Limits, Timing
from paxos.log import Log
from paxos.memory import Memory
from paxos.messages import (
    Accept,
    Accepted,
    AnyMessage,
    Behind,
    Change,
    Configuration,
    Confirm,
    Confirmed,
    Decide,
    Fetch,
    Forward,
    Heartbeat,
    Learn,
    Outranked,
    Prepare,
    Promise,
    ReadReply,
    ReadRequest,
    Reconfigure,
    RosterStored,
    Routed,
    Row,
    Snapshot,
    SnapshotPiece,
    Stamp,
)
from paxos.operations_version import LOWEST, OperationsVersions
from paxos.output import Durable, Output, VoterStatus
from paxos.proposer import Proposer
from paxos.queue import OperationQueue, QueueFull
from paxos.reads import Reads
from paxos.reconfiguration import Reconfiguration, is_made
from paxos.retry import Retry
from paxos.routing import Router
from paxos.sessions import Sessions
from paxos.snapshot_source import SnapshotSource
from paxos.voter_registry import VoterRegistry


def _anything(content: object) -> bool:
    """Nothing is known of it."""
    return True


Handlers: TypeAlias = dict[type, Callable[[int, Any, float], None]]

SAVE_DECIDED_S = 1.0
"""How often a watermark without any other write is stored: losing it only costs a little catching up."""

REMEMBER_S = 1.0
"""What is remembered of other members' disks is stored this often, with another write."""

PATIENT_COMMITS = 2.0
"""What is asked for may have to wait for one commit that is under way, and then takes its own."""


class Status(msgspec.Struct, frozen=True):
    """A node's status, available at any time."""

    node: int
    role: str
    leader: int | None
    ballot: Ballot
    """The ballot of the leadership that this node follows or claims; its op_num is the next position."""
    promised: Ballot
    decided: int
    applied: int
    queued: int
    voter_status: VoterStatus
    links: tuple[int, ...]
    """Peers with messages passing in both directions."""
    differs: tuple[int, ...] = ()
    """Nodes that were last seen to have another state after the same operations."""
    lost: tuple[int, ...] = ()
    """Voters that have lost their disks, if so many have that no quorum can form."""


class Replica:
    def __init__(
        self, pid: int, members: Iterable[int], durable: Durable, timing: Timing, limits: Limits, random: Random,
        now: float, *, operations_version: int = LOWEST, understands: Callable[[bytes], bool] = _anything,
        readable: Callable[[Sequence[Row]], bool] = _anything,
    ) -> None:
        """`understands` tells of an operation's payload whether the state machine knows its kind, `readable` of a
        snapshot's rows whether it can go on from them."""
        self.pid = pid
        self.timing = timing
        self.limits = limits
        self._random = random
        self._understands = understands
        self._effects = effects = Effects(pid)
        self.registry = VoterRegistry(pid, members, durable, effects)
        self.net = Connectivity(pid, self.registry.members, timing)
        self.election = Election(self.net, timing, limits)
        self.log = Log(durable.entries, max(durable.decided, durable.snapshot_position))
        self._versions = OperationsVersions(operations_version, self.net, durable, effects)
        self.queue = OperationQueue(pid, durable.incarnation, limits)
        self.reads = Reads(durable.incarnation)
        router = Router(self.net, effects)
        self.acceptor = Acceptor(durable.promised, self.log, self.registry, limits, effects)
        self.memory = Memory(durable, self.registry, self.net, random, effects)
        self.learner = Learner(pid, self.log, self.queue, durable, random, effects)
        self.catch_up = CatchUp(self.net, self.log, self.learner, router, readable, timing, random, now)
        self.snapshot_source = SnapshotSource(self.net, self.log, router, limits, effects, now)
        self.proposer = Proposer(
            self.net, self.log, self.acceptor, self.learner, self.catch_up, router, self.registry, limits, effects
        )
        self._commit_time = CommitTime()
        self.digests = Digests(self.net, self.registry, operations_version, effects)
        self._heartbeats = Heartbeats(
            durable.incarnation, self.net, self.proposer, self.acceptor, self.log, self.registry, self.memory,
            self._versions, self._commit_time, self.digests, timing, effects, now,
        )
        self._ceilings = Ceilings(durable.promised, durable.incarnation)
        self._admission = Admission(self.registry, self.net, self.log, self.catch_up, durable, effects)
        self._reconfiguration = Reconfiguration(
            self.registry, self.net, self.log, self._versions, limits, random)
        self._router = router
        self._configuration: Configuration | None = None
        self._change: tuple[Change, int, Configuration] | None = None
        """A change of the members that is asked for here, in which node, and the configuration by then."""
        self._change_retry = Retry(now)
        self._follows: Leadership = NOBODY
        self._situation: tuple[Any, ...] | None = None
        """None after a refresh, until somebody asks."""
        self._saved_decided = self.log.decided_upto
        self._save_due = now + SAVE_DECIDED_S
        self._remember_due = now + REMEMBER_S
        from_anybody: Handlers = {
            Prepare: self._prepare, Promise: self._promise, Outranked: self._outranked, Behind: self._behind,
            Accept: self._accept, Accepted: self._accepted, Confirm: self._confirm, Confirmed: self._confirmed,
            Forward: self._forward, ReadRequest: self._read_request, ReadReply: self._read_reply,
            Reconfigure: self._reconfigure,
        }
        self._from_itself: Handlers = {**from_anybody, RosterStored: self._roster_stored}
        self._from_peers: Handlers = {
            **from_anybody, Decide: self._decide, Heartbeat: self._heartbeat, Fetch: self._fetch, Learn: self._learn,
            SnapshotPiece: self._snapshot_piece, Routed: self._routed,
        }
        self.learner.advance(now)
        self._follow_configuration(now)
        self._refresh(now)

    # ---- What is known

    @property
    def cluster(self) -> int:
        """The id of this node's cluster, to go with everything that it sends; 0 while it has none."""
        return self.registry.cluster

    @property
    def incarnation(self) -> int:
        return self.queue.incarnation

    @property
    def applied(self) -> int:
        return self.learner.applied

    @property
    def sessions(self) -> Sessions:
        return self.learner.sessions

    @property
    def candidate(self) -> Candidate | None:
        return self.proposer.candidate

    @property
    def leader(self) -> Leader | None:
        return self.proposer.leader

    def status(self) -> Status:
        claim = self.proposer.claim
        leadership = claim if claim != NOBODY else self._follows
        return Status(
            self.pid, self._role(), self._follows[1] or None, ballot(leadership, self.log.last + 1),
            self.acceptor.promised, self.log.decided_upto, self.applied, len(self.queue), self.registry.voter_status,
            self.net.links(), tuple(sorted(self.digests.differing)), self.registry.lost(self.net.states),
        )

    def situation(self) -> tuple[Any, ...]:
        """What of the status seldom changes, and the configuration. To be compared. Only a refresh can change it."""
        if self._situation is None:
            self._situation = self.present_situation()
        return self._situation

    def present_situation(self) -> tuple[Any, ...]:
        """The same, not remembered."""
        return (
            self._role(), self._follows[1], self.net.links(), self.registry.voter_status, self._configuration,
            self.registry.lost(self.net.states),
        )

    def _role(self) -> str:
        if self.registry.voter_status is VoterStatus.LEARNER:
            return "learner"
        if self._follows != NOBODY and self._follows == self.proposer.claim:
            return "leader" if self.leader else "candidate"
        return "follower"

    def majority_reachable(self) -> bool:
        """True while a leader that a majority has promised is known, so that submitted operations will soon be
        decided."""
        leading = self.net.states.get(self._follows[1])
        return leading is not None and leading.established and leading.leading == self._follows != NOBODY

    def operations_versions(self) -> Mapping[int, int]:
        """By member, which operations it understands, as far as is known here."""
        return self._versions.of_members()

    # ---- What users want

    def submit(self, payload: bytes) -> int:
        """Queues an operation until it is decided; returns its ticket. Raises QueueFull."""
        if len(payload) > self.limits.operation_bytes:
            raise QueueFull(f"an operation of {len(payload)} bytes; the limit is {self.limits.operation_bytes}")
        return self.queue.submit(payload)

    def read(self) -> int:
        """Asks for a linearizable view of the applied state; the ticket returns in `Output.reads`. Raises QueueFull."""
        if len(self.reads) >= self.limits.queue:
            raise QueueFull(f"{len(self.reads)} reads are already waiting")
        return self.reads.open()

    @property
    def configuration(self) -> Configuration | None:
        """The one in force, as far as it is known here; None before the cluster is founded."""
        return self._configuration

    def change_members(self, change: Change, node: int) -> None:
        """Asks the leader for this change until it is made, or another one (or none) is asked for."""
        if self._configuration is not None:
            self._change = change, node, self._configuration

    def abandon_change(self) -> None:
        self._change = None

    @property
    def changing(self) -> bool:
        """True while a change is asked for that isn't made yet."""
        return self._change is not None

    def abandon_read(self, ticket: int) -> None:
        self.reads.abandon(ticket)

    # ---- What happens

    def receive(self, sender: int, message: AnyMessage, now: float, cluster: int = 0) -> None:
        """Takes in one message, with the `cluster` of its sender. `sender` is this node itself for what it sent to
        itself by `Output.send_after_persist`, and for nothing else: a vote of its own counts because it is on disk."""
        if sender != self.pid:
            if not (self._admission.admits(sender, message, cluster, now) and self._meets(sender, message)):
                return
            odd = self._ceilings.refusal(sender, message, now)
            if odd is not None:
                self._effects.odd(sender, odd)
                return
        upto = self.log.decided_upto
        self.catch_up.cluster = cluster
        self._handle(sender, message, now)
        if cluster and self.log.decided_upto > upto:
            self._admission.taken(cluster)
        self._handle_own(now)

    def _meets(self, sender: int, message: AnyMessage) -> bool:
        """True if the sender is known. In a founded cluster, one more gets to be by a heartbeat of its own."""
        if sender in self.net.everybody:
            return True
        if self.registry.configuration is None or not isinstance(message, Heartbeat) or not 0 < sender <= MOST_PID:
            return False
        if all(state.pid != sender for state in message.states):
            return False
        self.net.meet(sender)
        return True

    def suspect(self, peer: int, now: float) -> None:
        """A hint, never a truth: the connection of `peer` was seen to close."""
        self.net.suspect(peer, now)
        self._refresh(now)

    def meet(self, peer: int, now: float) -> None:
        """A hint that there is a node `peer`, newly connected to this one. Who comes to join, or comes back after long,
        may know no other member. (Nodes with data of release 0.1.0 keep to those they know until they are founded.)
        What was on its way to `peer` is lost with the connection before."""
        if 0 < peer <= MOST_PID and (self.registry.configuration is not None or not self.log.decided_upto):
            self.net.meet(peer)
            self.proposer.linked(peer)
            if self._follows[1] == peer:
                self.queue.lost()
                self.reads.lost()
            self._heartbeats.hurry(now)
            self._refresh(now)

    def linked(self, now: float) -> None:
        """This node is connected, for the first time or again."""
        self.election.wait_for_others(now)

    def vouched(
        self, messages: Sequence[tuple[int, AnyMessage]], stamp: Stamp | None
    ) -> Sequence[tuple[int, AnyMessage]]:
        """These were to leave after what they vouch for is on disk, and leave now; `stamp` is that of the last write,
        if it has one."""
        return self.memory.vouched(messages, stamp)

    def stored(self, seconds: float) -> None:
        """The disk took so long to make one write durable."""
        self._commit_time.measured(seconds)

    def digest_taken(self, position: int, digest: int, now: float) -> None:
        """The state machine has this digest when everything up to `position` is applied, and nothing else."""
        if self.digests.taken(position, digest):
            self._heartbeats.send_news(True, now)

    def snapshot_loaded(self, snapshot: Snapshot, now: float) -> None:
        """The answer to `Output.load_snapshot`."""
        self.snapshot_source.loaded(snapshot, now)

    def snapshot_stored(self, position: int) -> None:
        """The driver has stored a snapshot at `position`: the log may be cut behind it, but for a tail that spares
        a snapshot for nodes that are only slightly behind, and for what a snapshot being sent needs."""
        log, limits = self.log, self.limits
        upto = log.tail(position, limits.keep, limits.keep_bytes)
        serving = self.snapshot_source.position
        if serving is not None and position - serving < limits.hold and log.bytes < limits.hold_bytes:
            upto = min(upto, serving)
        upto = min(upto, self.learner.applied)
        if upto > log.compacted:
            log.release(upto)
            self._effects.to_persist().compacted = upto

    def tick(self, now: float) -> None:
        """Looks at the clock; the driver calls this at least every `timing.tick_s`."""
        self._refresh(now)
        self.proposer.repeat(now, self._patience())
        self.proposer.announce()
        self._handle_own(now)
        self.snapshot_source.expire(now, self.net.round_trip())
        self._heartbeats.send_if_due(now)
        if self.log.decided_upto > self._saved_decided and now >= self._save_due:
            self._effects.to_persist()
        if self.memory.is_due(now >= self._remember_due):
            self._effects.to_persist()

    def rest_s(self, now: float) -> float:
        """Seconds until the next tick is needed. Where nothing waits for time to pass but the next heartbeat, and the
        silence of others, that is longer than `timing.tick_s`; what comes meanwhile may end it."""
        if not self._is_idle():
            return self.timing.tick_s
        return min(max(self._heartbeats.due - now, self.timing.tick_s), self.timing.idle_heartbeat_s)

    def _is_idle(self) -> bool:
        waits = self.queue or self.reads or self._change is not None or self._follows == NOBODY
        return not waits and not (self.election.is_waiting or self.catch_up.is_behind or self.proposer.is_busy)

    def take_output(self, now: float) -> Output:
        """Everything that gathered since the last call: the driver calls it once per turn of its event loop, so that
        what arrived together is sent and stored together."""
        self._send_queue(now)
        self._send_reads(now)
        self._send_change(now)
        self._handle_own(now)
        if self.proposer.leader is not None:
            self._reconfiguration.drive(self.proposer.leader, now)
        self.proposer.propose(now)
        self._handle_own(now)
        self.catch_up.request(now)
        out = self._effects.take()
        out.reads = self.reads.ready(self.learner.applied)
        if out.persist is not None and (out.persist.promised is not None or out.persist.entries):
            out.persist.stamp = self.memory.next_stamp() or out.persist.stamp
        if out.persist is not None and self.log.decided_upto > self._saved_decided:
            out.persist.decided = self._saved_decided = self.log.decided_upto
            self._save_due = now + SAVE_DECIDED_S
        if out.persist is not None and self.memory.is_due(now >= self._remember_due):
            out.persist.remembered = self.memory.to_store()
            self._remember_due = now + REMEMBER_S
        return out

    def _patience(self) -> float:
        """How long an answer may take that needs a quorum's disks."""
        network = max(self.timing.retry_s, 2 * self.net.round_trip())
        return network + PATIENT_COMMITS * self.net.quorum_commit_time()

    # ---- Leadership

    def _refresh(self, now: float) -> None:
        """Updates the view of the cluster, and acts on its consequences for leadership."""
        news = self.net.refresh(now)
        voted = self.registry.votes
        if self.memory.settle():
            news = True
        if voted and not self.registry.votes:
            self._step_down()
        self._heartbeats.describe()
        self.election.observe(now)
        self._follows = self.election.leader(now)
        leadership = self.election.try_campaign(self._follows, now, self._random)
        if leadership is not None:
            self._campaign(leadership, now)
            self._follows = self.election.leader(now)
        claim = self.proposer.claim
        if claim != NOBODY and max(self._follows, self.acceptor.promised.leadership) > claim:
            self._step_down()
        self._heartbeats.send_news(news, now)
        self._situation = None

    def _campaign(self, leadership: Leadership, now: float) -> None:
        self.proposer.campaign(leadership, now)
        self._heartbeats.describe()

    def _step_down(self) -> None:
        self.proposer.step_down()
        self._heartbeats.describe()

    # ---- Messages

    def _handle(self, sender: int, message: AnyMessage, now: float) -> None:
        handlers = self._from_itself if sender == self.pid else self._from_peers
        handler = handlers.get(type(message))
        if handler is not None:
            handler(sender, message, now)
            self._follow_configuration(now)

    def _follow_configuration(self, now: float) -> None:
        """Draws the consequences when the log has started another configuration. Every step that applies something is
        followed by this, before anything else is proposed or counted."""
        configuration = self.learner.configuration
        changed = configuration is not None and (
            self._configuration is None or configuration.number > self._configuration.number)
        if changed:
            assert configuration is not None
            if not self.cluster:
                self._effects.drop_relayed()
            self._configuration = configuration
            self.net.configure(configuration.number, configuration.members)
            self.registry.configured(configuration)
            self.catch_up.keep_only(configuration.cluster)
            if self._change is not None and is_made(*self._change, configuration):
                self._change = None
        if changed or (self.proposer.leader is not None and self.proposer.leader.stopped):
            self.proposer.again(now)
            self._refresh(now)

    def _handle_own(self, now: float) -> None:
        """What the node has sent to itself in this step, and what it answers itself."""
        while (message := self._effects.next_to_itself()) is not None:
            self._handle(self.pid, message, now)

    def _prepare(self, sender: int, message: Prepare, now: float) -> None:
        if self.acceptor.prepare(sender, message):
            self._refresh(now)

    def _promise(self, sender: int, message: Promise, now: float) -> None:
        self.memory.voted(sender, message)
        if self.proposer.promised(sender, message, now):
            self._refresh(now)

    def _outranked(self, sender: int, message: Outranked, now: float) -> None:
        claim = self.proposer.claim
        if message.ballot.leadership == claim and message.promised.leadership > claim:
            self.election.outranked(message.promised.leadership)
            self._refresh(now)

    def _behind(self, sender: int, message: Behind, now: float) -> None:
        self.proposer.behind(sender, message, now)

    def _accept(self, sender: int, message: Accept, now: float) -> None:
        if self.acceptor.accept(sender, message):
            self._refresh(now)
        self._hear_decided(message.ballot.leadership, message.decided_upto, now)

    def _accepted(self, sender: int, message: Accepted, now: float) -> None:
        self.memory.voted(sender, message)
        self.proposer.accepted(sender, message, now)

    def _decide(self, sender: int, message: Decide, now: float) -> None:
        self._hear_decided(message.ballot.leadership, message.ballot.op_num, now)

    def _hear_decided(self, leadership: Leadership, upto: int, now: float) -> None:
        """A past or present leader reports what is decided. That stays true whichever node leads now."""
        self.catch_up.heard_of(upto)
        self.learner.decide(leadership, upto, now)

    def _heartbeat(self, sender: int, message: Heartbeat, now: float) -> None:
        believable = self._ceilings.believable(message, now)
        if believable is not message:
            self._effects.odd(sender, "a heartbeat that tells of what cannot be")
            message = believable
        self.net.heard(sender, message, now)
        self._heartbeats.heard(sender, message, now)
        self._versions.heard(sender, message)
        self.memory.heard(message.remembered)
        if self.digests.heard(sender, message):
            self._heartbeats.send_news(True, now)
        voted = self.registry.votes
        self.registry.heard(sender, message)
        if voted and not self.registry.votes:
            self._step_down()
        self._refresh(now)
        self._heartbeats.join(now)

    def _roster_stored(self, sender: int, message: RosterStored, now: float) -> None:
        self.registry.roster_stored(message)

    def _routed(self, sender: int, message: Routed, now: float) -> None:
        if message.target != self.pid:
            self._router.relay(message)
        elif message.origin in self.net.peers and not self.net.hears_steadily(message.origin, now):
            self._handle(message.origin, message.message, now)

    def _fetch(self, sender: int, message: Fetch, now: float) -> None:
        self.snapshot_source.fetch(sender, message, now)

    def _learn(self, sender: int, message: Learn, now: float) -> None:
        if not self.catch_up.asked(sender):
            return
        self.catch_up.heard_of(message.decided_upto)
        self.catch_up.take_lesson(message.start, message.operations, now)

    def _snapshot_piece(self, sender: int, message: SnapshotPiece, now: float) -> None:
        if not self.catch_up.asked(sender) or message.position <= self.log.decided_upto:
            return
        if not self.learner.leads_on(message) or not self.catch_up.take_piece(message, now):
            self._effects.odd(sender, "a snapshot that is none of this cluster")

    # ---- Operations and reads, on their way to the leader

    def _send_queue(self, now: float) -> None:
        if self.queue:
            operations = self.queue.outgoing(self._follows, now, self._patience())
            if operations:
                self._router.send(self._follows[1], Forward(operations))

    def _send_change(self, now: float) -> None:
        """Repeats what was asked for, until it is made."""
        if self._change is None or self._follows == NOBODY:
            return
        if self._change_retry.due(now, self._patience()):
            change, node, _ = self._change
            self._router.send(self._follows[1], Reconfigure(change, node, self.registry.number))

    def _reconfigure(self, sender: int, message: Reconfigure, now: float) -> None:
        self._reconfiguration.ask(message, now)

    def _forward(self, sender: int, message: Forward, now: float) -> None:
        """Each node forwards its own operations, and only those that all members understand: one that the leader does
        not understand would stop every node that comes to it in the log."""
        operations = message.operations
        if sender != self.pid:
            most, understands = self.limits.operation_bytes, self._understands
            operations = [
                operation for operation in operations
                if operation.pid == sender and len(operation.payload) <= most and understands(operation.payload)
            ]
            if len(operations) < len(message.operations):
                self._effects.odd(sender, "operations that are not its own, too large, or of no known kind")
        self.proposer.offer(operations)

    def _send_reads(self, now: float) -> None:
        if self.reads:
            ticket = self.reads.outgoing(self._follows, now, self._patience())
            if ticket is not None:
                self._router.send(self._follows[1], ReadRequest(ticket))

    def _read_request(self, sender: int, message: ReadRequest, now: float) -> None:
        self.proposer.read_request(sender, message)

    def _confirm(self, sender: int, message: Confirm, now: float) -> None:
        self.acceptor.confirm(sender, message)

    def _confirmed(self, sender: int, message: Confirmed, now: float) -> None:
        self.proposer.confirmed(sender, message)

    def _read_reply(self, sender: int, message: ReadReply, now: float) -> None:
        if self.reads.asked(sender):
            self.reads.placed(message.ticket, message.position)


__all__ = ["QueueFull", "Replica", "Status"]
