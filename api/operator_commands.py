"""What the operator of the network can ask for."""

from __future__ import annotations

from typing import Annotated, Generic, Literal, TypeAlias

from msgspec import UNSET, Meta, UnsetType

from api.base import Command, R_co
from api.operator_results import (
    DelayResult,
    DuplicateResult,
    HistoryResult,
    IsolateResult,
    LinksResult,
    LoadResult,
    LossResult,
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
MAX_DELAY_MS = 600_000.0
MAX_LOAD = 1_000_000
WITHIN_S = 30.0

Leader: TypeAlias = Literal["leader"]
LEADER: Leader = "leader"
"""Stands for the number of the node that leads when the command is carried out."""

NodeNumber: TypeAlias = Annotated[int, Meta(ge=1)]
NodeName: TypeAlias = NodeNumber | Leader
LinkEnds: TypeAlias = tuple[NodeName, NodeName]
Seconds: TypeAlias = Annotated[float, Meta(gt=0, le=MAX_DURATION_S)]
Milliseconds: TypeAlias = Annotated[float, Meta(ge=0, le=MAX_DELAY_MS)]
Percent: TypeAlias = Annotated[float, Meta(ge=0, le=100)]


class FaultCommand(Command[R_co], Generic[R_co], frozen=True, kw_only=True):
    """Base of commands that set faults or take them back: `log` lists them. `words` is how it is listed there; by
    default it is made of the other fields."""

    words: str | UnsetType = UNSET


# ---- Links. With `one_way`, only messages from the first end to the second are meant. With `for_s`, the fault is taken
# back after so many seconds.


class FailLinkCommand(FaultCommand[LinksResult], frozen=True, kw_only=True, tag="failLink"):
    link: LinkEnds
    one_way: bool = False
    for_s: Seconds | UnsetType = UNSET


class FixLinkCommand(FaultCommand[LinksResult], frozen=True, kw_only=True, tag="fixLink"):
    link: LinkEnds
    one_way: bool = False


class IsolateCommand(FaultCommand[IsolateResult], frozen=True, kw_only=True, tag="isolate"):
    """Cuts all links of one node."""

    node: NodeName
    for_s: Seconds | UnsetType = UNSET


class PartitionCommand(FaultCommand[PartitionResult], frozen=True, kw_only=True, tag="partition"):
    """Cuts exactly the links between the groups. Each node belongs to one of at least two groups."""

    groups: list[list[NodeNumber]]
    for_s: Seconds | UnsetType = UNSET


class HealCommand(FaultCommand[LinksResult], frozen=True, kw_only=True, tag="heal"):
    """Mends all links; delay, loss and the rest stay."""


class LinkQualityCommand(FaultCommand[R_co], Generic[R_co], frozen=True, kw_only=True):
    """Without `link`, all links are meant, and what was set for single ones before is forgotten."""

    link: LinkEnds | None = None
    one_way: bool = False
    for_s: Seconds | UnsetType = UNSET


class DelayCommand(LinkQualityCommand[DelayResult], frozen=True, kw_only=True, tag="delay"):
    """Each message is late by the delay and a random part of the jitter."""

    delay_ms: Milliseconds
    jitter_ms: Milliseconds = 0


class LossCommand(LinkQualityCommand[LossResult], frozen=True, kw_only=True, tag="loss"):
    percent: Percent


class DuplicateCommand(LinkQualityCommand[DuplicateResult], frozen=True, kw_only=True, tag="duplicate"):
    percent: Percent


class DupCommand(LinkQualityCommand[DuplicateResult], frozen=True, kw_only=True, tag="dup"):
    """The same as `duplicate`."""

    percent: Percent


class ReorderCommand(LinkQualityCommand[ReorderResult], frozen=True, kw_only=True, tag="reorder"):
    """So many of the messages may be overtaken by later ones."""

    percent: Percent


class SeedCommand(FaultCommand[SeedResult], frozen=True, kw_only=True, tag="seed"):
    """What is random about faults begins anew from this number."""

    seed: Annotated[int, Meta(ge=0)]


# ---- Nodes


class FailNodeCommand(FaultCommand[NodeResult], frozen=True, kw_only=True, tag="failNode"):
    """Crashes a node: nothing is flushed."""

    node: NodeName
    for_s: Seconds | UnsetType = UNSET


class FixNodeCommand(FaultCommand[NodeResult], frozen=True, kw_only=True, tag="fixNode"):
    """Starts a node again."""

    node: NodeName


class PauseNodeCommand(FaultCommand[NodeResult], frozen=True, kw_only=True, tag="pauseNode"):
    """Stops a node's process, which stays as it is."""

    node: NodeName
    for_s: Seconds | UnsetType = UNSET


class ResumeNodeCommand(FaultCommand[NodeResult], frozen=True, kw_only=True, tag="resumeNode"):
    node: NodeName


class ResetCommand(FaultCommand[TextResult], frozen=True, kw_only=True, tag="reset"):
    """Takes all faults back."""


# ---- Looking, waiting, scripts


class NetworkStatusCommand(Command[NetworkStatusResult], frozen=True, tag="status"):
    """The nodes, as they report, and the network."""


class WatchCommand(Command[WatchResult], frozen=True, kw_only=True, tag="watch"):
    """Shows the status all the time. Without `on`, it begins or ends."""

    on: bool | None = None


class HistoryCommand(Command[HistoryResult], frozen=True, kw_only=True, tag="log"):
    """The last faults that were set and taken back."""

    count: Annotated[int, Meta(ge=1)] = 30


class ScriptCommand(Command[ScriptResult], frozen=True, kw_only=True, tag="script"):
    """Carries out the commands in a file, or in a scenario of this name."""

    file: str


class StopCommand(Command[TextResult], frozen=True, tag="stop"):
    """Ends the script that is running; faults stay as they are."""


class WaitCommand(Command[WaitResult], frozen=True, kw_only=True, tag="wait"):
    """Until the cluster is there: `leader` (one that leads, of the nodes `among`, or with `new` another one than
    before), `converged` (all nodes that are up have applied the same), `applied` (all of them have applied so many
    `operations`), or `answers` (all of them have answered the last question of `context`)."""

    what: Literal["leader", "converged", "applied", "answers"]
    new: bool = False
    among: tuple[NodeNumber, ...] = ()
    operations: Annotated[int, Meta(ge=1)] = 1
    context: str = ""
    within_s: Seconds = WITHIN_S


class SleepCommand(Command[SleepResult], frozen=True, kw_only=True, tag="sleep"):
    seconds: Seconds


class SayCommand(Command[TextResult], frozen=True, kw_only=True, tag="say"):
    """Shows a text, in a script."""

    text: str


class NodeCommand(Command[NodeAnswerResult], frozen=True, kw_only=True, tag="node"):
    """Has a user's command, as it is typed, carried out at a node. In the background, an event brings the answer."""

    node: NodeName
    line: str
    background: bool = False


class LoadCommand(Command[LoadResult], frozen=True, kw_only=True, tag="load"):
    """Has so many operations decided, by the leader unless another node is named."""

    count: Annotated[int, Meta(ge=1, le=MAX_LOAD)]
    node: NodeName = LEADER
