"""Timing and limits. Times in seconds, sizes in bytes of payload, the rest in operations or positions."""

from __future__ import annotations

import msgspec

ROWS_AN_OPERATION = 32
"""Of the state, when its size says how rare snapshots are: those of 64,000 rows are as frequent as those of none."""
SOONER_PERCENT = 5
"""By so much, once to four times, the interval between snapshots of a large state is shorter at four of five nodes."""


class Timing(msgspec.Struct, frozen=True):
    heartbeat_s: float = 0.05
    election_s: float = 0.4
    """Silence after which a node is suspected, unless the measured network requires a longer wait."""
    tick_s: float = 0.01
    retry_s: float = 0.15
    """The minimum time before a retransmission; grows with the measured round trip and with every repetition."""

    @property
    def idle_heartbeat_s(self) -> float:
        """`heartbeat_s` while nothing happens and every heartbeat arrives (see paxos/heartbeats.py). A few must fit
        into `election_s`."""
        return max(self.heartbeat_s, min(2 * self.heartbeat_s, self.election_s / 4))


class Limits(msgspec.Struct, frozen=True):
    batch_operations: int = 512
    batch_bytes: int = 256 * 1024
    pipeline: int = 8
    """The maximum number of Accepts in flight."""
    queue: int = 10_000
    queue_bytes: int = 64 * 1024 * 1024
    """The maximum of a node's own waiting operations, and of those that wait at a candidate, in number and size."""
    operation_bytes: int = 256 * 1024
    forward_window: int = 2_048
    forward_bytes: int = 1024 * 1024
    """The maximum number of own operations in flight to the leader."""
    horizon: int = 20_000
    horizon_bytes: int = 8 * 1024 * 1024
    """How far beyond its decided watermark an acceptor stores operations; far more than a leader keeps in flight."""
    lag: int = 1_000
    lag_bytes: int = 2 * 1024 * 1024
    """A proposer further behind than this must catch up before it may lead: with the horizon, this bounds a Promise."""
    learn_operations: int = 2_000
    keep: int = 2_000
    keep_bytes: int = 4 * 1024 * 1024
    """Decided operations kept below a snapshot, so that a node only slightly behind needs no snapshot; at least
    `lag`, so that a node that may lead at once finds what it lacks in the others' logs."""
    hold: int = 200_000
    hold_bytes: int = 64 * 1024 * 1024
    """The most operations kept while a snapshot is being sent to a peer, and the most bytes in the log then."""
    piece_bytes: int = 64 * 1024
    """Of the log or a snapshot, sent to a node that is behind: nothing can overtake one while it is being sent."""
    pieces: int = 32
    """The maximum number of pieces in flight to one node."""
    snapshot_every: int = 2_000
    snapshot_rarest: int = 8_000
    snapshot_bytes: int = 16 * 1024 * 1024
    """A node makes a snapshot of its own after so many applied operations (see `snapshot_interval`), or fewer of so
    many bytes."""
    digest_every: int = 100
    """At multiples of so many positions the digests of nodes are compared; and where they come to rest."""
    snapshot_idle_s: float = 10.0
    """A loaded snapshot without requests for this time (or many round trips) is dropped from memory."""

    def snapshot_interval(self, rows: int, node: int) -> int:
        """Operations from one snapshot to the next while the state has so many rows. What changes in a large state is
        scattered over it, and each changed row costs the disk a page, unless others share it: so more are written at
        once. That takes a while, in which a node does not vote; so nodes rarely do it at the same time."""
        operations = min(self.snapshot_rarest, rows // ROWS_AN_OPERATION)
        return max(self.snapshot_every, operations - operations * SOONER_PERCENT * (node % 5) // 100)
