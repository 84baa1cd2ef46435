"""What a node answers to its commands."""

from __future__ import annotations

from typing import Literal

from msgspec import UNSET, UnsetType

from api.base import Failure, Record, Result
from api.conversation import Conversation, Turn, Usage


class RefusedResult(Failure, frozen=True):
    """The operation was refused where it was decided, or is not possible here; nothing has changed."""

    context: str | UnsetType = UNSET
    node: int | UnsetType = UNSET
    """The one that `choose` or `retry` named."""
    auto: Literal[True] | UnsetType = UNSET
    """The nodes were to choose."""
    synth: Literal[True] | UnsetType = UNSET
    """An LLM was to be asked for a synthesis."""


class NotFoundResult(Failure, frozen=True, kw_only=True):
    """There is no such conversation, as far as this node knows."""

    context: str
    stale: bool
    """No majority was reachable."""


class CreateResult(Result, frozen=True, kw_only=True):
    context: str
    warning: str | UnsetType = UNSET
    """A quota is nearly used up."""


class QueryResult(Result, frozen=True, kw_only=True):
    """The question is in; answers come as events."""

    context: str
    turn: int
    warning: str | UnsetType = UNSET
    """A quota is nearly used up."""
    created: int | UnsetType = UNSET
    """The position of the log that created the conversation, as in `view`: another one may have its name later."""


class CancelResult(Result, frozen=True, kw_only=True):
    context: str
    turn: int


class RetryResult(Result, frozen=True, kw_only=True):
    context: str
    turn: int
    node: int | UnsetType = UNSET
    """The node that is asked again; all are if it is omitted."""


class RegenerateResult(Result, frozen=True, kw_only=True):
    context: str
    turn: int


class ChooseResult(Result, frozen=True, kw_only=True):
    """The answer of `node` is chosen; or, with `auto`, the nodes are choosing, or, with `synth`, an LLM is asked for a
    synthesis, that of node `by` or the leader's: an event reports the outcome."""

    context: str
    turn: int
    node: int | UnsetType = UNSET
    auto: Literal[True] | UnsetType = UNSET
    synth: Literal[True] | UnsetType = UNSET
    by: int | UnsetType = UNSET


class DeleteResult(Result, frozen=True, kw_only=True):
    context: str
    kept: bool
    """`undelete` can bring it back."""


class UndeleteResult(Result, frozen=True, kw_only=True):
    context: str
    turns: int
    warning: str | UnsetType = UNSET
    """A quota is nearly used up."""


class SystemResult(Result, frozen=True, kw_only=True):
    context: str
    system: str | None
    """What LLMs are told before the questions of this conversation; null: what each node tells its own."""
    stale: bool
    """No majority was reachable: it may have changed."""


class AutoResult(Result, frozen=True, kw_only=True):
    context: str
    auto: bool
    """The nodes choose by themselves as soon as all answers to a query are in."""
    stale: bool
    """No majority was reachable: it may have changed."""


class TitleResult(Result, frozen=True, kw_only=True):
    context: str
    title: str | None
    stale: bool
    """No majority was reachable: it may have changed."""


class RenameResult(Result, frozen=True, kw_only=True):
    context: str
    """As it was called."""
    name: str
    """As it is called now."""


class ForkResult(Result, frozen=True, kw_only=True):
    context: str
    name: str
    """Of the new conversation."""
    turns: int
    """How many it begins with."""
    warning: str | UnsetType = UNSET
    """A quota is nearly used up."""


class ViewResult(Result, frozen=True, kw_only=True):
    context: str
    turns: list[Turn]
    stale: bool
    """No majority was reachable: there may be more than is shown."""
    title: str | UnsetType = UNSET
    """What users call it, if they gave it a title."""
    system: str | UnsetType = UNSET
    """What LLMs are told before its questions, if that was decided."""
    created: int | UnsetType = UNSET
    """The position of the log that created it: since a deletion, another conversation may have its name."""
    usage: dict[int, Usage] | UnsetType = UNSET
    """By node: what the answers took."""
    auto: Literal[True] | UnsetType = UNSET
    """The nodes choose by themselves as soon as all answers to a query are in."""


class LastResult(Result, frozen=True, kw_only=True):
    context: str
    turn: int
    """Its number; 0 if there is none yet."""
    last: Turn | None
    stale: bool
    created: int | UnsetType = UNSET
    """As in `view`."""


class ViewallResult(Result, frozen=True, kw_only=True):
    conversations: list[Conversation]
    """In order of creation; of a page, in the order of their ids."""
    changed: dict[str, float | None]
    """By context id: when it last changed, in seconds since 1970 by the clock of the node that this came from."""
    stale: bool
    more: bool | UnsetType = UNSET
    """Of a page: whether others follow."""


class FoundText(Record, frozen=True, kw_only=True):
    """A question with what was looked for: in its own text, or in an answer; the best place in it."""

    context: str
    turn: int
    """0: it is in the name or the title of the conversation."""
    node: int | None
    """Whose answer it is in."""
    excerpt: list[str]
    """Pieces of the text, in order: every second one, from the second on, is what was looked for."""


class SearchResult(Result, frozen=True, kw_only=True):
    found: list[FoundText]
    more: bool
    """There are others."""
    stale: bool
    """No majority was reachable: there may be more."""
    left_out: int | UnsetType = UNSET
    """Conversations that are not searched, the oldest ones: a node indexes a bounded amount of text."""


class UseResult(Result, frozen=True, kw_only=True):
    context: str | None


class LogEntry(Record, frozen=True, kw_only=True):
    """One operation that was applied at this node."""

    position: int
    ballot: tuple[int, int, int] | None
    """Under which this node accepted it; null if it only learned the decision."""
    origin: int
    """The node that submitted it; with the next two, its name."""
    incarnation: int
    number: int
    at: float | None
    """When it was proposed, in seconds since 1970 by its proposer's clock."""
    command: str
    context: str | None
    turn: int | None
    node: int | None
    """The node whose answer it carries or chooses."""
    text: str
    """The beginning of its text."""
    error: str | None
    """Why it was refused."""


class LogResult(Result, frozen=True, kw_only=True):
    log: list[LogEntry]
    """The newest last."""
    kept: int
    """The most that are kept in memory."""


class ExplainResult(Result, frozen=True, kw_only=True):
    explain: bool


class ExportResult(Result, frozen=True, kw_only=True):
    context: str
    file: str
    """Its absolute path, at the node."""
    turns: int
    stale: bool


class ImportResult(Result, frozen=True, kw_only=True):
    context: str
    turns: int
    given_up: list[int]
    """The turns that were open when they were exported."""
    warning: str | UnsetType = UNSET
    """A quota is nearly used up."""


class BackupResult(Result, frozen=True, kw_only=True):
    file: str
    """Its absolute path, at the node."""
    conversations: int
    """How many."""
    position: int
    """Of the last operation that is in it."""
    stale: bool
    """No majority was reachable: there may be more than was written."""


class LevelResult(Result, frozen=True, kw_only=True):
    level: Literal["quiet", "normal", "verbose"]


class LlmStatus(Record, frozen=True, kw_only=True):
    """What the node asks of its LLM, since it started."""

    model: str
    in_flight: int
    waiting: int
    requests: int
    replies: int
    failures: int
    retries: int
    tokens_in: int
    tokens_out: int
    mean_s: float | None
    """Seconds until a reply."""


class QuotaUse(Record, frozen=True):
    used: int
    most: int | None
    """The quota; null if there is none."""


class QuotasRecord(Record, frozen=True, kw_only=True):
    """How much is in use, and how much may be. All but the last are decided, and the same at every node; as long as
    nobody has changed one, they come into force when half of one is used."""

    conversations: QuotaUse
    turns: QuotaUse
    """Of the conversation with the most."""
    bytes: QuotaUse
    """Of the largest conversation: of its texts, and 256 for each question and answer."""
    total: QuotaUse
    """The same of all conversations together."""
    bytes_per_minute: QuotaUse
    """What this node takes from its users (`limits.bytes_per_minute` in config.json)."""


class QuotasResult(Result, frozen=True, kw_only=True):
    quotas: QuotasRecord


class NodeStatus(Result, frozen=True, kw_only=True):
    """What a node can say of itself at any moment, at no cost."""

    node: int
    role: str
    leader: int | None
    ballot: tuple[int, int, int]
    decided: int
    applied: int
    queued: int
    """Operations of this node that are not applied yet."""
    standing: str
    """Whether it votes."""
    links: tuple[int, ...]
    """Peers with messages passing in both directions."""


class StatusResult(NodeStatus, frozen=True, kw_only=True):
    digest: str
    """Equal on two nodes exactly if their conversations are."""
    llm: LlmStatus | UnsetType = UNSET
    differs: tuple[int, ...] | UnsetType = UNSET
    """Nodes that applied the same operations, and were last seen to have other conversations."""
    lost: tuple[int, ...] | UnsetType = UNSET
    """Voters that have lost their disks, if so many have that no quorum can form."""
    notice: str | UnsetType = UNSET
    """What can be done about that, or what keeps the node from its work now."""
    quotas: QuotasRecord | UnsetType = UNSET


class MemberRecord(Record, frozen=True):
    node: int
    votes: bool
    """The members have decided to count its disk."""


class MembersResult(Result, frozen=True, kw_only=True):
    cluster: str
    """The id of the cluster."""
    number: int
    """Of the configuration: each change of the members is one more."""
    members: list[MemberRecord]
