"""A run as text: who sent what, when, what reached the disk, what was applied."""

from __future__ import annotations

from kvstore.store import Outcome
from paxos.messages import (
    Accept,
    Accepted,
    AnyMessage,
    Confirm,
    Confirmed,
    Decide,
    Entry,
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
    Routed,
    Snapshot,
    SnapshotPiece,
)
from paxos.output import Applied, Durable, Persist
from storage.records import Compaction
from tests.simulation.world import Disk, Node, Observer, World


def operation(op: Operation) -> str:
    """`3.2` is the second operation of this life of node 3."""
    return "noop" if op.is_noop else f"{op.pid}.{op.incarnation % 1_000_000_007}.{op.number}"


def entry(one: Entry) -> str:
    seq, pid = one.leadership
    return f"{one.position}:{operation(one.operation)}" + (f"@{seq},{pid}" if pid else "")


def message(said: AnyMessage) -> str:
    match said:
        case Prepare(ballot):
            return f"Prepare {ballot}"
        case Promise(ballot, entries, decided):
            return f"Promise {ballot} [{' '.join(map(entry, entries))}] decided {decided}"
        case Accept(ballot, operations, decided):
            return f"Accept {ballot} [{' '.join(map(operation, operations))}] decided {decided}"
        case Accepted(ballot, count):
            return f"Accepted {ballot} x{count}"
        case Reject(ballot, promised, decided):
            return f"Reject {ballot}, promised {promised}, decided {decided}"
        case Decide(ballot):
            return f"Decide {ballot}"
        case Heartbeat(rows, roster):
            about = " ".join(
                f"{row.pid}({','.join(map(str, row.hears))})"
                + (f"leads {row.leading}" if row.leading[1] else "") + ("" if row.votes else "!")
                for row in sorted(rows, key=lambda row: row.pid)
            )
            return f"Heartbeat {about} roster {sorted(roster)}"
        case Forward(operations):
            return f"Forward [{' '.join(map(operation, operations))}]"
        case ReadRequest() | ReadReply() | Confirmed() | Confirm() | Fetch():
            return str(said)
        case Learn(start, operations, decided):
            return f"Learn {start}.. [{' '.join(map(operation, operations))}] decided {decided}"
        case SnapshotPiece(position, piece, pieces):
            return f"SnapshotPiece of {position}: {piece + 1}/{pieces}"
        case Routed(origin, target, hops, inner):
            return f"Routed {origin} to {target} ({hops} hops left): {message(inner)}"
    return str(said)


def record(item: Persist | Compaction) -> str:
    if isinstance(item, Compaction):
        return f"snapshot of its own at {item.position}"
    parts = []
    if item.promised is not None:
        parts.append(f"promised {item.promised}")
    if item.entries:
        parts.append(" ".join(map(entry, item.entries)))
    if item.decided is not None:
        parts.append(f"decided {item.decided}")
    if item.released is not None:
        parts.append(f"released {item.released}")
    if item.roster is not None:
        parts.append(f"roster {sorted(item.roster)}")
    if item.standing is not None:
        parts.append(item.standing.value)
    if item.incarnation is not None:
        parts.append(f"incarnation {item.incarnation}")
    if item.snapshot is not None:
        parts.append(f"received snapshot at {item.snapshot.position}")
    return ", ".join(parts)


def disk(held: Disk) -> str:
    image = held.image
    entries = " ".join(entry(held.entries[position]) for position in sorted(held.entries))
    return (f"{image.standing.value}, promised {image.promised}, decided {image.decided}, "
            f"snapshot {image.snapshot_position}, released {image.released}, [{entries}]")


class Trace(Observer):
    """Prints every step."""

    def __init__(self, heartbeats: bool = False) -> None:
        self.heartbeats = heartbeats
        self.lines: list[str] = []

    def __call__(self, now: float, text: str) -> None:
        self.lines.append(f"{now:9.4f}  {text}")

    def _add(self, world: World, text: str) -> None:
        self(world.now, text)

    def started(self, world: World, node: Node, durable: Durable) -> None:
        self._add(world, f"{node.pid}'s disk: {disk(node.disk)}; incarnation {durable.incarnation}")

    def sent(self, world: World, node: Node, to: int, said: AnyMessage) -> None:
        if self.heartbeats or not isinstance(said, Heartbeat):
            self._add(world, f"{node.pid} -> {to}  {message(said)}")

    def stored(self, world: World, node: Node, item: Persist | Compaction) -> None:
        self._add(world, f"{node.pid} stored  {record(item)}")

    def applied(self, world: World, node: Node, applied: Applied, outcome: Outcome) -> None:
        self._add(world, f"{node.pid} applies {applied.position}: {operation(applied.operation)} {outcome.command}")

    def installed(self, world: World, node: Node, snapshot: Snapshot) -> None:
        self._add(world, f"{node.pid} installs a snapshot at {snapshot.position}")
