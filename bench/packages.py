"""What an operation costs in each package by itself, in CPU time of one process: python -m bench.packages [--batch N].

Nothing waits here for anything, so a busy machine changes little. Packages are given what they get in a cluster:
batches of questions and cancellations, 200 bytes on average.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import TypeVar

import msgspec

from bench import service
from console.node.table import NODE_TABLE
from engine.driver import ReplicaDriver
from engine.interface import AppliedOperation, OperationId
from kvstore.operations import Cancel, Create, Query, StoreOperation
from kvstore.payloads import encode
from kvstore.store import Outcome, Store
from llm.requests import View, pending_in
from net.frames import NODE, FrameParser, encode_frame
from paxos.ballot import Ballot
from paxos.limits import Limits, Timing
from paxos.messages import Accept, AnyMessage, Configuration, Entry, Operation, Snapshot
from paxos.output import Applied, Divergence, Durable, Persist
from paxos.replica import Status
from server.applied_log import AppliedLog
from storage.database import Database
from storage.errors import StorageError
from storage.records import Compaction, Record

MEMBERS = (1, 2, 3, 4, 5)
CLUSTER = 1
CONFIGURATION = Configuration(1, CLUSTER, {pid: pid for pid in MEMBERS}, 1)
CONVERSATIONS = 1000
TEXT = "x" * 370
NOTHING = Outcome(None, ok=True)
"""Of a state machine that does nothing."""

Costs = Iterator[tuple[str, float]]
"""(what was done, microseconds an operation)."""
T = TypeVar("T")


def timed(count: int, work: Callable[[T], object], items: Iterable[T]) -> float:
    """Microseconds for each of `count` operations, which are `items` or in them."""
    begun = time.process_time()
    for item in items:
        work(item)
    return (time.process_time() - begun) / count * 1e6


def contexts(count: int) -> list[str]:
    """Conversations that `count` operations, a question and its cancellation in turn, belong to."""
    return [f"b1-{number % CONVERSATIONS}" for number in range(count // 2)]


def operations(count: int) -> list[StoreOperation]:
    return [operation for context in contexts(count) for operation in (Query(context, TEXT), Cancel(context))]


def lines(count: int) -> list[str]:
    """The same as typed."""
    return [line for context in contexts(count) for line in (f"query {context} {TEXT}", f"cancel {context}")]


def batches(operations: list[Operation], size: int) -> list[list[Operation]]:
    return [operations[start : start + size] for start in range(0, len(operations), size)]


def full_store() -> Store:
    store = Store()
    for number in range(CONVERSATIONS):
        store.apply(number + 1, encode(Create(f"b1-{number}")))
    return store


class Node:
    """A driver and its replica, with the CPU seconds that they take. Its disk is written at once, its state machine
    does nothing, and its messages go straight into the inboxes of the others."""

    full = False
    """As a disk never is."""
    row_count = 0
    """Of no state."""

    def __init__(self, pid: int, nodes: dict[int, Node], clock: Callable[[], float]) -> None:
        self.inbox: list[tuple[int, AnyMessage]] = []
        self.due: list[Callable[[], None]] = []
        self.used = 0.0
        self.applied = 0
        self._pid = pid
        self._nodes = nodes
        self.driver = ReplicaDriver(
            pid, MEMBERS, Durable(pid, 1, configuration=CONFIGURATION), timing=Timing(), limits=Limits(),
            random=Random(pid), clock=clock, transport=self, disk=self, machine=self, listener=self,
            defer=self.due.append,
        )

    def work(self) -> bool:
        """Takes in what was sent, and does what is due. False if there was nothing."""
        inbox, due = self.inbox[:], self.due[:]
        self.inbox.clear()
        self.due.clear()
        begun = time.process_time()
        for sender, message in inbox:
            self.driver.receive(sender, message, CLUSTER)
        for callback in due:
            callback()
        self.used += time.process_time() - begun
        return bool(inbox or due)

    def submit(self, payloads: list[bytes]) -> None:
        begun = time.process_time()
        for payload in payloads:
            self.driver.submit(payload)
        self.used += time.process_time() - begun

    def send(self, to: int, message: AnyMessage) -> None:
        self._nodes[to].inbox.append((self._pid, message))

    def write(self, record: Record | None, done: Callable[[], None]) -> None:
        self.due.append(done)

    def load_snapshot(self, done: Callable[[Snapshot | StorageError], None]) -> None:
        raise AssertionError("no node is behind")

    def apply(self, position: int, payload: bytes) -> Outcome:
        self.applied += 1
        return NOTHING

    def understands(self, payload: bytes) -> bool:
        return True

    def readable(self, rows: Sequence[tuple[bytes, bytes]]) -> bool:
        return True

    def digest(self) -> str:
        return "00"

    def changed(self) -> list[tuple[bytes, bytes | None]]:
        return []

    def on_failed(self, error: Exception) -> None:
        raise error

    def flush(self) -> None: ...
    def load(self, rows: Iterable[tuple[bytes, bytes]]) -> None: ...
    def on_applied(self, applied: Applied, outcome: Outcome, live: bool) -> None: ...
    def on_outcome_unknown(self, ticket: int) -> None: ...
    def on_read_ready(self, ticket: int) -> None: ...
    def on_installed(self, snapshot: Snapshot) -> None: ...
    def on_status(self, status: Status) -> None: ...

    def on_stranger(self, node: int, cluster: int) -> None: ...
    def on_odd(self, node: int, why: str) -> None: ...
    def on_diverged(self, divergence: Divergence) -> None: ...


def engine(payloads: list[bytes], size: int) -> Costs:
    now = 0.0
    nodes: dict[int, Node] = {}
    nodes.update({pid: Node(pid, nodes, lambda: now) for pid in MEMBERS})

    def step() -> None:
        """Advances the time a little, and delivers all messages."""
        nonlocal now
        now += 0.01
        for node in nodes.values():
            node.due.append(node.driver.tick)
        while any([node.work() for node in nodes.values()]):  # noqa: C419 - every one of them must work
            pass

    def leads(node: Node) -> bool:
        leader = node.driver.replica.leader
        return leader is not None and leader.settled

    for node in nodes.values():
        node.driver.start()
    while not (leaders := list(filter(leads, nodes.values()))):
        step()
    leader = leaders[0]
    before = {pid: (node.used, node.applied) for pid, node in nodes.items()}
    for start in range(0, len(payloads), size):
        leader.submit(payloads[start : start + size])
        step()
    follower = next(node for node in nodes.values() if node is not leader)
    for name, node in (("leader, paxos included", leader), ("a follower, paxos included", follower)):
        used, applied = before[node.driver.replica.pid]
        yield name, (node.used - used) / (node.applied - applied) * 1e6


def codec(operations: list[Operation], size: int) -> Costs:
    encoder, decoder = msgspec.msgpack.Encoder(), msgspec.msgpack.Decoder[AnyMessage](AnyMessage)
    accepts = [Accept(Ballot(1, 1, 1), batch, 0) for batch in batches(operations, size)]
    payloads: list[bytes] = []
    yield "an Accept to bytes, once", timed(len(operations), lambda one: payloads.append(encoder.encode(one)), accepts)
    yield "bytes to an Accept, each node", timed(len(operations), decoder.decode, payloads)


def net(operations: list[Operation], size: int) -> Costs:
    payloads = [msgspec.msgpack.encode(Accept(Ballot(1, 1, 1), batch, 0)) for batch in batches(operations, size)]
    frames: list[bytes] = []
    yield "a message to a frame, each receiver", timed(
        len(operations), lambda payload: frames.append(encode_frame(NODE, 1, 2, payload)), payloads
    )
    parser = FrameParser()
    parser.trust()
    yield "bytes to frames, relay and receiver", timed(len(operations), parser.feed, frames)


def kvstore(operations: list[StoreOperation]) -> Costs:
    payloads: list[bytes] = []
    count = len(operations)
    yield "operations to bytes", timed(count, lambda one: payloads.append(encode(one)), operations)
    store = full_store()
    yield "apply", timed(count, lambda one: store.apply(*one), list(enumerate(payloads, CONVERSATIONS + 1)))
    yield "changed rows, for the snapshot", timed(count, lambda _: store.changed(), [None])
    yield "digest", timed(count, lambda _: store.digest(), [None])


def storage(operations: list[Operation], size: int) -> Costs:
    count = len(operations)
    with tempfile.TemporaryDirectory() as folder:
        database = Database.open(Path(folder) / "node-1.db", "bench", 1, 1)
        entries = [Entry(at, (1, 1), operation) for at, operation in enumerate(operations, 1)]
        records = [Persist(entries=entries[start : start + size]) for start in range(0, count, size)]
        yield "log entries", timed(count, lambda record: database.write([record]), records)
        rows: list[tuple[bytes, bytes | None]] = [(b"key-%d" % number, bytes(380)) for number in range(count // 2)]
        compactions = [Compaction(1, {}, rows[start : start + 1000]) for start in range(0, len(rows), 1000)]
        yield "rows of the snapshot", timed(count, lambda record: database.write([record]), compactions)
        database.close()


def llm(count: int) -> Costs:
    store, view = full_store(), View(leader=1, live=frozenset(MEMBERS))
    for number in range(0, CONVERSATIONS, 2):
        store.apply(CONVERSATIONS + 1 + number, encode(Query(f"b1-{number}", TEXT)))
    conversations = list(store.conversations.values()) * (count // CONVERSATIONS)
    yield "the request that is pending", timed(
        len(conversations), lambda conversation: pending_in(conversation, MEMBERS[0], view), conversations
    )


def server(operations: list[Operation]) -> Costs:
    payloads = [operation.payload for operation in operations]
    yield "an operation, applied, one session", asyncio.run(service.applied(contexts(len(payloads)), payloads))
    log = AppliedLog()
    outcome = full_store().apply(CONVERSATIONS + 1, operations[0].payload)
    applied = AppliedOperation(CONVERSATIONS + 1, OperationId(1, 1, 1), (1, 1, 1), outcome, ticket=0, live=True)
    yield "applied log", timed(len(operations), lambda _: log.add(applied), operations)


def console(lines: list[str], size: int) -> Costs:
    yield "a line to its answer, applied", asyncio.run(service.answered(contexts(len(lines)), lines, size))
    yield "a line to a command", timed(len(lines), lambda line: NODE_TABLE.parse(1, line), lines)


def costs(count: int, size: int) -> Iterator[tuple[str, str, float]]:
    """(package, what was done, microseconds an operation) of `count` operations in batches of `size`."""
    payloads = [encode(operation) for operation in operations(count)]
    numbered = [Operation(1, 1, number, payload) for number, payload in enumerate(payloads, 1)]
    for package, found in (
        ("console", console(lines(count), size)), ("engine", engine(payloads, size)), ("paxos", codec(numbered, size)),
        ("net", net(numbered, size)), ("storage", storage(numbered, size)), ("kvstore", kvstore(operations(count))),
        ("llm", llm(count)), ("server", server(numbered)),
    ):
        for what, cost in found:
            yield package, what, cost


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="What an operation costs in each package, in CPU time.")
    parser.add_argument("--operations", type=int, default=20_000)
    parser.add_argument("--batch", type=int, default=256)
    arguments = parser.parse_args()
    for package, what, cost in costs(arguments.operations, arguments.batch):
        print(f"{package:10}{what:38}{cost:8.2f} us", flush=True)
