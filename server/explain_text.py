"""The sentences of `explain`: what `server/explainer.py` gathers, in plain words."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Any

import msgspec

from kvstore.operations import name as operation_name
from kvstore.payloads import decode
from paxos.ballot import Ballot, Leadership
from paxos.messages import Behind, Outranked, SnapshotPiece


class Phase(StrEnum):
    """The topic of a sentence; each has its own colour."""

    PREPARE = "prepare"
    PROMISE = "promise"
    ACCEPT = "accept"
    ACCEPTED = "accepted"
    DECIDE = "decide"
    REJECT = "reject"
    LEAD = "lead"
    LINK = "link"
    LEARN = "learn"
    READ = "read"


class Sentence(msgspec.Struct, frozen=True):
    """`ballot` is the ballot that the sentence is about, if any."""

    phase: Phase
    ballot: Ballot | None
    text: str


class Step(msgspec.Struct):
    """Steps of one kind that happened together."""

    kind: str
    ballot: Ballot
    """The first one. Without a leadership, only its position is meaningful."""
    peer: int = 0
    count: int = 0
    last: int = 0
    nodes: set[int] = msgspec.field(default_factory=set)
    extra: Any = None


class Speaker:
    """Speaks as node `pid` of a cluster of `size`."""

    def __init__(self, pid: int, size: int) -> None:
        self._pid = pid
        self._size = size
        self.majority = size // 2 + 1

    def sentence(self, step: Step) -> Sentence:
        phase, text = self._election(step) or self._proposal(step) or self._rest(step)
        return Sentence(phase, None if step.ballot.seq_num == 0 else step.ballot, text)

    def _election(self, step: Step) -> tuple[Phase, str] | None:
        ballot, peer, nodes = step.ballot, step.peer, self._nodes(step.nodes)
        name = _leadership(ballot.leadership)
        match step.kind:
            case "prepare":
                return Phase.PREPARE, f"I campaign: Prepare {ballot} to {nodes}"
            case "prepare again":
                return Phase.PREPARE, f"Prepare {ballot} again to {nodes}: no answer yet"
            case "promised":
                shown = f"; I report {_operations(step.count)} that I accepted" if step.count else ""
                return Phase.PROMISE, f"promised node {peer} {ballot}: I will accept nothing lower{shown}"
            case "promise":
                shown = f", reporting {_operations(step.count)} to propose again" if step.count else ""
                have = f": {step.last} of the {self.majority} that I need" if step.last <= self.majority else ""
                return Phase.PROMISE, f"{nodes} {_verb(step.nodes, 'promise')} {ballot}{shown}{have}"
            case "I lead" if step.nodes:
                verb = _verb(step.nodes, "promise")
                return Phase.LEAD, f"prepared {ballot}: {nodes} {verb}; that is {self._a_majority()}; I lead"
            case "I lead":
                return Phase.LEAD, f"I lead with {name} again: a majority is reachable"
            case "I lead no more":
                return Phase.LEAD, f"I no longer lead: my leadership {name} is outranked, or reaches no majority"
            case "other leads":
                return Phase.LEAD, (
                    f"node {peer} claims {name}, the highest leadership I know of, and reaches a majority: I follow"
                )
            case "no leader":
                return Phase.LEAD, "no leader: no node that I know of leads and reaches a majority"
            case "learner":
                return Phase.LEAD, "my disk is new and earlier promises are lost, so I follow as a non-voting learner"
        return None

    def _proposal(self, step: Step) -> tuple[Phase, str] | None:
        ballot, peer, nodes = step.ballot, step.peer, self._nodes(step.nodes)
        what = str(ballot) if step.count == 1 else f"{step.count} operations from {ballot} on"
        match step.kind:
            case "handed over":
                return Phase.ACCEPT, f"forwarded {_operations(step.count)} of mine to node {peer}, the leader"
            case "handed in":
                return Phase.ACCEPT, f"node {peer} forwards {_operations(step.count)}"
            case "propose":
                accepts = f", in {step.last} Accepts," if step.last > 1 else ""
                return Phase.ACCEPT, f"I propose {what}{accepts} to {nodes}"
            case "propose again":
                return Phase.ACCEPT, f"Accept {ballot} again to {nodes}: no answer yet"
            case "accepted":
                return Phase.ACCEPTED, f"accepted {what}: now on my disk; replied to node {peer}"
            case "decided":
                have = "has" if len(step.nodes) == 1 else "have"
                return Phase.DECIDE, f"{nodes} {have} accepted {what}; that is {self._a_majority()}: decided"
            case "told decided":
                return Phase.DECIDE, f"told {nodes}: decided up to {ballot.at(step.last)}"
            case "heard decided":
                return Phase.DECIDE, f"node {peer} says: decided up to {ballot.at(step.last)}"
            case "applied" if step.count == 1:
                what, origin = _command(step.extra.payload), self._nodes([step.extra.pid])
                return Phase.DECIDE, f"applied position {step.last}: {what}, submitted by {origin}"
            case "applied":
                return Phase.DECIDE, f"applied {_operations(step.count)}, up to position {step.last}"
            case "refused":
                return Phase.REJECT, f"refused node {peer} {ballot}: {self._refusal(step.extra, 'I have', 'it lacks')}"
            case "rejected":
                why = self._refusal(step.extra, "it has", "I lack")
                return Phase.REJECT, f"{self._nodes([peer])} refuses {ballot}: {why}"
        return None

    def _rest(self, step: Step) -> tuple[Phase, str]:
        """Links, reading, and catching up."""
        peer, position, nodes = step.peer, step.ballot.op_num, self._nodes(step.nodes)
        name = _leadership(step.ballot.leadership)
        match step.kind:
            case "link lost":
                return Phase.LINK, f"heartbeats with {nodes} no longer pass both ways"
            case "link back":
                return Phase.LINK, f"heartbeats with {nodes} pass both ways"
            case "passed on":
                return Phase.LINK, f"relayed a message from node {peer} to node {step.extra}: they have no link"
            case "confirm":
                verb = "does" if len(step.nodes) == 1 else "do"
                return Phase.READ, f"linearizable read: {verb} {nodes} know a leadership above my {name}?"
            case "confirmed":
                return Phase.READ, f"{nodes} {_verb(step.nodes, 'know')} nothing above {name}"
            case "asked to read":
                return Phase.READ, f"asked node {peer}, the leader, which position a read must wait for"
            case "let read":
                return Phase.READ, f"told node {peer}: a read is up to date from position {step.extra} on"
            case "fetch":
                return Phase.LEARN, f"asked node {peer} for what is decided from position {position} on"
            case "teach":
                what = _operations(step.count)
                return Phase.LEARN, f"sent node {peer} {what} that I know as decided, from position {position} on"
            case "taught":
                what = _operations(step.count)
                return Phase.LEARN, f"learned from node {peer} that {what} from position {position} on are decided"
            case "got piece":
                return Phase.LEARN, f"node {peer} sends its snapshot: {_piece(step.extra)}"
            case "gave piece":
                return Phase.LEARN, f"sent node {peer} my snapshot: {_piece(step.extra)}"
            case "installed":
                return Phase.LEARN, f"installed a snapshot of everything up to position {position}"
        raise AssertionError(step.kind)

    def _nodes(self, numbers: Iterable[int]) -> str:
        """ "nodes 1, 3 and this one" """
        numbers = set(numbers)
        others = sorted(numbers - {self._pid})
        words = f"node{'s' if len(others) > 1 else ''} {', '.join(map(str, others))}" if others else ""
        if self._pid not in numbers:
            return words
        return f"{words} and this one" if words else "this node"

    def _a_majority(self) -> str:
        return f"a majority of {self._size}"

    def _refusal(self, message: Outranked | Behind, promiser: str, behind: str) -> str:
        if isinstance(message, Outranked):
            return f"{promiser} promised {_leadership(message.promised.leadership)}"
        return f"{behind} what is decided up to position {message.decided_upto}, and must learn that first"


def _verb(nodes: set[int], verb: str) -> str:
    return verb if len(nodes) > 1 else verb + "s"


def _leadership(leadership: Leadership) -> str:
    return f"<{leadership[0]},{leadership[1]}>"


def _operations(count: int) -> str:
    return "1 operation" if count == 1 else f"{count} operations"


def _piece(message: SnapshotPiece) -> str:
    return f"piece {message.piece + 1} of {message.pieces}, everything up to position {message.position}"


def _command(payload: bytes) -> str:
    try:
        command = decode(payload)
    except ValueError:
        return "not a command"
    return f"{operation_name(command)} {command.context or ''}".rstrip()
