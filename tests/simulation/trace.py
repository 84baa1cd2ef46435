"""A run as text: messages and their times, disk writes, applied operations."""

from __future__ import annotations

import msgspec

from kvstore.store import Outcome
from paxos.configuration import read_stop_sign
from paxos.messages import (
    Accept,
    Accepted,
    AnyMessage,
    Behind,
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
    RosterStored,
    Routed,
    Snapshot,
    SnapshotPiece,
)
from paxos.output import Applied, Durable, Persist
from storage.records import Compaction
from tests.simulation.checkers import all_checkers
from tests.simulation.plan import Plan
from tests.simulation.scenario import Scenario
from tests.simulation.world import Disk, Node, Observer, World

LETTERS = "abcdefghijklmnopqrstuvwxyz"


class Words:
    """How messages, records and disks are written; numbers the incarnations of each node."""

    def __init__(self) -> None:
        self._incarnations: dict[int, list[int]] = {}

    def started(self, pid: int, incarnation: int) -> None:
        self._incarnations.setdefault(pid, []).append(incarnation)

    def operation(self, op: Operation) -> str:
        named = read_stop_sign(op)
        if named is not None:
            return f"configuration {named.number} of {sorted(named.members)}"
        if op.is_noop:
            return "noop"
        known = self._incarnations.get(op.pid, [])
        letter = LETTERS[known.index(op.incarnation) % len(LETTERS)] if op.incarnation in known else "?"
        return f"{op.pid}{letter}.{op.number}"

    def entry(self, one: Entry) -> str:
        seq, pid = one.leadership
        return f"{one.position}:{self.operation(one.operation)}" + (f"@{seq},{pid}" if pid else "")

    def message(self, said: AnyMessage) -> str:
        match said:
            case Prepare(ballot):
                return f"Prepare {ballot}"
            case Promise(ballot, entries, decided):
                return f"Promise {ballot} [{' '.join(map(self.entry, entries))}] decided {decided}"
            case Accept(ballot, operations, decided):
                return f"Accept {ballot} [{' '.join(map(self.operation, operations))}] decided {decided}"
            case Accepted(ballot, count):
                return f"Accepted {ballot} x{count}"
            case Outranked(ballot, promised):
                return f"Outranked {ballot}, promised {promised}"
            case Behind(ballot, decided):
                return f"Behind {ballot}, decided {decided}"
            case Decide(ballot):
                return f"Decide {ballot}"
            case Heartbeat(states, roster):
                about = " ".join(
                    f"{each.pid}({','.join(map(str, each.hears))})"
                    + (f"leads {each.leading}" if each.leading[1] else "") + ("" if each.votes else "!")
                    for each in sorted(states, key=lambda each: each.pid)
                )
                return f"Heartbeat {about} roster {sorted(roster)}"
            case RosterStored(roster):
                return f"RosterStored {sorted(roster)}"
            case Forward(operations):
                return f"Forward [{' '.join(map(self.operation, operations))}]"
            case ReadRequest() | ReadReply() | Confirmed() | Confirm() | Fetch():
                return str(said)
            case Learn(start, operations, decided):
                return f"Learn {start}.. [{' '.join(map(self.operation, operations))}] decided {decided}"
            case SnapshotPiece(position, piece, pieces):
                return f"SnapshotPiece of {position}: {piece + 1}/{pieces}"
            case Routed(origin, target, hops, inner):
                return f"Routed {origin} to {target} ({hops} hops left): {self.message(inner)}"
        return str(said)

    def record(self, item: Persist | Compaction) -> str:
        if isinstance(item, Compaction):
            return f"snapshot of its own at {item.position}"
        parts = []
        if item.promised is not None:
            parts.append(f"promised {item.promised}")
        if item.entries:
            parts.append(" ".join(map(self.entry, item.entries)))
        if item.decided is not None:
            parts.append(f"decided {item.decided}")
        if item.compacted is not None:
            parts.append(f"compacted {item.compacted}")
        if item.roster is not None:
            parts.append(f"roster {sorted(item.roster)}")
        if item.voter_status is not None:
            parts.append(item.voter_status.value)
        if item.incarnation is not None:
            parts.append(f"incarnation {item.incarnation}")
        if item.snapshot is not None:
            parts.append(f"received snapshot at {item.snapshot.position}")
        return ", ".join(parts)

    def disk(self, held: Disk) -> str:
        image = held.image
        entries = " ".join(self.entry(held.entries[position]) for position in sorted(held.entries))
        return (f"{image.voter_status.value}, promised {image.promised}, decided {image.decided}, "
                f"snapshot {image.snapshot_position}, compacted {image.compacted}, [{entries}]")


class Trace(Observer):
    """Collects one line for every step. Operation `3b.2` is the second of node 3's second incarnation."""

    def __init__(self, heartbeats: bool = False) -> None:
        self.lines: list[str] = []
        self._heartbeats = heartbeats
        self._words = Words()

    def __call__(self, now: float, text: str) -> None:
        self.lines.append(f"{now:9.4f}  {text}")

    def started(self, world: World, node: Node, durable: Durable) -> None:
        self._words.started(node.pid, durable.incarnation)
        self(world.now, f"{node.pid} finds  {self._words.disk(node.disk)}")

    def sent(self, world: World, node: Node, to: int, said: AnyMessage) -> None:
        if self._heartbeats or not isinstance(said, Heartbeat | RosterStored):
            self(world.now, f"{node.pid} -> {to}  {self._words.message(said)}")

    def stored(self, world: World, node: Node, item: Persist | Compaction) -> None:
        words = self._words.record(item)
        if self._heartbeats or not words.startswith("roster"):
            self(world.now, f"{node.pid} stored  {words}")

    def applied(self, world: World, node: Node, applied: Applied, outcome: Outcome) -> None:
        name = self._words.operation(applied.operation)
        self(world.now, f"{node.pid} applies {applied.position}: {name} {outcome.operation}")

    def installed(self, world: World, node: Node, snapshot: Snapshot) -> None:
        self(world.now, f"{node.pid} installs a snapshot at {snapshot.position}")

    def ending(self, world: World) -> list[str]:
        """The final content of the disks."""
        return [f"{node.pid}'s disk: {self._words.disk(node.disk)}" for node in world.nodes.values()]


def told(plan: Plan, heartbeats: bool = False) -> list[str]:
    """Runs a plan and returns its trace."""
    trace = Trace(heartbeats)
    scenario = Scenario(plan, [trace, *all_checkers()])
    scenario.world.trace = trace
    run = scenario.run()
    weather = ", ".join(f"{name} {value:.3g}" for name, value in msgspec.structs.asdict(plan.weather).items()
                        if value and isinstance(value, float))
    only = ", ".join(sorted(plan.weather.only))
    head = [f"{plan.nodes} nodes, dice of seed {plan.seed}; weather: {weather}{only and f' ({only} only)'}"]
    head += [f"planned: {event}" for event in plan.events]
    return [*head, *trace.lines, *trace.ending(scenario.world), f"{run.checker or 'nothing wrong'}: {run.complaint}"]
