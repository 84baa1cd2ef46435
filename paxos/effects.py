"""What a step of a node wants done outside: on its disk, on the network, in its state machine.

There is one convention in paxos/. A *role* (Acceptor, Learner, Proposer, CatchUp, SnapshotSource, VoterRegistry,
Heartbeats, Router) writes each effect to the node's one `Effects` at the moment it decides on it, and returns only what
its caller has to know to go on. What the roles are made of (Log, OperationQueue, Reads, Candidate, Leader, Election,
Connectivity) is plain state: it has no effects, and says by its return values what has changed or what is due.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from paxos.messages import AnyMessage, Routed, Snapshot
from paxos.output import Applied, Divergence, Output, Persist


class Effects:
    """Gathers the next `Output` of node `pid`."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._output = Output()
        self._to_itself: deque[AnyMessage] = deque()

    def send(self, to: int, message: AnyMessage) -> None:
        """Sends at once; only for messages that vouch for nothing which is not on disk yet. What a node sends to itself
        stays inside: see `next_to_itself`."""
        if to == self._pid:
            self._to_itself.append(message)
        else:
            self._output.send_now.append((to, message))

    def broadcast(self, to: Iterable[int], message: AnyMessage) -> None:
        """`send` to each of these."""
        for node in to:
            self.send(node, message)

    def drop_relayed(self) -> None:
        """What is still to be passed on came before this node had its cluster's id, and would now leave with it."""
        self._output.send_now = [
            (to, message) for to, message in self._output.send_now
            if not isinstance(message, Routed) or message.origin == self._pid
        ]

    def send_after_persist(self, to: int, message: AnyMessage) -> None:
        """Sends only once everything persisted so far is on disk."""
        self._output.send_after_persist.append((to, message))

    def to_persist(self) -> Persist:
        """The record for the disk, created if there is none yet."""
        if self._output.persist is None:
            self._output.persist = Persist()
        return self._output.persist

    def apply(self, applied: Iterable[Applied]) -> None:
        self._output.apply += applied

    def outcome_unknown(self, tickets: Iterable[int]) -> None:
        self._output.outcome_unknown += tickets

    def install(self, snapshot: Snapshot) -> None:
        """The snapshot replaces the stored one and the state machine's content, and with that everything before it that
        was to be stored or applied in this step."""
        output, persist = self._output, self.to_persist()
        persist.snapshot = output.install = snapshot
        persist.entries = [entry for entry in persist.entries if entry.position > snapshot.position]
        output.outcome_unknown += [applied.ticket for applied in output.apply if applied.ticket]
        output.apply = []

    def stranger(self, node: int, cluster: int) -> None:
        self._output.strangers.append((node, cluster))

    def odd(self, node: int, why: str) -> None:
        self._output.odd.append((node, why))

    def diverged(self, divergence: Divergence) -> None:
        self._output.diverged.append(divergence)

    def load_snapshot(self) -> None:
        self._output.load_snapshot = True

    def next_to_itself(self) -> AnyMessage | None:
        """The oldest message to the node itself, to be delivered within the same step; None if there is none left."""
        return self._to_itself.popleft() if self._to_itself else None

    def take(self) -> Output:
        """Everything since the last call."""
        assert not self._to_itself, "every message to the node itself is delivered before its step ends"
        output, self._output = self._output, Output()
        return output
