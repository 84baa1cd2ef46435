"""The record that a step of the core produces, and the state that a node finds on disk when it starts.

The order in which a driver works through an Output is the safety argument:

1. `send_now`     at once: these vouch for nothing that is not on disk yet.
2. `persist`      to disk, in the order of outputs. Several outputs may share one commit.
3. `send_after_persist`  only after this output's and all earlier outputs' `persist` are durable.
                  A message to the node itself (such as its own vote) goes back into `Replica.receive`.
4. `install`, then `apply`, then `reads`: to the state machine, in this order. They need not wait for the local disk:
                  their content is already durable at a quorum.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from paxos.ballot import BOTTOM, Ballot
from paxos.messages import AnyMessage, Configuration, Entry, Operation, Snapshot, Stamp, Vouched


class VoterStatus(StrEnum):
    """Whether this node may vote. See paxos/voter_registry.py."""

    NEW = "new"
    VOTER = "voter"
    LEARNER = "learner"


class Persist(msgspec.Struct):
    """Changes for the disk; None or empty means unchanged. Written atomically."""

    promised: Ballot | None = None
    entries: list[Entry] = []
    decided: int | None = None
    compacted: int | None = None
    """Entries up to and including this position may be deleted: a stored snapshot covers them."""
    roster: dict[int, int] | None = None
    voter_status: VoterStatus | None = None
    incarnation: int | None = None
    snapshot: Snapshot | None = None
    """Replaces the stored snapshot and every entry up to its position."""
    operations_versions: dict[int, int] | None = None
    identity: int | None = None
    remembered: dict[int, Vouched] | None = None
    """What is known of other members' disks."""
    stamp: Stamp | None = None
    """Goes with promises and entries; see paxos/memory.py."""
    joins: int | None = None
    """See paxos/admission.py."""


class Durable(msgspec.Struct):
    """What the disk holds when a node starts."""

    identity: int
    incarnation: int
    """Larger than every earlier one of this node."""
    voter_status: VoterStatus = VoterStatus.NEW
    promised: Ballot = BOTTOM
    entries: list[Entry] = []
    """Every stored entry above `compacted`, by position; above `decided` there may be gaps."""
    decided: int = 0
    compacted: int = 0
    snapshot_position: int = 0
    sessions: dict[int, tuple[int, int]] = {}
    """The sessions of the stored snapshot."""
    roster: dict[int, int] = {}
    operations_versions: dict[int, int] = {}
    """By node, what it last said; see paxos/operations_version.py."""
    configuration: Configuration | None = None
    """Of the stored snapshot; None if the cluster was not founded by then."""
    remembered: dict[int, Vouched] = {}
    stamp: Stamp = (0, 0)
    """Of the last write that it shows; the start of the last process counts as one."""
    """The last one."""
    joins: int = 0
    reopened: bool = False
    """The disk was in use before: it may be an old copy."""


class Applied(msgspec.Struct, frozen=True, gc=False):
    """A decided operation, fresh (not a duplicate, not a no-op), to be applied at its position.

    `ticket` is what `Replica.submit` returned if it was submitted here since this node started, else 0.
    """

    position: int
    operation: Operation
    ticket: int = 0


class Divergence(msgspec.Struct, frozen=True):
    """Nodes that applied the same operations have different states. See paxos/digests.py."""

    position: int
    nodes: tuple[int, ...]
    """Those that differ from this one."""
    minority: bool
    """They are a quorum, and agree: this node is wrong."""
    majority: bool = False
    """This node and those that agree with it are a quorum."""


class Output(msgspec.Struct):
    """See the module's docstring for the order."""

    send_now: list[tuple[int, AnyMessage]] = []
    persist: Persist | None = None
    send_after_persist: list[tuple[int, AnyMessage]] = []
    install: Snapshot | None = None
    apply: list[Applied] = []
    outcome_unknown: list[int] = []
    """Tickets of operations contained in the installed snapshot: decided, but their outcome is unknown here."""
    reads: list[int] = []
    """Tickets of `Replica.read` that can now be answered from the applied state."""
    strangers: list[tuple[int, int]] = []
    """Nodes that belong to another cluster, and its id: what they say changes nothing here."""
    odd: list[tuple[int, str]] = []
    """Nodes that said what no honest node says, and what it was: it was not taken in."""
    diverged: list[Divergence] = []
    load_snapshot: bool = False
    """A peer needs the stored snapshot: the driver answers with `Replica.snapshot_loaded`."""

    @property
    def stamp(self) -> Stamp | None:
        """Of what it persists, if that gets one."""
        return None if self.persist is None else self.persist.stamp

    def __bool__(self) -> bool:
        return bool(
            self.send_now or self.persist or self.send_after_persist or self.install or self.apply
            or self.outcome_unknown or self.reads or self.strangers or self.odd or self.diverged
            or self.load_snapshot
        )
