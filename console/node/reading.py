"""Commands that show conversations, the log, and the node's status."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, TypeAlias

from api.node_commands import (
    LastCommand,
    LogCommand,
    MembersCommand,
    QuotasCommand,
    SearchCommand,
    StatusCommand,
    ViewallCommand,
    ViewCommand,
)
from api.node_results import (
    LastResult,
    LogResult,
    MembersResult,
    QuotasResult,
    SearchResult,
    StatusResult,
    ViewallResult,
    ViewResult,
)
from api.safe_text import one_line
from console import chat, render
from console.command_table import Entry, at_once, in_order
from console.node.executor import NodeExecutor, conversations, ready, submitted
from console.node.words import ALL_CANDIDATES, FULL, THOUGHTS, VOTES, whole
from console.usage import Usage
from kvstore.quotas import MAX_QUOTA
from server import conversations as carried_out
from server.session import Session


def _options(words: list[str], *known: str) -> tuple[list[str], set[str]]:
    """The words that are not options, and the options. Raises ValueError."""
    plain = [word for word in words if not word.startswith("--")]
    options = {word for word in words if word.startswith("--")}
    if options - set(known):
        raise _not_understood(words)
    return plain, options


def _not_understood(words: list[str]) -> ValueError:
    return ValueError(f"not understood: {one_line(' '.join(words))}")


def _parse_view(words: list[str]) -> ViewCommand:
    plain, options = _options(words, ALL_CANDIDATES, VOTES, THOUGHTS)
    if len(plain) != 1:
        raise _not_understood(words)
    return ViewCommand(plain[0], ALL_CANDIDATES in options, VOTES in options, THOUGHTS in options)


def _complete_view(executor: NodeExecutor, words: Sequence[str]) -> Iterable[str]:
    return [ALL_CANDIDATES, VOTES, THOUGHTS] if len(words) == 1 else conversations(executor, words)


VIEW = Entry[NodeExecutor, ViewCommand, ViewResult](
    Usage(
        "view", f"C [{ALL_CANDIDATES}] [{VOTES}] [{THOUGHTS}]", "show a conversation", "view c1", 1, 4, large=True,
        current=True,
        details="Shows the chosen answers, and every answer to an open question. After `use C`, C may be omitted.\n"
        f"{VOTES} shows how the nodes ranked the answers after `choose C auto`.\n"
        f"{THOUGHTS} shows what the LLMs thought before they answered, as far as they show it.",
    ),
    ViewCommand,
    in_order(lambda executor, command: executor.session.view(command)),
    _parse_view,
    lambda command, result, layout: chat.view(result, layout, command.all_candidates, command.votes),
    _complete_view,
)


LAST = Entry[NodeExecutor, LastCommand, LastResult](
    Usage(
        "last", "C", "show the last question of a conversation", "last c1", 1, 1, large=True, current=True,
        details="As `view`, without the earlier questions. After `use C`, C may be omitted.",
    ),
    LastCommand,
    in_order(lambda executor, command: executor.session.last(command)),
    view=lambda command, result, layout: chat.last(result, layout),
    complete=conversations,
)


def _parse_viewall(words: list[str]) -> ViewallCommand:
    plain, options = _options(words, FULL)
    if plain:
        raise _not_understood(words)
    return ViewallCommand(FULL in options)


VIEWALL = Entry[NodeExecutor, ViewallCommand, ViewallResult](
    Usage(
        "viewall", f"[{FULL}]", "show all conversations", "viewall", 0, 1, large=True,
        details=f"As a table, or in full with {FULL}. The time is that of the last change, by the clock "
        "of the node that made it.",
    ),
    ViewallCommand,
    in_order(lambda executor, command: executor.session.viewall(command)),
    _parse_viewall,
    lambda command, result, layout: chat.viewall(result, layout, command.full),
    lambda executor, words: () if words else [FULL],
)


SEARCH = Entry[NodeExecutor, SearchCommand, SearchResult](
    Usage(
        "search", "WORDS", "find questions and answers", "search majority quorum", 1, 1, text=True, large=True,
        details="In all conversations, their names and titles; a text has to have all the words, or words that begin "
        "with them, in any case. The best places come first.",
    ),
    SearchCommand,
    in_order(lambda executor, command: carried_out.search(executor.session, command)),
    view=lambda command, result, layout: chat.found(result, layout),
)


def _parse_log(words: list[str]) -> LogCommand:
    if not words:
        return LogCommand()
    count = whole(words[0], "number of operations")
    if count == 0:
        raise ValueError("N must be at least 1")
    return LogCommand(count)


async def _log(executor: NodeExecutor, command: LogCommand) -> LogResult:
    return executor.session.log(command)


LOG = Entry[NodeExecutor, LogCommand, LogResult](
    Usage(
        "log", "[N]", "the last N decided operations that this node applied", "log 20", 0, 1, large=True,
        about_protocol=True,
        details="From memory: at most 1000, without no-ops and duplicates. The ballot is that of the leadership "
        "under which this node accepted the operation, or \"learned\" if it only learned the decision. The time is "
        "when it was proposed, by the proposer's clock.",
    ),
    LogCommand,
    in_order(_log),
    _parse_log,
    lambda command, result, layout: render.log(result, layout),
)

CHANGES: tuple[Literal["add", "remove", "replace"], ...] = ("add", "remove", "replace")


def _parse_members(words: list[str]) -> MembersCommand:
    if not words:
        return MembersCommand()
    change = next((change for change in CHANGES if change == words[0].lower()), None)
    if change is None or len(words) != 2:
        raise _not_understood(words)
    return MembersCommand(change, whole(words[1], "number of a node"))


MEMBERS = Entry[NodeExecutor, MembersCommand, MembersResult](
    Usage(
        "members", "[add|remove|replace N]", "show or change who belongs to the cluster", "members add 4", 0, 2,
        about_protocol=True,
        details="What the members have decided counts, whatever the configuration file says. A node that is added must "
        "run already; one that is removed is told. `replace N`: the disk of node N, which is stopped, does not count "
        "any more, until N has come back, with whatever disk, and caught up.",
    ),
    MembersCommand,
    in_order(lambda executor, command: executor.session.members_of_cluster(command)),
    _parse_members,
    lambda command, result, layout: layout.text(render.members(result)),
    lambda executor, words: () if words else CHANGES,
)

Quota: TypeAlias = Literal["conversations", "turns", "bytes", "total"]
QUOTAS: tuple[Quota, ...] = ("conversations", "turns", "bytes", "total")


def _parse_quotas(words: list[str]) -> QuotasCommand:
    if not words:
        return QuotasCommand()
    quota = next((quota for quota in QUOTAS if quota == words[0].lower()), None)
    if quota is None or len(words) != 2:
        raise _not_understood(words)
    return QuotasCommand(quota, whole(words[1], "new value of the quota", len(str(MAX_QUOTA))))


QUOTA = Entry[NodeExecutor, QuotasCommand, QuotasResult](
    Usage(
        "quotas", "[conversations|turns|bytes|total N]", "show or change how large everything may grow",
        "quotas turns 20000", 0, 2,
        details="How many conversations the cluster may have, how many turns and bytes a conversation, how "
        "many bytes all of them together, and how many bytes a minute this node takes. All but the last are decided, "
        "for all nodes; what is larger than a new quota stays as it is. The last is `limits.bytes_per_minute` in the "
        "configuration.",
    ),
    QuotasCommand,
    submitted(Session.quotas),
    _parse_quotas,
    lambda command, result, layout: render.quotas(result.quotas, layout),
    lambda executor, words: () if words else QUOTAS,
)

STATUS = Entry[NodeExecutor, StatusCommand, StatusResult](
    Usage("status", "", "what this node knows about the cluster", "status", at_once=True, about_protocol=True),
    StatusCommand,
    at_once(lambda executor, command: ready(executor.session.status())),
    view=lambda command, result, layout: render.status(result, layout),
)
