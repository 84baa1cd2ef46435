"""Nothing grows without bound: queues, what is in flight, the log, promises."""

from __future__ import annotations

from paxos.messages import AnyMessage, Promise
from paxos.pace import MOST_WINDOW
from tests.simulation.world import Node, Observer, Violation, World

LOOK_EVERY = 8
"""Steps; the bounds are not so narrow that every one would matter."""
WHILE_STORING = 50
"""Operations that may get decided while a slow disk stores a snapshot."""
BYTES_WHILE_STORING = 32 * 1024
"""The same in bytes."""
WINDOW_S = 0.1
IN_A_WINDOW = 100
"""Messages that may be sent in that time, for each pair of nodes."""


class TooMuch(Violation):
    pass


class Bounds(Observer):
    def __init__(self) -> None:
        self._steps = 0
        self._window = 0
        self._messages = 0

    def sent(self, world: World, node: Node, to: int, message: AnyMessage) -> None:
        window = int(world.now / WINDOW_S)
        if window != self._window:
            self._window, self._messages = window, 0
        self._messages += 1
        bound = IN_A_WINDOW * len(world.pids) ** 2
        if self._messages > bound:
            raise TooMuch(f"{self._messages} messages in {WINDOW_S} s, the last: {message}")
        if isinstance(message, Promise):
            decided = [entry.operation for entry in message.entries if entry.position <= message.decided_upto]
            self._check(node, "decided operations in a promise", len(decided), world.limits.lag)
            size = sum(len(operation.payload) for operation in decided)
            self._check(node, "bytes of decided operations in a promise", size, world.limits.lag_bytes)

    def stepped(self, world: World, node: Node) -> None:
        self._steps += 1
        if self._steps % LOOK_EVERY:
            return
        limits, replica = world.limits, node.replica
        log, leader = replica.log, replica.leader
        self._check(node, "own operations", len(replica.queue), limits.queue)
        self._check(node, "reads", len(replica.reads), limits.queue)
        if replica.candidate is not None:
            held = len(replica.candidate.held)
            self._check(node, "held for a candidate", held, limits.queue + limits.forward_window)
        self._check(node, "accepted beyond the watermark", log.last - log.decided_upto, limits.horizon)
        # While a snapshot is being sent or stored, more is kept; the rest accumulates until the next one. What waits
        # for the disk is bounded in bytes alone, as the commits are that it waits for.
        interval = limits.snapshot_interval(node.store.row_count, node.pid)
        kept = limits.keep + limits.hold + 3 * interval + limits.horizon + WHILE_STORING
        if log.decided_upto - log.compacted > kept:
            stored = max((*node.disk.entries, node.disk.image.snapshot_position, log.compacted))
            self._check(node, "decided and kept", min(stored, log.decided_upto) - log.compacted, kept)
        kept = (limits.keep_bytes + limits.hold_bytes + 3 * limits.snapshot_bytes + limits.horizon_bytes
                + limits.batch_bytes + BYTES_WHILE_STORING)
        self._check(node, "bytes in the log", log.bytes, kept)
        self._check(node, "bytes of own operations", replica.queue.waiting_bytes, limits.queue_bytes)
        for peer, stream in replica.snapshot_source._streams.items():
            self._check(node, f"pieces on their way to {peer}", len(stream._flying), limits.pieces)
        if leader is None:
            self._check(node, "members that are sent to by no leader", len(replica.proposer.flow.progress), 0)
        else:
            inherited = limits.horizon + limits.lag
            self._check(node, "batches in flight", len(leader._flying), limits.pipeline)
            self._check(node, "queued by the leader", leader.queued, limits.queue + inherited)
            most = MOST_WINDOW + limits.batch_bytes + limits.operation_bytes
            for member, progress in replica.proposer.flow.progress.items():
                self._check(node, f"bytes on their way to {member}", progress.in_flight, most)
            for early in leader._early.values():
                self._check(node, "early operations of one node", len(early), limits.forward_window)

    def _check(self, node: Node, what: str, count: int, bound: int) -> None:
        if count > bound:
            raise TooMuch(f"{node.pid}, {what}: {count}, more than {bound}")
