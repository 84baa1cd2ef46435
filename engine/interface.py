"""What a node needs of the engine that replicates its operations: submit, read, status, events.

All of it happens in one event loop. Sessions, the responder and the prompts know this file, and no engine behind it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Literal, Protocol, TypeAlias

import msgspec

from kvstore.operations import StoreOperation, not_understood, plainer
from kvstore.store import Outcome, Store


class Busy(Exception):
    """The engine takes no further operation, or read, until some are done."""


class NotUnderstood(Busy):
    """Some member runs a release that does not know this operation yet; says which."""


def understood(operation: StoreOperation, versions: Callable[[], Mapping[int, int]]) -> StoreOperation:
    """The operation as all members know it, by each one's operations version: so plainly that they do. Raises
    NotUnderstood if some know nothing of the kind."""
    problem = not_understood(operation, versions)
    while problem is not None:
        known = plainer(operation)
        if known is None:
            raise NotUnderstood(problem)
        operation, problem = known, not_understood(known, versions)
    return operation


class OperationId(msgspec.Struct, frozen=True, gc=False):
    """The id of an operation: the node that submitted it, that node's incarnation, and its number there."""

    node: int
    incarnation: int
    number: int


class AppliedOperation(msgspec.Struct, frozen=True, gc=False):
    """One operation that was applied to this node's store."""

    position: int
    id: OperationId
    ballot: tuple[int, int, int] | None
    """Under which this node accepted it; None if it learned it from somebody who knew it as decided."""
    outcome: Outcome
    ticket: int
    """What `Engine.submit` returned, if it was submitted here and in this incarnation; else 0."""
    live: bool
    """False for an operation that is applied again after a restart."""
    took_s: float = 0.0
    """How long after its submission it was applied here, if it was submitted here and in this incarnation."""


class EngineStatus(msgspec.Struct, frozen=True):
    """What a node can say of itself at any moment, at no cost."""

    node: int
    role: str
    """leader, candidate, follower or learner"""
    leader: int | None
    ballot: tuple[int, int, int]
    """Of the leadership that this node follows or claims; the last number is the next position."""
    decided: int
    applied: int
    queued: int
    """Own operations that are not applied yet."""
    voter_status: str
    links: tuple[int, ...]
    """Peers with messages passing in both directions."""
    differs: tuple[int, ...] = ()
    """Nodes that applied the same operations, and were last seen to have other conversations."""
    lost: tuple[int, ...] = ()
    """Voters that have lost their disks, if so many have that no quorum can form."""
    voters: int = 0
    """The number of voters, as it was decided last; 0 before the cluster is founded."""
    notice: str = ""
    """What keeps the engine from going on, or from some of its work, for as long as it does."""


class Membership(msgspec.Struct, frozen=True):
    """Who belongs to the cluster, as it was decided last, as far as is known here."""

    cluster: str
    """Its id."""
    number: int
    """Of the configuration."""
    members: dict[int, bool]
    """By node: whether its disk is known, so that its votes count."""


MemberChange: TypeAlias = Literal["add", "remove", "replace"]


class EngineListener(Protocol):
    """An engine's events. Called in the midst of its work: handlers must be quick and never raise."""

    def on_applied(self, applied: AppliedOperation) -> None:
        """An operation was applied; in order of positions."""

    def on_outcome_unknown(self, ticket: int) -> None:
        """An operation that was submitted here may or may not take effect; nothing more will be reported about it."""

    def on_installed(self) -> None:
        """A snapshot replaced the store: its operations were applied without events."""

    def on_status(self, status: EngineStatus) -> None:
        """The role, the leader, a link or the voter status has changed."""

    def on_connected(self) -> None:
        """The engine reaches its network."""

    def on_disconnected(self, reason: str) -> None:
        """The engine lost its network, and is trying again."""

    def on_refused(self, reason: str) -> None:
        """The network refuses this node; trying again will hardly help."""

    def on_removed(self) -> None:
        """The members have decided that this node is none of them any more: it may leave."""

    def on_stranger(self, reason: str) -> None:
        """Another cluster's node speaks as one of this cluster's; nothing that it says counts."""

    def on_diverged(self, reason: str) -> None:
        """Nodes have different conversations after the same operations, and this one is not known to be wrong."""

    def on_hint(self, node: int, payload: bytes) -> None:
        """Another node sent a hint."""

    def on_failed(self, reason: str) -> None:
        """The engine acknowledges nothing any more, and the node must leave."""


class Engine(Protocol):
    """Replicates the operations of one node. `start` before anything else, `close` before leaving."""

    @property
    def store(self) -> Store:
        """What has been applied here. Not to be changed."""

    def start(self, listener: EngineListener) -> None:
        """Tells `listener` from now on, first of the operations that are applied again after a restart."""

    def submit(self, operation: StoreOperation) -> int:
        """Has an operation decided, exactly once, after those submitted here before. Returns a ticket: the listener
        gets exactly one `on_applied` or `on_outcome_unknown` with it. What some member does not know of it is left
        out. Raises Busy; NotUnderstood if nothing would be left."""

    def read(self) -> asyncio.Future[None]:
        """Done when the store holds everything that was acknowledged anywhere before this call; is to be cancelled by
        who stops waiting. Raises Busy."""

    def status(self) -> EngineStatus: ...

    def membership(self) -> Membership | None:
        """None before the cluster is founded."""

    def change_members(self, change: MemberChange, node: int) -> asyncio.Future[None]:
        """Done when the change is decided and known here; is to be cancelled by who stops asking for it. Raises Busy
        while another one is asked for here."""

    def majority_reachable(self) -> bool:
        """Whether, as far as this node knows, there is a leader with a majority."""

    def read_timeout_s(self) -> float:
        """How long a linearizable read may take on the network as it is now."""

    def send_hint(self, node: int, payload: bytes) -> None:
        """Sends something small to another node, outside the log; it may be lost."""

    def close(self) -> Awaitable[None]:
        """Stores what is in progress. The outcome of undecided operations is reported as unknown."""
