"""One node of Multi-Paxos: puts the rooms of this package together, and decides nothing that a room can decide.

A host feeds it messages, ticks and submissions, and works through the Output records that it returns (see output.py
for the order that makes this safe). No handler raises on any well-formed message, however old or odd.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random
from typing import Any

import msgspec

from paxos.acceptor import Acceptor
from paxos.ballot import NOBODY, Ballot, Leadership, ballot
from paxos.catchup import CatchUp, SnapshotSource
from paxos.connectivity import Connectivity
from paxos.election import Election
from paxos.learner import Learner
from paxos.limits import Limits, Timing
from paxos.log import Log
from paxos.messages import (
    Accept,
    Accepted,
    AnyMessage,
    Confirm,
    Confirmed,
    Decide,
    Fetch,
    Forward,
    Heartbeat,
    Learn,
    Operation,
    Prepare,
    Promise,
    ReadReply,
    ReadRequest,
    Reject,
    Routable,
    Routed,
    Row,
    Snapshot,
    SnapshotPiece,
)
from paxos.output import Durable, Output, VoterStatus
from paxos.proposer import Batch, Candidate, Leader
from paxos.queue import OperationQueue, QueueFull
from paxos.reads import ReadIndex, Reads
from paxos.retry import Retry
from paxos.sessions import Sessions
from paxos.voter_status import Registration

SAVE_DECIDED_S = 1.0
"""A watermark that rides with no other write is stored this often: losing it costs only a little catching up."""


class Status(msgspec.Struct, frozen=True):
    """What a node can say of itself at any moment."""

    node: int
    role: str
    leader: int | None
    ballot: Ballot
    """Of the leadership that this node follows or claims; its op_num is the next position."""
    promised: Ballot
    decided: int
    applied: int
    queued: int
    standing: VoterStatus
    links: tuple[int, ...]
    """Peers with messages passing in both directions."""


class Replica:
    def __init__(
        self, pid: int, members: Iterable[int], durable: Durable, timing: Timing, limits: Limits, random: Random,
        now: float,
    ) -> None:
        self.pid = pid
        self.timing = timing
        self.limits = limits
        self._random = random
        self.net = Connectivity(pid, members, timing)
        decided = max(durable.decided, durable.snapshot_position)
        self.log = Log(durable.entries, decided)
        self.acceptor = Acceptor(durable.promised, self.log, limits)
        self.election = Election(self.net, timing, limits)
        self.registration = Registration(
            pid, self.net.members, durable.identity, durable.standing, durable.roster
        )
        self.queue = OperationQueue(pid, durable.incarnation, limits)
        self.learner = Learner(pid, self.log, durable, self.queue, random)
        self.reads = Reads(durable.incarnation)
        self.candidate: Candidate | None = None
        self.leader: Leader | None = None
        self._rounds = ReadIndex(self.net.quorum, now)
        self._fetcher = CatchUp(self.net, timing, random, now)
        self._shelf = SnapshotSource(limits, now)
        self._loading = False
        self._held: list[Operation] = []
        """Operations forwarded to a candidate, for when it leads."""
        self._follows: Leadership = NOBODY
        self._known_roster: dict[int, int] = dict(durable.roster)
        """The part of the roster that is surely on disk."""
        self._version = (durable.incarnation, 0)
        """Of the last row about itself."""
        self._prepare_retry = Retry(now)
        self._heartbeat_due = now
        self._claimed: Leadership = NOBODY
        self._announced = decided
        self._saved_decided = decided
        self._save_due = now + SAVE_DECIDED_S
        self._out = Output()
        self._handlers: dict[type, Callable[[int, Any, float], None]] = {
            Prepare: self._prepare, Promise: self._promise, Accept: self._accept, Accepted: self._accepted,
            Reject: self._reject, Decide: self._decide, Heartbeat: self._heartbeat, Forward: self._forward,
            ReadRequest: self._read_request, ReadReply: self._read_reply, Confirm: self._confirm,
            Confirmed: self._confirmed, Fetch: self._fetch, Learn: self._learn,
            SnapshotPiece: self._snapshot_piece, Routed: self._routed,
        }
        if durable.standing is VoterStatus.NEW and not durable.roster:
            self._out.to_persist().roster = dict(self.registration.roster)
        self._admit()
        self.learner.advance(self._out, now)
        self._refresh(now)

    # ---- Doors for the host

    @property
    def incarnation(self) -> int:
        return self.queue.incarnation

    @property
    def applied(self) -> int:
        return self.learner.applied

    @property
    def sessions(self) -> Sessions:
        return self.learner.sessions

    def receive(self, sender: int, message: AnyMessage, now: float) -> None:
        """Takes in one message. `sender` may be this node itself: a vote of its own, once it is on disk."""
        if sender in self.net.members:
            self._handlers[type(message)](sender, message, now)

    def submit(self, payload: bytes) -> int:
        """Queues an operation until it is decided; returns its ticket. Raises QueueFull."""
        if len(payload) > self.limits.operation_bytes:
            raise QueueFull(f"an operation of {len(payload)} bytes; at most {self.limits.operation_bytes} fit")
        return self.queue.submit(payload)

    def read(self) -> int:
        """Asks for a linearizable view of the applied state; the ticket returns in `Output.reads`."""
        if len(self.reads) >= self.limits.queue:
            raise QueueFull(f"{len(self.reads)} reads are waiting already")
        return self.reads.open()

    def abandon_read(self, ticket: int) -> None:
        self.reads.abandon(ticket)

    def suspect(self, peer: int, now: float) -> None:
        """A hint, never a truth: the connection of `peer` was seen to close."""
        self.net.suspect(peer, now)
        self._refresh(now)

    def snapshot_loaded(self, snapshot: Snapshot, now: float) -> None:
        """The answer to `Output.load_snapshot`."""
        self._loading = False
        for sender, fetch in self._shelf.load(snapshot).items():
            self._fetch(sender, fetch, now)

    def snapshot_stored(self, position: int) -> None:
        """The host has stored a snapshot at `position`: the log may be cut behind it, but for a tail that spares
        nodes which are only a little behind a snapshot, and whatever a snapshot that is being handed out needs."""
        upto = position - self.limits.keep
        serving = self._shelf.position
        if serving is not None and position - serving < self.limits.hold:
            upto = min(upto, serving)
        upto = min(upto, self.learner.applied)
        if upto > self.log.compacted:
            self.log.release(upto)
            self._out.to_persist().compacted = upto

    def tick(self, now: float) -> None:
        """Looks at the clock; the host calls this at least every `timing.tick_s`."""
        self._refresh(now)
        self._repeat(now)
        self._shelf.expire(now, self.net.round_trip())
        if now >= self._heartbeat_due:
            self._send_heartbeat(now)
        if self.log.decided > self._saved_decided and now >= self._save_due:
            self._out.to_persist()

    def take_output(self, now: float) -> Output:
        """Everything that gathered since the last call: the host calls it once per turn of its event loop, so that
        what arrived together travels and is stored together."""
        self._send_queue(now)
        self._send_reads(now)
        self._propose(now)
        self._catch_up(now)
        out, self._out = self._out, Output()
        out.reads = self.reads.ready(self.learner.applied)
        if self._shelf.needs_snapshot and not self._loading:
            self._loading = out.load_snapshot = True
        if out.persist is not None and self.log.decided > self._saved_decided:
            out.persist.decided = self._saved_decided = self.log.decided
            self._save_due = now + SAVE_DECIDED_S
        return out

    def status(self) -> Status:
        leadership = self._claim if self._claim != NOBODY else self._follows
        return Status(
            self.pid, self._role(), self._follows[1] or None, ballot(leadership, self.log.last + 1),
            self.acceptor.promised, self.log.decided, self.applied, len(self.queue), self.registration.standing,
            self.net.links(),
        )

    def _role(self) -> str:
        if self.registration.standing is VoterStatus.LEARNER:
            return "learner"
        if self._follows != NOBODY and self._follows == self._claim:
            return "leader" if self.leader else "candidate"
        return "follower"

    def majority_reachable(self) -> bool:
        """True while a leader with a majority is known, so that what is submitted will soon be decided."""
        return self._follows != NOBODY

    # ---- Sending

    def _broadcast(self, message: AnyMessage) -> None:
        """To every peer; only for messages that vouch for nothing which is not on disk yet."""
        self._out.send_now.extend((peer, message) for peer in self.net.peers)

    def _send_after_persist(self, to: int, message: AnyMessage) -> None:
        """Leaves only when all that has been persisted up to now is on disk."""
        self._out.send_after_persist.append((to, message))

    def _route(self, to: int, message: Routable, now: float) -> None:
        """Directly if the links allow it, else by way of others."""
        if to == self.pid:
            self.receive(self.pid, message, now)
            return
        hop = self.net.next_hop(to)
        if hop is None or hop == to:
            self._out.send_now.append((to, message))
        else:
            self._out.send_now.append((hop, Routed(self.pid, to, len(self.net.members), message)))

    def _routed(self, sender: int, message: Routed, now: float) -> None:
        if message.target == self.pid:
            if message.origin in self.net.peers:
                self.receive(message.origin, message.message, now)
            return
        hop = self.net.next_hop(message.target)
        if hop is not None and message.hops > 0:
            self._out.send_now.append((hop, msgspec.structs.replace(message, hops=message.hops - 1)))

    def _patience(self) -> float:
        return max(self.timing.retry_s, 2 * self.net.round_trip())

    # ---- Heartbeats, links and elections

    @property
    def _claim(self) -> Leadership:
        """The leadership that this node claims, as a candidate or a leader."""
        if self.leader is not None:
            return self.leader.leadership
        return self.candidate.ballot.leadership if self.candidate is not None else NOBODY

    def _row(self) -> Row:
        return Row(
            pid=self.pid, version=self._version, identity=self.registration.identity,
            hears=tuple(sorted(self.net.hears)), leading=self._claim, established=self.leader is not None,
            promised=self.acceptor.promised.leadership, decided=self.log.decided, votes=self.registration.votes,
            blank=self.log.blank, roster={} if self._all_vote() else self._known_roster,
        )

    def _all_vote(self) -> bool:
        rows = self.net.rows
        return all(member in rows and rows[member].votes for member in self.net.members)

    def _send_heartbeat(self, now: float) -> None:
        self._heartbeat_due = now + self.timing.heartbeat_s
        self._version = (self._version[0], self._version[1] + 1)
        self.net.describe(self._row())
        message = Heartbeat(list(self.net.rows.values()), self._known_roster, now, self.net.echoes(now))
        self._broadcast(message)

    def _heartbeat(self, sender: int, message: Heartbeat, now: float) -> None:
        if sender == self.pid:
            # Sent when the roster grew, and back only once that is on disk: from now on others may be told.
            self._known_roster = message.roster
            return
        self.net.heard(sender, message, now)
        self._outlive(message.rows)
        blank = any(row.pid == sender and row.blank for row in message.rows)
        standing = self.registration.standing
        if self.registration.heard(sender, message, blank):
            roster = dict(self.registration.roster)
            self._out.to_persist().roster = roster
            self._send_after_persist(self.pid, Heartbeat([], roster, now, {}))
        if self.registration.standing is not standing:
            self._out.to_persist().standing = self.registration.standing
            self._step_down()
        self._admit()
        self._refresh(now)

    def _outlive(self, rows: list[Row]) -> None:
        """Others may remember a later life of this node than this one believes to be (a lost disk and a clock set
        back), and would go by its last words for ever."""
        for row in rows:
            if row.pid == self.pid and row.version > self._version:
                self._version = (row.version[0] + 1, 0)

    def _admit(self) -> None:
        if self.registration.admit():
            self._out.to_persist().standing = VoterStatus.VOTER

    def _refresh(self, now: float) -> None:
        """Brings the picture of the cluster up to date, and draws the consequences for leadership."""
        urgent = self.net.refresh(now)
        self.net.describe(self._row())
        due = self.election.due(now, self._random)
        if due is not None:
            self._campaign(due, now)
        self._follows = self.election.leader(now)
        if self._claim != NOBODY and max(self._follows, self.acceptor.promised.leadership) > self._claim:
            self._step_down()
        if urgent or self._claim != self._claimed:
            self._claimed = self._claim
            self._send_heartbeat(now)

    def _campaign(self, leadership: Leadership, now: float) -> None:
        """Claims a new leadership. The claim is a promise of this node's own, and on disk before any Prepare leaves:
        after a crash it can't claim the same one again."""
        self._step_down()
        self.acceptor.promise(ballot(leadership))
        self._out.to_persist().promised = self.acceptor.promised
        self.candidate = Candidate(ballot(leadership, self.log.decided + 1), self.net.quorum)
        self.net.describe(self._row())
        self._prepare_retry.reset(now)
        self._ask_promises(now)

    def _step_down(self) -> None:
        """Whatever was in flight is proposed again by the next leader, or sent again by its origin."""
        self.candidate = self.leader = None
        self._held = []
        self.net.describe(self._row())

    def _ask_promises(self, now: float) -> None:
        assert self.candidate is not None
        message = Prepare(self.candidate.ballot)
        for member in self.net.members:
            if member not in self.candidate.promises:
                self._send_after_persist(member, message)

    # ---- Phase 1

    def _prepare(self, sender: int, message: Prepare, now: float) -> None:
        if not self.registration.votes:
            return
        reply, fresh = self.acceptor.prepare(message)
        if fresh:
            self._out.to_persist().promised = self.acceptor.promised
            self._refresh(now)
        self._send_after_persist(sender, reply)

    def _promise(self, sender: int, message: Promise, now: float) -> None:
        if self.candidate is None:
            return
        inheritance = self.candidate.promised(sender, message)
        if inheritance is None:
            return
        self._learn_decided(inheritance.start, inheritance.decided, now)
        known = max(0, self.log.decided - inheritance.first_open + 1)
        """Positions that became known as decided while the promises were under way need no second proposal."""
        leadership = self.candidate.ballot.leadership
        self.leader = Leader(
            leadership, self.net.quorum, self.limits, self.log.decided, inheritance.open[known:],
            self.learner.sessions,
        )
        self.candidate = None
        self._rounds = ReadIndex(self.net.quorum, now)
        self.leader.offer(self._held)
        self._held = []
        self._announced = 0
        self._refresh(now)

    def _reject(self, sender: int, message: Reject, now: float) -> None:
        if message.ballot.leadership != self._claim:
            return
        if message.promised.leadership > self._claim:
            self.election.outranked(message.promised.leadership)
            self._refresh(now)
        elif self.candidate is not None and message.ballot == self.candidate.ballot:
            # It asks again from where it is by then, soon (see _repeat).
            self._prepare_retry.reset(now)
            if message.decided > self.log.decided:
                self._fetcher.heard_of(message.decided)
                self._fetcher.hurry(sender)

    # ---- Phase 2

    def _propose(self, now: float) -> None:
        leader = self.leader
        if leader is None:
            return
        for batch in leader.propose(now):
            message = leader.accept_message(batch)
            self._announced = leader.decided
            self._broadcast(message)
            self._accept(self.pid, message, now)
        if leader.decided > self._announced:
            self._announced = leader.decided
            self._broadcast(Decide(ballot(leader.leadership, leader.decided)))
        if leader.settled and self._rounds.start(leader.decided, now):
            self._confirm_round(now)

    def _repeat(self, now: float) -> None:
        """Sends again what has gone unanswered for too long."""
        patience = self._patience()
        if self.candidate is not None and self._prepare_retry.due(now, patience):
            if self.log.decided >= self.candidate.ballot.op_num:
                self.candidate.restart(self.log.decided + 1)
            self._ask_promises(now)
        if self.leader is not None:
            for batch in self.leader.overdue(now, patience):
                self._resend(batch, now)
            if self._rounds.running and self._rounds.retry.due(now, patience):
                self._confirm_round(now)

    def _resend(self, batch: Batch, now: float) -> None:
        assert self.leader is not None
        message = self.leader.accept_message(batch)
        self._out.send_now.extend((peer, message) for peer in self.net.peers if peer not in batch.voters)
        if self.pid not in batch.voters:
            # Its own acceptor may have refused to store so far ahead.
            self._accept(self.pid, message, now)

    def _accept(self, sender: int, message: Accept, now: float) -> None:
        reply, fresh, entries = self.acceptor.accept(message)
        if fresh:
            self._out.to_persist().promised = self.acceptor.promised
            self._refresh(now)
        if entries:
            self._out.to_persist().entries.extend(entries)
        if reply is not None and self.registration.votes:
            self._send_after_persist(sender, reply)
        self._hear_decided(message.ballot.leadership, message.decided, now)

    def _accepted(self, sender: int, message: Accepted, now: float) -> None:
        if self.leader is not None and self.leader.accepted(sender, message):
            self.log.decide(self.leader.leadership, self.leader.decided)
            self.learner.advance(self._out, now)

    def _decide(self, sender: int, message: Decide, now: float) -> None:
        self._hear_decided(message.ballot.leadership, message.ballot.op_num, now)

    def _hear_decided(self, leadership: Leadership, upto: int, now: float) -> None:
        """A leader, past or present, says what it knows as decided. That stays true whoever leads now."""
        self._fetcher.heard_of(upto)
        if upto > self.log.decided and self.log.decide(leadership, upto):
            self.learner.advance(self._out, now)

    # ---- Catching up

    def _catch_up(self, now: float) -> None:
        request = self._fetcher.request(self.log.decided, now)
        if request is not None:
            self._route(*request, now)

    def _fetch(self, sender: int, message: Fetch, now: float) -> None:
        answer = self._shelf.answer(sender, message, self.log, now)
        if answer is not None and sender != self.pid:
            self._route(sender, answer, now)

    def _learn(self, sender: int, message: Learn, now: float) -> None:
        self._fetcher.heard_of(message.decided)
        self._learn_decided(message.start, message.operations, now)

    def _learn_decided(self, start: int, operations: list[Operation], now: float) -> None:
        """Takes operations that are decided for sure. They go to the disk together with the watermark that covers
        them, which `take_output` adds (see Log.learn)."""
        entries = self.log.learn(start, operations)
        if entries:
            self._fetcher.progressed()
            self._out.to_persist().entries.extend(entries)
            self.learner.advance(self._out, now)

    def _snapshot_piece(self, sender: int, message: SnapshotPiece, now: float) -> None:
        snapshot = self._fetcher.piece(message, self.log.decided)
        if snapshot is not None:
            self.learner.install(snapshot, self._out, now)

    # ---- The queue and reads

    def _send_queue(self, now: float) -> None:
        if not self.queue:
            return
        operations = self.queue.outgoing(self._follows, now, self._patience())
        if not operations:
            return
        if self._follows == self._claim:
            self._forward(self.pid, Forward(operations), now)
        else:
            self._route(self._follows[1], Forward(operations), now)

    def _forward(self, sender: int, message: Forward, now: float) -> None:
        if self.leader is not None:
            self.leader.offer(message.operations)
        elif self.candidate is not None and len(self._held) < self.limits.queue:
            self._held.extend(message.operations)

    def _send_reads(self, now: float) -> None:
        if not self.reads:
            return
        ticket = self.reads.outgoing(self._follows, now, self._patience())
        if ticket is not None:
            self._route(self._follows[1], ReadRequest(ticket), now)

    def _read_request(self, sender: int, message: ReadRequest, now: float) -> None:
        if self.leader is not None:
            self._rounds.ask(sender, message.ticket)

    def _read_reply(self, sender: int, message: ReadReply, now: float) -> None:
        self.reads.placed(message.ticket, message.position)

    def _confirm_round(self, now: float) -> None:
        assert self.leader is not None
        message = Confirm(ballot(self.leader.leadership, self.leader.next), self._rounds.count)
        self._broadcast(message)
        self._confirm(self.pid, message, now)

    def _confirm(self, sender: int, message: Confirm, now: float) -> None:
        if not self.registration.votes:
            return
        reply = self.acceptor.confirm(message)
        if sender == self.pid:
            self.receive(self.pid, reply, now)
        else:
            self._out.send_now.append((sender, reply))

    def _confirmed(self, sender: int, message: Confirmed, now: float) -> None:
        if self.leader is None or message.ballot.leadership != self.leader.leadership:
            return
        for node, ticket, position in self._rounds.confirmed(sender, message):
            self._route(node, ReadReply(ticket, position), now)


__all__ = ["QueueFull", "Replica", "Status"]
