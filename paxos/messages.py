"""Messages between nodes: frozen, tagged records; MessagePack arrays on the wire.

Positions count from 1. `decided_upto` is a watermark: every position up to and including it is decided. Words follow
Lamport's *Paxos Made Simple* (Prepare, Promise, Accept, Accepted) and van Renesse and Altinbuken's *Paxos Made
Moderately Complex*.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated, TypeAlias

import msgspec

from paxos.ballot import Ballot, Leadership
from paxos.bounds import (
    OF_NODES,
    OF_OPERATIONS,
    OF_ROWS,
    OF_SESSIONS,
    Count,
    Digest,
    Hops,
    Identity,
    Named,
    Payload,
    Pid,
    Piece,
    Position,
    Seconds,
    Version,
)


class Operation(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One replicated command, opaque to Paxos. `(pid, incarnation, number)` identifies it uniquely.

    `number` counts from 1 within one incarnation of node `pid` (from one start of its process to the next). pid 0 marks
    the core's own: a no-op, or a stop-sign (see paxos/configuration.py).
    """

    pid: Pid
    incarnation: Count
    number: Count
    payload: Payload

    @property
    def is_noop(self) -> bool:
        """True for every operation of the core itself: none of them goes to the state machine."""
        return self.pid == 0


NOOP = Operation(0, 0, 0, b"")


class Entry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An accepted operation: its position, and the leadership under which it was last accepted."""

    position: Position
    leadership: Leadership
    operation: Operation


class Configuration(msgspec.Struct, frozen=True, array_like=True):
    """Who votes from position `since` on. See paxos/configuration.py.

    `cluster` is the id that the cluster drew when it was founded (0: not founded yet). `members` maps each member's pid
    to the identity of its disk; 0 stands for one that wasn't known when the cluster was founded.
    """

    number: Count
    cluster: Identity
    members: Annotated[dict[Pid, Named], OF_NODES]
    since: Position = 0


class Snapshot(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """All state up to and including `position`.

    `sessions` maps a pid to (incarnation, number) of its last applied operation: without it a retry that arrives
    after the snapshot would be applied twice. `rows` is the state machine's own content, opaque here. `configuration`
    is the one that governs what follows; None in a snapshot from before the cluster was founded.
    """

    position: int
    sessions: dict[int, tuple[int, int]]
    rows: list[tuple[bytes, bytes]]
    configuration: Configuration | None = None


Stamp: TypeAlias = tuple[Count, Count]
"""Of a write of promises or entries: (incarnation, number in it). Later writes of one disk have higher stamps."""


class Vouched(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a disk is known to have vouched for: all that was written on it up to this stamp."""

    identity: Identity
    stamp: Stamp


Roster: TypeAlias = Annotated[dict[Pid, Named], OF_NODES]
"""The identity of each node's disk."""


class NodeState(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One node's state; gossiped by all nodes, so that each knows the whole graph of links.

    `version` is (incarnation, count): of a node's states the newest wins. `hears` are the nodes that it hears directly.
    `leading` is the leadership that it claims (NOBODY if none), `established` whether a quorum has promised it.
    `operations_version` says which operations it understands (see paxos/operations_version.py).
    `votes` is false for a node that may not vote; `blank` is true while it has never accepted anything (see
    paxos/voter_registry.py). `roster` holds the identities that it remembers on disk, as long as not everybody votes.
    `cluster` and `configuration` (a number) are those that it knows as decided.
    `commit_s` is how long its disk takes to make something durable, as measured of late.
    `digest` is a position and the digest of its state there (see paxos/digests.py); position 0: none yet.
    """

    pid: Pid
    version: tuple[Count, Count]
    identity: Identity
    hears: Annotated[tuple[Pid, ...], OF_NODES]
    leading: Leadership
    established: bool
    promised: Leadership
    decided_upto: Position
    votes: bool
    blank: bool
    roster: Roster = {}
    operations_version: Version = 1
    cluster: Identity = 0
    configuration: Count = 0
    commit_s: Seconds = 0.0
    digest: tuple[Position, Digest] = (0, 0)


Operations: TypeAlias = Annotated[list[Operation], OF_OPERATIONS]
Row: TypeAlias = tuple[bytes, bytes]
SessionTable: TypeAlias = Annotated[dict[Pid, tuple[Count, Count]], OF_SESSIONS]


class Message(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Base of all messages between nodes."""


class Prepare(Message, frozen=True, tag=1):
    """Phase 1a. `ballot.op_num` is the first position that the proposer does not know to be decided."""

    ballot: Ballot


class Promise(Message, frozen=True, tag=2):
    """Phase 1b: everything accepted *or decided* from `ballot.op_num` on, and how far the acceptor knows decisions.
    `identity`, in every vote, is that of the disk which vouches for it; 0 while there is no decided configuration.
    `stamp` is that of the write which it rests on, at the latest."""

    ballot: Ballot
    entries: Annotated[list[Entry], OF_ROWS]
    decided_upto: Position
    identity: Identity = 0
    stamp: Stamp = (0, 0)


class Accept(Message, frozen=True, tag=3):
    """Phase 2a for consecutive positions from `ballot.op_num` on, with the leader's watermark."""

    ballot: Ballot
    operations: Operations
    decided_upto: Position


class Accepted(Message, frozen=True, tag=4):
    """Phase 2b: the acceptor holds (or knows to be decided) `count` positions from `ballot.op_num` on."""

    ballot: Ballot
    count: Count
    identity: Identity = 0
    stamp: Stamp = (0, 0)


class Outranked(Message, frozen=True, tag=5):
    """No to a Prepare, Accept or Confirm of `ballot`: `promised` is a higher leadership."""

    ballot: Ballot
    promised: Ballot


class Decide(Message, frozen=True, tag=6):
    """Everything up to `ballot.op_num` is decided, as accepted under this leadership or known before it."""

    ballot: Ballot


class Heartbeat(Message, frozen=True, tag=7):
    """Sent to every peer. `sent` is the sender's clock in seconds; `echoes` returns each peer's last `sent` and how
    long it was held here, so that round trips can be measured without synchronized clocks.
    `roster` holds the identities stored on the sender's disk, `remembered` what it knows of members' disks.
    `underway`, of a leader, says for each member from which position on it need not ask for what is decided, because
    Accepts are on their way to it, and for how many seconds these keep the link busy."""

    states: Annotated[list[NodeState], OF_NODES]
    roster: Roster
    sent: Seconds
    echoes: Annotated[dict[Pid, tuple[Seconds, Seconds]], OF_NODES]
    remembered: Annotated[dict[Pid, Vouched], OF_NODES] = {}
    underway: Annotated[dict[Pid, tuple[Position, Seconds]], OF_NODES] = {}


class Forward(Message, frozen=True, tag=8):
    """Consecutive operations of one node, forwarded to the leader. Repeated until applied at their origin."""

    operations: Operations


class ReadRequest(Message, frozen=True, tag=9):
    """Asks the leader for a position that covers everything acknowledged before now. `ticket` is (incarnation at the
    asker's start, number), so that no answer to an earlier incarnation is taken for one to this."""

    ticket: tuple[Count, Count]


class ReadReply(Message, frozen=True, tag=10):
    """A read that waits for `position` to be applied is linearizable."""

    ticket: tuple[Count, Count]
    position: Position


class Confirm(Message, frozen=True, tag=11):
    """The leader asks whether its leadership is still the highest known. `count` distinguishes its rounds."""

    ballot: Ballot
    count: Count


class Confirmed(Message, frozen=True, tag=12):
    ballot: Ballot
    count: Count
    identity: Identity = 0


class Fetch(Message, frozen=True, tag=13):
    """A node that is behind requests decided operations from `start` on; in the middle of a snapshot it
    gives that snapshot's position and the next piece that it needs (else both 0). What comes before is thereby
    acknowledged. Within one `stream` the source sends several pieces ahead, each of them once; another number means
    that all that was sent is lost. 0, of release 0.1.0, asks for one piece."""

    start: Position
    snapshot: Position
    piece: Piece
    stream: Count = 0


class Learn(Message, frozen=True, tag=14):
    """Decided operations from position `start` on; `decided_upto` is how far the sender knows decisions."""

    start: Position
    operations: Operations
    decided_upto: Position


class SnapshotPiece(Message, frozen=True, tag=15):
    """Piece number `piece` (from 0) of `pieces` of the snapshot at `position`."""

    position: Position
    piece: Piece
    pieces: Piece
    sessions: SessionTable
    rows: Annotated[list[Row], OF_ROWS]
    configuration: Configuration | None = None


class Routed(Message, frozen=True, tag=16):
    """A message to a node that the sender cannot reach directly, relayed hop by hop; `hops` limits the hops."""

    origin: Pid
    target: Pid
    hops: Hops
    message: Routable


class Behind(Message, frozen=True, tag=17):
    """No to a Prepare of `ballot`: its proposer lacks more than this acceptor can show in a Promise. It must first
    learn what is decided up to `decided_upto`."""

    ballot: Ballot
    decided_upto: Position


class RosterStored(Message, frozen=True, tag=18):
    """Only from a node to itself, by `Output.send_after_persist`: `roster` is on its disk now."""

    roster: Roster


class Reconfigure(Message, frozen=True, tag=19):
    """Asks the leader to change the members; repeated until that is decided. `change` is one of Change's values;
    `number` is that of the configuration to be changed, so that what comes late or twice is not made again."""

    change: Count
    node: Pid
    number: Count


class Change(IntEnum):
    """Of a configuration, in one member."""

    ADD = 1
    REMOVE = 2
    REPLACE = 3
    """The member's disk does not count any more, until it, or another one in its place, has come back and caught up."""


Routable: TypeAlias = Forward | ReadRequest | ReadReply | Fetch | Learn | SnapshotPiece | Reconfigure

AnyMessage: TypeAlias = (
    Prepare | Promise | Accept | Accepted | Outranked | Decide | Heartbeat | Forward | ReadRequest | ReadReply
    | Confirm | Confirmed | Fetch | Learn | SnapshotPiece | Routed | Behind | RosterStored
    | Reconfigure
)

_DATA = (Accept, Decide, Forward, Learn, SnapshotPiece)


def is_urgent(message: AnyMessage) -> bool:
    """True for what must not wait behind operations wherever messages queue: heartbeats, elections, votes, reads. A
    Decide tells of Accepts that were sent before it, and stays behind them."""
    return not isinstance(message.message if isinstance(message, Routed) else message, _DATA)
