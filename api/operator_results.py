"""What the operator's commands answer. `text` is a sentence for people."""

from __future__ import annotations

from typing import TypeAlias

from msgspec import UNSET, UnsetType, field

from api.base import Record, Result

Link: TypeAlias = tuple[int, int]
"""(from, to): one direction."""


class TextResult(Result, frozen=True, kw_only=True):
    """Only says in words what is so now."""

    text: str


class LinksResult(Result, frozen=True, kw_only=True):
    """Which links are cut now."""

    links: list[Link]
    """All that are cut."""
    for_s: float | UnsetType = UNSET
    """Seconds until this is taken back."""
    text: str


class HeldMessageRecord(Record, frozen=True, kw_only=True):
    """One message that waits at the network."""

    number: int
    link: Link
    message: str
    """What it is: `Accept <2,1,15>`."""
    sent: int
    """How often it was sent since it waits."""
    again: bool
    """The same was let go on, or dropped, before."""


class HeldResult(Result, frozen=True, kw_only=True):
    """The messages that wait at the network."""

    holding: bool
    """Whether messages are held."""
    rate: float
    """How many a second go on by themselves; 0 if none does."""
    held: list[HeldMessageRecord]
    """Oldest first."""
    lost: int
    """Messages that were lost because too many waited."""
    text: str


class IsolateResult(Result, frozen=True, kw_only=True):
    """The node has no links."""

    node: int
    links: list[Link]
    """All that are cut."""
    for_s: float | UnsetType = UNSET
    """Seconds until this is taken back."""
    text: str


class PartitionResult(Result, frozen=True, kw_only=True):
    """The groups do not hear each other."""

    groups: list[list[int]]
    links: list[Link]
    """All that are cut."""
    for_s: float | UnsetType = UNSET
    """Seconds until this is taken back."""
    text: str



class DelayResult(Result, frozen=True, kw_only=True):
    delay_ms: float
    jitter_ms: float
    on: list[Link] | UnsetType = UNSET
    """The affected links; all if it is omitted."""
    for_s: float | UnsetType = UNSET
    """Seconds until this is taken back."""
    text: str


class LossResult(Result, frozen=True, kw_only=True):
    loss_percent: float
    on: list[Link] | UnsetType = UNSET
    """The affected links; all if it is omitted."""
    for_s: float | UnsetType = UNSET
    """Seconds until this is taken back."""
    text: str


class DuplicateResult(Result, frozen=True, kw_only=True):
    duplicate_percent: float
    on: list[Link] | UnsetType = UNSET
    """The affected links; all if it is omitted."""
    for_s: float | UnsetType = UNSET
    """Seconds until this is taken back."""
    text: str


class ReorderResult(Result, frozen=True, kw_only=True):
    reorder_percent: float
    on: list[Link] | UnsetType = UNSET
    """The affected links; all if it is omitted."""
    for_s: float | UnsetType = UNSET
    """Seconds until this is taken back."""
    text: str


class BandwidthResult(Result, frozen=True, kw_only=True):
    bandwidth_kbps: float
    """Kilobits a second; 0 is no limit."""
    on: list[Link] | UnsetType = UNSET
    """The links that are meant; all if it is left out."""
    for_s: float | UnsetType = UNSET
    """Seconds until this is taken back."""
    text: str


class SeedResult(Result, frozen=True, kw_only=True):
    seed: int
    text: str


class NodeResult(Result, frozen=True, kw_only=True):
    """Of a node that has been crashed, started, paused or resumed."""

    node: int
    text: str
    for_s: float | UnsetType = UNSET
    """Seconds until this is taken back."""


class MembershipResult(Result, frozen=True, kw_only=True):
    """The members as they are decided now, after a change in `node`."""

    node: int
    cluster: str
    """Its id."""
    number: int
    """Of the configuration."""
    members: list[int]
    text: str


class NodeOverview(Record, frozen=True, kw_only=True):
    """Counters are the relay's since its start: `in` is from the node, `out` to it. What may be null is what a
    connected node last said of itself."""

    node: int
    up: bool
    paused: bool
    role: str | None = None
    leader: int | None = None
    ballot: tuple[int, int, int] | None = None
    decided: int | None = None
    applied: int | None = None
    queued: int | None = None
    digest: str | None = None
    frames_in: int
    frames_out: int
    bytes_in: int
    bytes_out: int
    dropped: int
    """Frames for it that were dropped: its queue was full, it was disconnected, or a fault dropped them."""
    frames_in_per_s: float
    frames_out_per_s: float
    bytes_in_per_s: int
    bytes_out_per_s: int
    asking: int | UnsetType = UNSET
    """Requests that its LLM works on; left out if there are none."""
    member: bool | UnsetType = UNSET
    """False for one that runs, but is not among the members that were decided; else left out."""


class LinkOverview(Record, frozen=True, kw_only=True):
    """A link with faults of its own."""

    src: int = field(name="from")
    dst: int = field(name="to")
    delay_ms: float
    jitter_ms: float
    loss_percent: float
    duplicate_percent: float
    reorder_percent: float
    others: dict[str, float] | UnsetType = UNSET
    """Parameters of further kinds of faults."""


class RunningTimer(Record, frozen=True):
    """A fault that will end by itself."""

    fault: str
    ends_in_s: float


class NetworkStatusResult(Result, frozen=True, kw_only=True):
    """The nodes and the links between them. The parameters are those of all links that `own` does not list."""

    nodes: list[NodeOverview]
    links: list[Link]
    """All that are cut."""
    delay_ms: float
    jitter_ms: float
    loss_percent: float
    duplicate_percent: float
    reorder_percent: float
    own: list[LinkOverview]
    seed: int | None
    """The last token that was issued."""
    timers: list[RunningTimer]
    others: dict[str, float] | UnsetType = UNSET
    """Parameters of further kinds of faults."""
    lost: list[int] | UnsetType = UNSET
    """Voters that have lost their disks, if so many have that no quorum can form."""
    notice: str | UnsetType = UNSET
    """What can be done about that."""


class WatchResult(Result, frozen=True, kw_only=True):
    """Whether the status is shown continuously."""

    on: bool
    text: str


class ExplainAllResult(Result, frozen=True, kw_only=True):
    on: bool
    nodes: list[int]
    """Those that do it."""
    failed: dict[str, str]
    """Why others do not, by their numbers."""
    text: str


class HistoryEntry(Record, frozen=True):
    """A fault that was set or taken back."""

    time: float
    """In seconds since 1970."""
    after_s: float
    """Seconds since the orchestrator's start."""
    what: str
    by: str
    """`operator`, `script` or `timer`."""


class HistoryResult(Result, frozen=True, kw_only=True):
    entries: list[HistoryEntry]
    """The oldest first."""


class ScriptResult(Result, frozen=True, kw_only=True):
    """The script is done."""

    steps: int
    seconds: float
    text: str


class WaitResult(Result, frozen=True, kw_only=True):
    """It is so."""

    leader: int | UnsetType = UNSET
    after_s: float | UnsetType = UNSET
    """Since the last fault; for a leader that is new."""
    nodes: list[int] | UnsetType = UNSET
    """Those that have applied the same."""
    applied: int | UnsetType = UNSET
    """The number of operations that all of them have applied."""
    digest: str | UnsetType = UNSET
    """Of what they have applied."""
    context: str | UnsetType = UNSET
    answers: int | UnsetType = UNSET
    """The number of answers to the last question of `context`."""
    text: str


class SleepResult(Result, frozen=True, kw_only=True):
    """The time is over."""

    slept_s: float
    text: str


class NodeAnswerResult(Result, frozen=True):
    """Has the keys of what the node answered, under the name of the node's command, and `node`; or `node` and `text`,
    if the answer comes later."""


class LoadResult(Result, frozen=True, kw_only=True):
    """The number of operations that were decided."""

    node: int
    """The one that submitted them."""
    operations: int
    seconds: float
    text: str
