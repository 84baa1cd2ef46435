"""What a node's user may ask for."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from api.base import Command
from api.node_results import (
    AutoResult,
    BackupResult,
    CancelResult,
    ChooseResult,
    CreateResult,
    DeleteResult,
    ExplainResult,
    ExportResult,
    ForkResult,
    ImportResult,
    LastResult,
    LevelResult,
    LogResult,
    MembersResult,
    QueryResult,
    QuotasResult,
    RegenerateResult,
    RenameResult,
    RetryResult,
    SearchResult,
    StatusResult,
    SystemResult,
    TitleResult,
    UndeleteResult,
    UseResult,
    ViewallResult,
    ViewResult,
)


class CreateCommand(Command[CreateResult], frozen=True, tag="create"):
    """Begins a conversation."""

    context: str


class QueryCommand(Command[QueryResult], frozen=True, tag="query"):
    """Asks every node's LLM. With a `key`, a question is asked once in its conversation: who repeats it, at whatever
    node, gets the turn that there is."""

    context: str
    text: str
    key: str | UnsetType = UNSET


class AskCommand(Command[QueryResult], frozen=True, tag="ask"):
    """Asks the leader's LLM alone; with a `key` as in `query`."""

    context: str
    text: str
    key: str | UnsetType = UNSET


class ChooseCommand(Command[ChooseResult], frozen=True, tag="choose"):
    """Takes the answer of a node, or the synthesis, which is number 0; or has the nodes choose. With "synth", an LLM is
    asked for a synthesis, one answer out of those that are in: that of node `by`, or the leader's. An answer that the
    time limit cut is taken only with `cut`. Without a `turn`, the open one is meant. `created`, as `view` tells it,
    names a conversation that no later one of its name is taken for."""

    context: str
    node: int | Literal["auto", "synth"]
    cut: bool = False
    turn: int | UnsetType = UNSET
    created: int | UnsetType = UNSET
    by: int | UnsetType = UNSET


class CancelCommand(Command[CancelResult], frozen=True, tag="cancel"):
    """Gives up the open question; only that of this `turn`, if there is one. `created` as in `choose`."""

    context: str
    turn: int | UnsetType = UNSET
    created: int | UnsetType = UNSET


class RetryCommand(Command[RetryResult], frozen=True, tag="retry"):
    """Asks the open question again, all nodes or one. `created` as in `choose`."""

    context: str
    node: int | None = None
    created: int | UnsetType = UNSET


class RegenerateCommand(Command[RegenerateResult], frozen=True, tag="regenerate"):
    """Asks the leader for another answer to the last question, an `ask`; only to that of this `turn`, if there is one.
    `created` as in `choose`."""

    context: str
    turn: int | UnsetType = UNSET
    created: int | UnsetType = UNSET


class SystemCommand(Command[SystemResult], frozen=True, tag="system"):
    """What LLMs are told before the questions of this conversation. With a `text`, changes that for all nodes; an empty
    one takes it away."""

    context: str
    text: str | UnsetType = UNSET


class AutoCommand(Command[AutoResult], frozen=True, tag="auto"):
    """Whether the nodes choose by themselves in this conversation, as `choose` with "auto" would have them, as soon as
    all answers to a query are in. With `on`, changes that for all nodes."""

    context: str
    on: bool | UnsetType = UNSET


class TitleCommand(Command[TitleResult], frozen=True, tag="title"):
    """What users call this conversation, beside its context id. With a `text`, changes that for all nodes; an empty one
    takes it away."""

    context: str
    text: str | UnsetType = UNSET


class RenameCommand(Command[RenameResult], frozen=True, tag="rename"):
    """Gives a conversation another context id, which must be free; not while a question is open."""

    context: str
    name: str


class ForkCommand(Command[ForkResult], frozen=True, tag="fork"):
    """Begins another conversation, called `name`, with the turns of this one: up to `turn`, or all that are closed."""

    context: str
    name: str
    turn: int | UnsetType = UNSET


class DeleteCommand(Command[DeleteResult], frozen=True, tag="delete"):
    """Deletes a conversation, for everybody; only the one that was `created` at that position, if that is said. It is
    kept for a while, so that `undelete` can bring it back."""

    context: str
    created: int | UnsetType = UNSET


class UndeleteCommand(Command[UndeleteResult], frozen=True, tag="undelete"):
    """Brings back the conversation of this context id that was deleted last."""

    context: str


class ViewCommand(Command[ViewResult], frozen=True, tag="view"):
    """A conversation, up to date, with what the LLMs thought if `thoughts`. `all_candidates` and `votes` are about what
    people are shown."""

    context: str
    all_candidates: bool = False
    votes: bool = False
    thoughts: bool = False


class LastCommand(Command[LastResult], frozen=True, tag="last"):
    """The last turn of a conversation, up to date."""

    context: str


class ViewallCommand(Command[ViewallResult], frozen=True, tag="viewall"):
    """All conversations, up to date. People are shown a table, unless they want them in `full`. Programs may read them
    page by page: with `limit`, or `after` the context id that the page before ended with, they come in the order of
    their ids."""

    full: bool = False
    after: str | None = None
    limit: Annotated[int, Meta(ge=1)] | None = None


class SearchCommand(Command[SearchResult], frozen=True, tag="search"):
    """Where these words are in questions, answers, names and titles, up to date; the best places first. A text has to
    have all of them, or words that begin with them."""

    words: str
    limit: Annotated[int, Meta(ge=1, le=100)] = 20


class UseCommand(Command[UseResult], frozen=True, tag="use"):
    """Makes this the current conversation, which commands refer to if they name none; null ends that."""

    context: str | None = None


class LogCommand(Command[LogResult], frozen=True, tag="log"):
    """The last `count` decided operations that this node applied."""

    count: int = 10


class ExplainCommand(Command[ExplainResult], frozen=True, tag="explain"):
    """Has the node explain each step of the protocol, as events."""

    on: bool
    pane: bool = False
    """To the user at the node's own prompt, whoever asks for it: the network does."""


class ExportCommand(Command[ExportResult], frozen=True, tag="export"):
    """Writes a conversation to a .md or .json file of the node's machine; overwrites one only with `force`."""

    context: str
    file: str
    force: bool = False


class ImportCommand(Command[ImportResult], frozen=True, tag="import"):
    """Makes a conversation of an export, under another name if there is a `context`; with `chosen`, only the answers
    that were chosen come in."""

    file: str
    context: str | None = None
    chosen: bool = False


class BackupCommand(Command[BackupResult], frozen=True, tag="backup"):
    """Writes all conversations, up to date, to a file of the node's machine, from which `./run.sh restore` makes a new
    cluster; overwrites one only with `force`."""

    file: str
    force: bool = False


class QuietCommand(Command[LevelResult], frozen=True, tag="quiet"):
    """Reports only answers to this user's own questions, as events and as text."""


class NormalCommand(Command[LevelResult], frozen=True, tag="normal"):
    """Reports activity on other nodes, as text only briefly."""


class VerboseCommand(Command[LevelResult], frozen=True, tag="verbose"):
    """Reports all activity on other nodes, refused operations too."""


class MembersCommand(Command[MembersResult], frozen=True, tag="members"):
    """Who belongs to the cluster. With a `change` and a `node`, changes that: `add` takes a running node in, `remove`
    lets one go, `replace` does not count a stopped node's disk any more, until it or another one in its place has come
    back and caught up."""

    change: Literal["add", "remove", "replace"] | None = None
    node: int | None = None


class QuotasCommand(Command[QuotasResult], frozen=True, tag="quotas"):
    """What is in use of the quotas. With `quota` and `most`, changes that one for the whole cluster."""

    quota: Literal["conversations", "turns", "bytes", "total"] | None = None
    most: int | None = None


class StatusCommand(Command[StatusResult], frozen=True, tag="status"):
    """What this node knows of the cluster; answers at once."""
