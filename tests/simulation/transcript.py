"""A run described for people who want to understand it: messages, disk writes, decisions.

Heartbeats are left out; their effects are shown instead (who hears whom, who follows whom).
"""

from __future__ import annotations

import inspect

import msgspec

from kvstore.operations import Create, Query, StoreOperation
from kvstore.payloads import decode
from kvstore.store import Outcome
from paxos.ballot import Leadership
from paxos.configuration import read_stop_sign
from paxos.messages import (
    Accept,
    Accepted,
    AnyMessage,
    Behind,
    Change,
    Confirm,
    Confirmed,
    Decide,
    Entry,
    Fetch,
    Forward,
    Heartbeat,
    Learn,
    Operation,
    Outranked,
    Prepare,
    Promise,
    ReadReply,
    ReadRequest,
    Reconfigure,
    RosterStored,
    Routed,
    Snapshot,
    SnapshotPiece,
)
from paxos.output import Applied, Durable, Persist, VoterStatus
from storage.records import Compaction
from tests.simulation.world import Node, Observer, World

WIDTH = 120
INDENT = " " * 19


# ---- Words


def span(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}..{last}"


def leadership_words(leadership: Leadership) -> str:
    return f"<{leadership[0]},{leadership[1]}>"


def command_words(command: StoreOperation | None) -> str:
    match command:
        case Create(context):
            return f"create {context}"
        case Query(context, text):
            return f"query {context} {text}"
        case None:
            return "?"
    return f"{type(command).__name__.lower()} {command.context}"


def operation_words(operation: Operation) -> str:
    configuration = read_stop_sign(operation)
    if configuration is not None:
        return f"configuration {configuration.number} of {' '.join(map(str, configuration.members))}"
    if operation.is_noop:
        return "no-op"
    try:
        return command_words(decode(operation.payload))
    except ValueError:
        return f"operation {operation.number} of {operation.pid}"


def operations_words(operations: list[Operation]) -> str:
    return ", ".join(map(operation_words, operations))


def entries_words(entries: list[Entry], decided: int) -> str:
    """Decided ones only by number; what is only accepted, with the leadership that it was accepted under."""
    known = [entry.position for entry in entries if entry.position <= decided]
    parts = [f"{span(known[0], known[-1])} decided"] if known else []
    parts += [
        f"{entry.position} {operation_words(entry.operation)} accepted under {leadership_words(entry.leadership)}"
        for entry in entries if entry.position > decided
    ]
    return "; ".join(parts) or "no operation"


def message_words(message: AnyMessage) -> str:
    match message:
        case Prepare(ballot) | Decide(ballot) | Confirm(ballot) | Confirmed(ballot):
            return f"{type(message).__name__} {ballot}"
        case Promise(ballot, entries, decided):
            return f"Promise {ballot}: holds {entries_words(entries, decided)}"
        case Accept(ballot, operations, decided):
            return f"Accept {ballot}: {operations_words(operations)}; {decided} decided"
        case Accepted(ballot, count):
            return f"Accepted {ballot}" + (f", {count} operations" if count > 1 else "")
        case Outranked(ballot, promised):
            return f"Outranked {ballot}: promised {leadership_words(promised.leadership)}"
        case Reconfigure(change, node, _):
            return f"Reconfigure: {Change(change).name.lower()} {node}"
        case Behind(ballot, decided):
            return f"Behind {ballot}: knows {decided} decided"
        case Forward(operations):
            return f"Forward: {operations_words(operations)}"
        case ReadRequest(ticket):
            return f"ReadRequest {ticket}"
        case ReadReply(ticket, position):
            return f"ReadReply {ticket}: when {position} is applied"
        case Fetch(start, snapshot, piece):
            return f"Fetch from {start}" + (f", snapshot {snapshot} from piece {piece}" if snapshot else "")
        case Learn(start, operations, decided):
            names = operations_words(operations)
            return f"Learn {span(start, start + len(operations) - 1)}: {names}; {decided} decided"
        case SnapshotPiece(position, piece, pieces):
            return f"SnapshotPiece {piece + 1} of {pieces}, snapshot at {position}"
        case Routed(origin, target, _, inner):
            return f"Routed {origin} -> {target}: {message_words(inner)}"
        case Heartbeat() | RosterStored():
            return type(message).__name__


def record_words(item: Persist | Compaction) -> str:
    if isinstance(item, Compaction):
        return f"its snapshot at {item.position}"
    parts = []
    if item.snapshot is not None:
        parts.append(f"the received snapshot at {item.snapshot.position}")
    if item.promised is not None:
        parts.append(f"promised {leadership_words(item.promised.leadership)}")
    for entry in item.entries:
        under = f" under {leadership_words(entry.leadership)}" if entry.leadership[1] else ""
        parts.append(f"{entry.position} {operation_words(entry.operation)}{under}")
    if item.decided is not None:
        parts.append(f"decided {item.decided}")
    if item.compacted is not None:
        parts.append(f"log cut behind {item.compacted}")
    if item.roster is not None:
        parts.append(f"roster of {', '.join(map(str, sorted(item.roster)))}")
    if item.voter_status is not None:
        parts.append(f"is a {item.voter_status.value}")
    return "; ".join(parts)


def disk_words(durable: Durable) -> str:
    if durable.voter_status is VoterStatus.NEW and not durable.roster:
        return "nothing"
    held = [f"snapshot at {durable.snapshot_position}"] if durable.snapshot_position else []
    held += [entries_words(durable.entries, durable.decided)] if durable.entries or not held else []
    return f"{durable.voter_status.value}, promised {leadership_words(durable.promised.leadership)}, {', '.join(held)}"


# ---- The recorder


class Seen(msgspec.Struct):
    """What was told of one node last."""

    incarnation: int = 0
    voter_status: VoterStatus = VoterStatus.NEW
    role: str = ""
    follows: Leadership | None = None
    hears: frozenset[int] = frozenset()
    decided: int = 0


class Transcript(Observer):
    """Writes the transcript of one world, between `begin` and `end`."""

    def __init__(self, title: str, about: str) -> None:
        self._head = [title, "=" * len(title), "", *inspect.cleandoc(about).splitlines(), ""]
        self._lines: list[str] = []
        self._recording = False
        self._start = 0.0
        self._seen: dict[int, Seen] = {}
        self._group: tuple[str, str, str, list[str]] | None = None
        """Time, sender, words and receivers of a message that may go to more of them."""

    @property
    def text(self) -> str:
        self._flush()
        return "\n".join([*self._head, *(line.rstrip() for line in self._lines)]) + "\n"

    def begin(self, world: World) -> None:
        """Time counts from here."""
        self._recording = True
        self._start = world.now
        for node in world.nodes.values():
            if node.up:
                self._look(world, node)

    def remark(self, text: str) -> None:
        """What the operator or a user does."""
        if self._recording:
            self._flush()
            self._lines += [*([""] if self._lines[-1:] not in ([], [""]) else []), f"-- {text}", ""]

    # Hooks

    def started(self, world: World, node: Node, durable: Durable) -> None:
        self._seen[node.pid] = Seen(
            incarnation=node.incarnation, voter_status=durable.voter_status, decided=durable.decided
        )
        self._tell(world, node.pid, f"starts; on its disk: {disk_words(durable)}")

    def sent(self, world: World, node: Node, to: int, message: AnyMessage) -> None:
        if not self._recording or isinstance(message, Heartbeat | RosterStored):
            return
        self._look(world, node)
        receiver = f"({to} lost)" if (node.pid, to) in world.weather.cut or not world.nodes[to].up else str(to)
        time, sender, words = self._time(world), str(node.pid), message_words(message)
        if self._group is not None and self._group[:3] == (time, sender, words):
            self._group[3].append(receiver)
        else:
            self._flush()
            self._group = (time, sender, words, [receiver])

    def stored(self, world: World, node: Node, item: Persist | Compaction) -> None:
        words = record_words(item)
        if words:  # What is remembered of others' disks is no part of the story.
            self._tell(world, node.pid, f"stores {words}")

    def installed(self, world: World, node: Node, snapshot: Snapshot) -> None:
        self._tell(world, node.pid, f"installs the snapshot at {snapshot.position}")

    def acknowledged(self, world: World, node: Node, applied: Applied, outcome: Outcome) -> None:
        self._look(world, node)
        word = "done" if outcome.ok else f"refused: {outcome.error}"
        self._tell(world, node.pid, f"tells its user: {command_words(outcome.operation)}, {word}")

    def stepped(self, world: World, node: Node) -> None:
        self._look(world, node)

    # Lines

    def _look(self, world: World, node: Node) -> None:
        """Writes what has changed in a node since the last call."""
        replica, status = node.replica, node.replica.status()
        seen = self._seen.setdefault(node.pid, Seen(incarnation=node.incarnation))
        claim = status.ballot.leadership if status.leader is not None else None
        if replica.net.hears != seen.hears:
            heard = ", ".join(map(str, sorted(replica.net.hears))) or "nobody"
            self._tell(world, node.pid, f"hears {heard}")
        if status.voter_status is not seen.voter_status and status.voter_status is not VoterStatus.NEW:
            told = {VoterStatus.VOTER: "may vote", VoterStatus.LEARNER: "may not vote"}[status.voter_status]
            self._tell(world, node.pid, told)
        if (status.role, claim) != (seen.role, seen.follows):
            self._tell(world, node.pid, self._role_words(status.role, claim, node.pid, bool(seen.role)))
        if replica.log.decided_upto > seen.decided:
            entries = [replica.log.get(position) for position in range(seen.decided + 1, replica.log.decided_upto + 1)]
            names = operations_words([entry.operation for entry in entries if entry is not None]) or "by the snapshot"
            self._tell(world, node.pid, f"knows {span(seen.decided + 1, replica.log.decided_upto)} decided: {names}")
        self._seen[node.pid] = Seen(
            node.incarnation, status.voter_status, status.role, claim, replica.net.hears, replica.log.decided_upto
        )

    def _role_words(self, role: str, claim: Leadership | None, pid: int, before: bool) -> str:
        if claim is None:
            return "follows nobody" if before else ""
        name = leadership_words(claim)
        if claim[1] != pid:
            return f"follows {claim[1]}, {name}"
        return f"campaigns for leadership {name}" if role == "candidate" else f"leads, {name}"

    def _tell(self, world: World, pid: int, text: str) -> None:
        if self._recording and text:
            self._flush()
            self._line(self._time(world), str(pid), text)

    def _flush(self) -> None:
        if self._group is not None:
            time, sender, words, receivers = self._group
            self._group = None
            self._line(time, f"{sender} -> {' '.join(receivers)}", words)

    def _line(self, time: str, who: str, text: str) -> None:
        """One event; what is too long goes on in the next line."""
        line = f"{time:>7}  {who:<9} "
        for word in text.split(" "):
            if len(line) + len(word) > WIDTH and line.strip():
                self._lines.append(line)
                line = INDENT
            line += word + " "
        self._lines.append(line)

    def _time(self, world: World) -> str:
        return f"{(world.now - self._start) * 1000:.0f}"
