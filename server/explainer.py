"""Consensus in plain words: what a node receives and sends, one sentence for each step of the protocol.

Pure: no clock, no screen. `Explainer` is fed every message and change; `take` returns the sentences since the last
call. Steps of one kind that come together make one sentence, so a busy cluster stays readable. Heartbeats are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from paxos.ballot import NOBODY, Ballot, Leadership, ballot
from paxos.messages import (
    Accept,
    Accepted,
    AnyMessage,
    Behind,
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
    Routed,
    SnapshotPiece,
)
from paxos.output import Applied, VoterStatus
from paxos.replica import Status
from server.explain_text import Sentence, Speaker, Step

_AS_LEADER = ("told decided", "propose", "confirm", "decided")
_FLIGHTS = 64
"""Proposals whose votes are counted at a time; a leader has fewer in flight."""


class Explainer:
    """For node `pid` of `members`. `status` is the node's status when the commentary begins."""

    def __init__(self, pid: int, members: Iterable[int], status: Status) -> None:
        self._pid = pid
        self._speaker = Speaker(pid, len(list(members)))
        self._status = status
        self._steps: dict[tuple[str, int, Leadership], Step] = {}
        self._prepared: Ballot | None = None
        """The last ballot that this node prepared, and the nodes that promised it."""
        self._promises: set[int] = set()
        self._votes: dict[Ballot, set[int]] = {}
        """This node's proposals: for each Accept's ballot, the nodes that have accepted it."""

    def take(self) -> list[Sentence]:
        """The sentences since the last call, in order."""
        steps, self._steps = self._steps, {}
        return [self._speaker.sentence(step) for step in steps.values()]

    def received(self, sender: int, message: AnyMessage) -> None:
        """A message arrived; `sender` may be this node itself: a vote of its own that is on disk."""
        match message:
            case Promise():
                self._heard_promise(sender, message)
            case Accepted():
                self._heard_accepted(sender, message)
            case Outranked() | Behind():
                self._step("rejected", message.ballot, sender).extra = message
            case Confirmed() if sender != self._pid:
                self._step("confirmed", message.ballot).nodes.add(sender)
            case Decide():
                step = self._step("heard decided", message.ballot, sender)
                step.last = max(step.last, message.ballot.op_num)
            case Forward() if sender != self._pid:
                _count(self._step("handed in", peer=sender), message)
            case Learn():
                self._step("taught", _at(message.start), sender).count += len(message.operations)
            case SnapshotPiece():
                self._step("got piece", peer=sender).extra = message
            case Routed() if message.target == self._pid:
                self.received(message.origin, message.message)
            case Routed():
                self._step("passed on", peer=message.origin).extra = message.target

    def sent(self, messages: Sequence[tuple[int, AnyMessage]]) -> None:
        """Messages to other nodes were sent; the state they vouch for is on disk."""
        for to, message in messages:
            if type(message) is not Heartbeat:
                self._sent(to, message)

    def applied(self, applied: Sequence[Applied]) -> None:
        """Operations were handed to the store."""
        if applied:
            step = self._step("applied")
            step.count += len(applied)
            step.last = applied[-1].position
            step.extra = applied[-1].operation

    def installed(self, position: int) -> None:
        """A snapshot replaced the store."""
        self._step("installed", _at(position))

    def changed(self, status: Status) -> None:
        """The role, the leader, a link or the voter status has changed."""
        before, self._status = self._status, status
        if lost := set(before.links) - set(status.links):
            self._step("link lost").nodes |= lost
        if back := set(status.links) - set(before.links):
            self._step("link back").nodes |= back
        if status.voter_status is VoterStatus.LEARNER and before.voter_status is not VoterStatus.LEARNER:
            self._step("learner")
        if before.role == "leader" and status.role != "leader":
            self._step("I lead no more", before.ballot)
        if status.role == "leader" and before.role != "leader":
            self._leads(status.ballot)
        elif status.leader != before.leader and status.leader != self._pid:
            if status.leader is None:
                self._step("no leader")
            else:
                self._step("other leads", status.ballot, status.leader)

    def _leads(self, mine: Ballot) -> None:
        """The role change is reported last, but before anything that this node already did as the leader."""
        done = {
            key: step for key, step in self._steps.items() if key[0] in _AS_LEADER and key[2] == mine.leadership
        }
        for key in done:
            del self._steps[key]
        if self._prepared is not None and self._prepared.leadership == mine.leadership:
            self._step("I lead", self._prepared).nodes |= self._promises
            self._prepared = None
        else:
            self._step("I lead", mine)
        self._steps.update(done)

    def _step(self, kind: str, about: Ballot | None = None, peer: int = 0) -> Step:
        """The step of this kind that is being collected."""
        about = about or _at(0)
        key = (kind, peer, about.leadership)
        step = self._steps.get(key)
        if step is None:
            step = self._steps[key] = Step(kind, about, peer)
        return step

    def _sent(self, to: int, message: AnyMessage) -> None:
        match message:
            case Prepare():
                self._asked_promise(to, message)
            case Promise():
                self._step("promised", message.ballot, to).count = len(message.entries)
            case Accept():
                self._proposed(to, message)
            case Accepted():
                self._step("accepted", message.ballot, to).count += message.count
            case Outranked() | Behind():
                self._step("refused", message.ballot, to).extra = message
            case Decide():
                step = self._step("told decided", message.ballot)
                step.last = max(step.last, message.ballot.op_num)
                step.nodes.add(to)
            case Confirm():
                self._step("confirm", message.ballot).nodes.add(to)
            case Forward():
                _count(self._step("handed over", peer=to), message)
            case ReadRequest():
                self._step("asked to read", peer=to)
            case ReadReply():
                self._step("let read", peer=to).extra = message.position
            case Fetch():
                self._step("fetch", _at(message.start), to)
            case Learn():
                self._step("teach", _at(message.start), to).count += len(message.operations)
            case SnapshotPiece():
                self._step("gave piece", peer=to).extra = message
            case Routed() if message.origin == self._pid:
                self._sent(message.target, message.message)

    def _asked_promise(self, to: int, message: Prepare) -> None:
        if message.ballot != self._prepared:
            self._prepared, self._promises = message.ballot, set()
            self._votes.clear()
            self._step("prepare", message.ballot)
        begun = self._steps.get(("prepare", 0, message.ballot.leadership))
        if begun is not None and begun.ballot == message.ballot and to not in begun.nodes:
            begun.nodes.add(to)
        else:
            self._step("prepare again", message.ballot).nodes.add(to)

    def _heard_promise(self, sender: int, message: Promise) -> None:
        if message.ballot != self._prepared or sender in self._promises:
            return
        self._promises.add(sender)
        step = self._step("promise", message.ballot)
        step.nodes.add(sender)
        step.count += sum(entry.position > message.decided_upto for entry in message.entries)
        step.last = len(self._promises)

    def _proposed(self, to: int, message: Accept) -> None:
        if message.ballot not in self._votes:
            self._votes[message.ballot] = set()
            if len(self._votes) > _FLIGHTS:
                del self._votes[next(iter(self._votes))]
            step = self._step("propose", message.ballot)
            step.count += len(message.operations)
            step.last += 1
            step.extra = message
        else:
            begun = self._steps.get(("propose", 0, message.ballot.leadership))
            first_time = begun is not None and begun.extra is message
            step = begun if begun is not None and first_time else self._step("propose again", message.ballot)
        step.nodes.add(to)

    def _heard_accepted(self, sender: int, message: Accepted) -> None:
        voters = self._votes.get(message.ballot)
        if voters is None or sender in voters:
            return
        voters.add(sender)
        if len(voters) == self._speaker.majority:
            step = self._step("decided", message.ballot)
            step.count += message.count
            step.nodes |= voters


def _count(step: Step, message: Forward) -> None:
    """Counts each operation once, however often it is sent."""
    names = step.extra = step.extra or set()
    names.update((operation.incarnation, operation.number) for operation in message.operations)
    step.count = len(names)


def _at(position: int) -> Ballot:
    """A position without a leadership."""
    return ballot(NOBODY, position)
