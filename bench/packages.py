"""What an operation costs in each room by itself, in CPU time of one process: python -m bench.packages [--batch N].

Nothing waits here for anything, so a busy machine changes little. Rooms are given what they get in a cluster: batches
of questions and cancellations, 200 bytes on average.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import msgspec

from kvstore.operations import Cancel, Create, Query, StoreOperation, encode
from kvstore.store import Store
from paxos.limits import Limits, Timing
from paxos.messages import Accept, AnyMessage, Entry, Operation
from paxos.output import Durable, Persist
from paxos.replica import Replica
from server.applied_log import AppliedLog
from storage.database import Database
from storage.records import Compaction

MEMBERS = (1, 2, 3, 4, 5)
CONVERSATIONS = 1000


def commands(count: int) -> list[StoreOperation]:
    made: list[StoreOperation] = []
    for number in range(count // 2):
        context = f"b1-{number % CONVERSATIONS}"
        made += Query(context, "x" * 370), Cancel(context)
    return made


class Cluster:
    """Five replicas that hear each other at once, with the CPU seconds that each has taken."""

    def __init__(self) -> None:
        self.now = 0.0
        self.spent = dict.fromkeys(MEMBERS, 0.0)
        self.applied = 0
        self.replicas = {
            pid: Replica(pid, MEMBERS, Durable(identity=pid, incarnation=1), Timing(), Limits(), Random(pid), 0.0)
            for pid in MEMBERS
        }

    def step(self) -> None:
        """Time goes on a little, and everything that was said is heard."""
        self.now += 0.01
        for pid, replica in self.replicas.items():
            self._timed(pid, lambda replica=replica: replica.tick(self.now))  # type: ignore[misc]
        while any([self._work(pid) for pid in MEMBERS]):  # noqa: C419 - every one of them must work
            pass

    def _work(self, pid: int) -> bool:
        replica = self.replicas[pid]
        begun = time.process_time()
        out = replica.take_output(self.now)
        self.spent[pid] += time.process_time() - begun
        if pid == 1:
            self.applied += len(out.apply)
        for to, message in [*out.send_now, *out.send_after_persist]:
            self._timed(to, lambda to=to, message=message: self._receive(pid, to, message))  # type: ignore[misc]
        return bool(out)

    def _receive(self, sender: int, to: int, message: AnyMessage) -> None:
        self.replicas[to].receive(sender, message, self.now)

    def _timed(self, pid: int, step: Callable[[], None]) -> None:
        begun = time.process_time()
        step()
        self.spent[pid] += time.process_time() - begun


def paxos(payloads: list[bytes], batch: int) -> dict[str, float]:
    cluster = Cluster()
    while not (leading := [r for r in cluster.replicas.values() if r.leader is not None and r.leader.settled]):
        cluster.step()
    leader = leading[0]
    before, applied = dict(cluster.spent), cluster.applied
    for start in range(0, len(payloads), batch):
        begun = time.process_time()
        for payload in payloads[start : start + batch]:
            leader.submit(payload)
        cluster.spent[leader.pid] += time.process_time() - begun
        cluster.step()
        leader.snapshot_stored(leader.applied)
    done = cluster.applied - applied
    follower = next(pid for pid in MEMBERS if pid != leader.pid)
    return {f"paxos, {name}": (cluster.spent[pid] - before[pid]) / done * 1e6
            for name, pid in (("leader", leader.pid), ("a follower", follower))}


def timed(count: int, work: Callable[[], object]) -> float:
    """Microseconds for each of `count` operations."""
    begun = time.process_time()
    work()
    return (time.process_time() - begun) / count * 1e6


def account(count: int, batch: int) -> dict[str, float]:
    wanted = commands(count)
    payloads: list[bytes] = []
    found = {"kvstore, commands to bytes": timed(count, lambda: payloads.extend(map(encode, wanted)))}
    found |= paxos(payloads, batch)
    operations = [Operation(1, 1, number, payload) for number, payload in enumerate(payloads, 1)]
    batches = [operations[start : start + batch] for start in range(0, count, batch)]
    encoder, decoder = msgspec.msgpack.Encoder(), msgspec.msgpack.Decoder(AnyMessage)
    frames: list[bytes] = []
    found["codec, Accept to bytes (once)"] = timed(
        count, lambda: frames.extend(encoder.encode(Accept((1, 1, 1), each, 0)) for each in batches)  # type: ignore[arg-type]
    )
    found["codec, bytes to Accept (each)"] = timed(count, lambda: [decoder.decode(frame) for frame in frames])
    store, journal = Store(), AppliedLog()
    for number in range(CONVERSATIONS):
        store.apply(number, encode(Create(f"b1-{number}")))
    found["kvstore, apply"] = timed(count, lambda: [store.apply(at, one) for at, one in enumerate(payloads, 2000)])
    found["kvstore, changed rows"] = timed(count, store.changed)
    found["kvstore, digest"] = timed(count, store.digest)
    outcome = store.apply(1, payloads[0])
    found["runtime, journal"] = timed(count, lambda: [journal.note(1, None, one, outcome) for one in operations])
    with tempfile.TemporaryDirectory() as folder:
        database = Database.open(Path(folder) / "node-1.db", "bench", 1, 1)
        records = [Persist(entries=[Entry(at, (1, 1), one) for at, one in enumerate(each, 1)]) for each in batches]
        found["storage, entries"] = timed(count, lambda: [database.write([record]) for record in records])
        rows = [(b"key-%d" % number, bytes(380)) for number in range(count // 2)]
        compactions = [Compaction(1, {}, list(rows[start : start + 1000])) for start in range(0, len(rows), 1000)]
        found["storage, snapshot's rows"] = timed(count, lambda: [database.write([one]) for one in compactions])
        database.close()
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="What an operation costs in each room, in microseconds of CPU time.")
    parser.add_argument("--operations", type=int, default=20_000)
    parser.add_argument("--batch", type=int, default=256)
    arguments = parser.parse_args()
    for room, cost in account(arguments.operations, arguments.batch).items():
        print(f"{room:32}{cost:8.2f} us")
