"""The orchestrator's events."""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import UNSET, UnsetType

from api.base import Event, Record
from api.operator_results import HeldMessageRecord, Link, LinkOverview, NodeOverview, RunningTimer

HappeningKind: TypeAlias = Literal["node", "campaign", "leader", "fault", "cluster"]


class NetworkReadyEvent(Event, frozen=True, tag="ready"):
    """Nodes can connect."""

    port: int
    host: str
    nodes: list[int]


class NodeUpEvent(Event, frozen=True, tag="node_up"):
    """A node has connected."""

    node: int


class NodeDownEvent(Event, frozen=True, tag="node_down"):
    """A node's connection has closed."""

    node: int


class ConnectionRefusedEvent(Event, frozen=True, tag="refused"):
    """A connection was refused, or several."""

    code: str
    reason: str
    address: str | UnsetType = UNSET
    """Left out if there were several."""
    count: int | UnsetType = UNSET
    """The number of further refusals with this code that were not reported one by one."""


class ClusterQuorumLostEvent(Event, frozen=True, tag="quorum_lost"):
    """So many voters have lost their disks that nothing can be decided any more."""

    lost: list[int]
    voters: int
    reason: str


class ClusterMembersEvent(Event, frozen=True, tag="members"):
    """The members have changed, or differ from the nodes that the configuration file lists: what was decided counts."""

    cluster: str
    """Its id."""
    number: int
    """Of the configuration."""
    members: list[int]
    configured: list[int]
    """The nodes in the file."""
    text: str


class MessageHeldEvent(Event, frozen=True, tag="held"):
    """A message begins to wait at the network. Reported as long as few wait."""

    number: int
    link: Link
    message: str
    again: bool


class FaultOverEvent(Event, frozen=True, tag="fault_over"):
    """A fault for a while has been taken back."""

    fault: str
    text: str


class NetworkStatusEvent(Event, frozen=True, tag="status", kw_only=True):
    """Once a second while `watch` is on. The fields are those of NetworkStatusResult."""

    nodes: list[NodeOverview]
    links: list[Link]
    delay_ms: float
    jitter_ms: float
    loss_percent: float
    duplicate_percent: float
    reorder_percent: float
    own: list[LinkOverview]
    seed: int | None
    timers: list[RunningTimer]
    others: dict[str, float] | UnsetType = UNSET
    lost: list[int] | UnsetType = UNSET
    notice: str | UnsetType = UNSET


class StepEvent(Event, frozen=True, tag="step"):
    """A line of a script is about to be run; `name` is that of its command."""

    name: str
    file: str
    line: int
    command: str


class StepResultEvent(Event, frozen=True, tag="step_result"):
    """The line has been run. The keys of the command's result follow those of this record."""

    name: str
    file: str
    line: int
    command: str


class NodeAnswerEvent(Event, frozen=True, tag="node_answer"):
    """A node has answered a command that nothing waited for. Has the keys of its answer, and `node`, `command` (the
    line), and `text`."""


# ---- At GET /api/events of the network alone


class HappenedEvent(Event, frozen=True, tag="happened"):
    """Something happened in the cluster, in words; causes come before effects. At `/api/events` of the network alone,
    like all that follow."""

    time: float
    """In seconds since 1970."""
    kind: HappeningKind
    text: str
    node: int | None = None
    """The node that it is about, if it is one."""


class PassingMessage(Record, frozen=True):
    """A message of the protocol at the network."""

    link: Link
    message: str
    """What it is: `Accept <2,1,15>`."""
    fate: str
    """`passed`; `late` or `lost`, by a fault; `held`; `released` or `dropped`, after it was held."""
    after_ms: float
    """Since the first message of the event."""
    late_ms: int
    """How long a fault delays it."""


class MessagesEvent(Event, frozen=True, tag="messages"):
    """What has passed since the last such event, in this order."""

    sampled: bool
    """There was more: under load, some of the messages are told of, and the status counts all."""
    messages: list[PassingMessage]


class HoldingEvent(Event, frozen=True, tag="holding"):
    """The messages that wait have changed."""

    holding: bool
    rate: float
    """How many a second go on by themselves; 0 if none does."""
    waiting: int
    lost: int
    """Messages that were lost because too many waited."""
    held: list[HeldMessageRecord]
    """The oldest of those that wait."""


class PlayingEvent(Event, frozen=True, tag="playing"):
    """What is known of the running script has changed."""

    file: str | None
    """Its file, or null if none runs."""
    line: int
    """The one that runs, or runs next if the script is paused."""
    paused: bool
