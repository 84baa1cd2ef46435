"""The commands of the network's operator."""

from __future__ import annotations

from typing import Annotated, Generic, Literal, TypeAlias

from msgspec import UNSET, Meta, UnsetType

from api.base import Command, R_co
from api.operator_results import (
    BandwidthResult,
    DelayResult,
    DuplicateResult,
    ExplainAllResult,
    HeldResult,
    HistoryResult,
    IsolateResult,
    LinksResult,
    LoadResult,
    LossResult,
    MembershipResult,
    NetworkStatusResult,
    NodeAnswerResult,
    NodeResult,
    PartitionResult,
    ReorderResult,
    ScriptResult,
    SeedResult,
    SleepResult,
    TextResult,
    WaitResult,
    WatchResult,
)

MAX_DURATION_S = 86_400.0
MAX_KBPS = 1e9
MAX_DELAY_MS = 600_000.0
MAX_LOAD = 1_000_000
MAX_STEPS = 1_000
MAX_RATE = 1_000.0
WITHIN_S = 30.0

Leader: TypeAlias = Literal["leader"]
LEADER: Leader = "leader"
"""Replaced by the number of the node that leads when the command is run."""

NodeNumber: TypeAlias = Annotated[int, Meta(ge=1)]
NodeName: TypeAlias = NodeNumber | Leader
MessageNumber: TypeAlias = Annotated[int, Meta(ge=1)]
Words: TypeAlias = Annotated[str, Meta(max_length=2000)]
LinkEnds: TypeAlias = tuple[NodeName, NodeName]
Seconds: TypeAlias = Annotated[float, Meta(gt=0, le=MAX_DURATION_S)]
Milliseconds: TypeAlias = Annotated[float, Meta(ge=0, le=MAX_DELAY_MS)]
Percent: TypeAlias = Annotated[float, Meta(ge=0, le=100)]
Kilobits: TypeAlias = Annotated[float, Meta(ge=0, le=MAX_KBPS)]


class FaultCommand(Command[R_co], Generic[R_co], frozen=True, kw_only=True):
    """Base of commands that set or remove faults: `log` lists them."""

    words: Words | UnsetType = UNSET
    """How it is listed there; derived from the other fields by default."""


# ---- Links


class FailLinkCommand(FaultCommand[LinksResult], frozen=True, kw_only=True, tag="failLink"):
    """Cuts a link."""

    link: LinkEnds
    one_way: bool = False
    """Only in the direction from the first node to the second."""
    for_s: Seconds | UnsetType = UNSET
    """The fault ends after this many seconds."""


class FixLinkCommand(FaultCommand[LinksResult], frozen=True, kw_only=True, tag="fixLink"):
    """Restores a link."""

    link: LinkEnds
    one_way: bool = False
    """Only in the direction from the first node to the second."""


class IsolateCommand(FaultCommand[IsolateResult], frozen=True, kw_only=True, tag="isolate"):
    """Cuts all links of one node."""

    node: NodeName
    for_s: Seconds | UnsetType = UNSET
    """The fault ends after this many seconds."""


class PartitionCommand(FaultCommand[PartitionResult], frozen=True, kw_only=True, tag="partition"):
    """Cuts exactly the links between the groups. Each node belongs to one of at least two groups."""

    groups: list[list[NodeNumber]]
    for_s: Seconds | UnsetType = UNSET
    """The fault ends after this many seconds."""


class HealCommand(FaultCommand[LinksResult], frozen=True, kw_only=True, tag="heal"):
    """Restores all links; delay, loss and the rest stay."""


class LinkQualityCommand(FaultCommand[R_co], Generic[R_co], frozen=True, kw_only=True):
    """Base of commands about how links treat messages."""

    link: LinkEnds | None = None
    """Without it, all links are affected, and earlier settings of single links are removed."""
    one_way: bool = False
    """Only in the direction from the first node to the second."""
    for_s: Seconds | UnsetType = UNSET
    """The fault ends after this many seconds."""


class DelayCommand(LinkQualityCommand[DelayResult], frozen=True, kw_only=True, tag="delay"):
    """Delays each message by the delay and a random part of the jitter."""

    delay_ms: Milliseconds
    jitter_ms: Milliseconds = 0


class LossCommand(LinkQualityCommand[LossResult], frozen=True, kw_only=True, tag="loss"):
    """Loses this percentage of the messages."""

    percent: Percent


class DuplicateCommand(LinkQualityCommand[DuplicateResult], frozen=True, kw_only=True, tag="duplicate"):
    """Delivers this percentage of the messages twice."""

    percent: Percent


class DupCommand(LinkQualityCommand[DuplicateResult], frozen=True, kw_only=True, tag="dup"):
    """The same as `duplicate`."""

    percent: Percent


class ReorderCommand(LinkQualityCommand[ReorderResult], frozen=True, kw_only=True, tag="reorder"):
    """Lets later messages overtake this percentage of the messages."""

    percent: Percent


class BandwidthCommand(LinkQualityCommand[BandwidthResult], frozen=True, kw_only=True, tag="bandwidth"):
    """Each direction of a link carries at most so many kilobits a second; 0 is no limit."""

    kbps: Kilobits


class SeedCommand(FaultCommand[SeedResult], frozen=True, kw_only=True, tag="seed"):
    """Restarts random faults from this seed."""

    seed: Annotated[int, Meta(ge=0)]


# ---- Step by step


class HoldCommand(FaultCommand[HeldResult], frozen=True, kw_only=True, tag="hold"):
    """Every message of the protocol, but heartbeats, waits at the network from now on."""


class HeldCommand(Command[HeldResult], frozen=True, kw_only=True, tag="held"):
    """The messages that wait."""


class StepCommand(FaultCommand[HeldResult], frozen=True, kw_only=True, tag="step"):
    """Lets the oldest messages that wait go on."""

    count: Annotated[int, Meta(ge=1, le=MAX_STEPS)] = 1


class DeliverCommand(FaultCommand[HeldResult], frozen=True, kw_only=True, tag="deliver"):
    """Lets one message go on, before or after others."""

    message: MessageNumber


class RepeatCommand(FaultCommand[HeldResult], frozen=True, kw_only=True, tag="repeat"):
    """Lets a copy of a message go on; the message waits all the same."""

    message: MessageNumber


class DropCommand(FaultCommand[HeldResult], frozen=True, kw_only=True, tag="drop"):
    """Loses a message that waits."""

    message: MessageNumber


class SlowCommand(FaultCommand[HeldResult], frozen=True, kw_only=True, tag="slow"):
    """Messages go on by themselves, in the order in which they were sent, but only so many a second."""

    rate: Annotated[float, Meta(gt=0, le=MAX_RATE)]


class ReleaseCommand(FaultCommand[HeldResult], frozen=True, kw_only=True, tag="release"):
    """All messages go on, and none waits any more."""


# ---- Nodes


class FailNodeCommand(FaultCommand[NodeResult], frozen=True, kw_only=True, tag="failNode"):
    """Crashes a node: nothing is flushed."""

    node: NodeName
    for_s: Seconds | UnsetType = UNSET
    """The fault ends after this many seconds."""


class FixNodeCommand(FaultCommand[NodeResult], frozen=True, kw_only=True, tag="fixNode"):
    """Starts a node again."""

    node: NodeName


class PauseNodeCommand(FaultCommand[NodeResult], frozen=True, kw_only=True, tag="pauseNode"):
    """Suspends a node's process, which keeps its state."""

    node: NodeName
    for_s: Seconds | UnsetType = UNSET
    """The fault ends after this many seconds."""


class ResumeNodeCommand(FaultCommand[NodeResult], frozen=True, kw_only=True, tag="resumeNode"):
    """Lets a paused node continue."""

    node: NodeName


class AddNodeCommand(Command[MembershipResult], frozen=True, kw_only=True, tag="addNode"):
    """Makes a node a member: starts it, unless it runs, and has the members decide it once it has caught up."""

    node: Annotated[int, Meta(ge=1, le=65535)]


class RemoveNodeCommand(Command[MembershipResult], frozen=True, kw_only=True, tag="removeNode"):
    """Has the members decide that a node is none of them any more; it is told, and leaves."""

    node: NodeName


class ReplaceNodeCommand(Command[MembershipResult], frozen=True, kw_only=True, tag="replaceNode"):
    """Has the members decide that the disk of a node, which is down, does not count any more, and starts the node: it
    counts again as soon as it has caught up, with whatever disk."""

    node: NodeNumber


class FixAllCommand(FaultCommand[TextResult], frozen=True, kw_only=True, tag="fixAll"):
    """Removes all faults."""


class ResetCommand(FaultCommand[TextResult], frozen=True, kw_only=True, tag="reset"):
    """What `fixAll` is called in release 0.1.0."""


# ---- Looking, waiting, scripts


class NetworkStatusCommand(Command[NetworkStatusResult], frozen=True, tag="status"):
    """The nodes' reports, and the network."""


class WatchCommand(Command[WatchResult], frozen=True, kw_only=True, tag="watch"):
    """Shows the status continuously."""

    on: bool | None = None
    """If omitted, watching is toggled."""


class ExplainAllCommand(Command[ExplainAllResult], frozen=True, kw_only=True, tag="explain"):
    """Has every node that is up explain each step of the protocol at its own prompt."""

    on: bool


class HistoryCommand(Command[HistoryResult], frozen=True, kw_only=True, tag="log"):
    """The last faults that were set and removed."""

    count: Annotated[int, Meta(ge=1)] = 30


class ScriptCommand(Command[ScriptResult], frozen=True, kw_only=True, tag="script"):
    """Runs the commands in a file."""

    file: str
    """Its path, or the name of a file in scenarios/."""
    paused: bool = False
    """It waits before its first line: see `next` and `continue`."""
    reading: bool = False
    """Whoever reads along is given time after each text."""


class StopCommand(Command[TextResult], frozen=True, tag="stop"):
    """Ends the running script; faults stay in place, unless its lines after `finally` remove them."""


class PauseCommand(Command[TextResult], frozen=True, tag="pause"):
    """The running script waits after the line that it is at."""


class NextCommand(Command[TextResult], frozen=True, kw_only=True, tag="next"):
    """A paused script runs its next lines, and waits again."""

    count: Annotated[int, Meta(ge=1, le=MAX_STEPS)] = 1


class ContinueCommand(Command[TextResult], frozen=True, tag="continue"):
    """A paused script goes on."""


class WaitCommand(Command[WaitResult], frozen=True, kw_only=True, tag="wait"):
    """Answers when a node leads; when all nodes that are up have applied the same (`converged`) or so many operations
    (`applied`); when a node has applied so many operations fewer than another one (`behind`); or when all of them have
    answered the last question of a conversation (`answers`)."""

    what: Literal["leader", "converged", "applied", "behind", "answers"]
    new: bool = False
    """A leader other than the last known one."""
    among: tuple[NodeNumber, ...] = ()
    """One of these nodes must be the leader."""
    operations: Annotated[int, Meta(ge=1)] = 1
    node: NodeNumber | UnsetType = UNSET
    """The one that is `behind`."""
    context: str = ""
    """The conversation."""
    within_s: Seconds = WITHIN_S
    """The command fails after this time."""


class SleepCommand(Command[SleepResult], frozen=True, kw_only=True, tag="sleep"):
    """Waits for a time."""

    seconds: Seconds


class SayCommand(Command[TextResult], frozen=True, kw_only=True, tag="say"):
    """Shows text, in a script."""

    text: str


class NodeCommand(Command[NodeAnswerResult], frozen=True, kw_only=True, tag="node"):
    """Runs a user's command at a node."""

    node: NodeName
    line: str
    """As the user would type it."""
    background: bool = False
    """Does not wait for the answer; the event `node_answer` reports it."""


class LoadCommand(Command[LoadResult], frozen=True, kw_only=True, tag="load"):
    """Has this many operations decided, at the leader unless a node is named."""

    count: Annotated[int, Meta(ge=1, le=MAX_LOAD)]
    node: NodeName = LEADER
