"""Results as text, aligned and wrapped. Decides nothing; gets the same data as the JSON form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from api.base import builtins
from api.node_results import (
    LogEntry,
    LogResult,
    MembersResult,
    NodeStatus,
    QuotasRecord,
    QuotaUse,
    StatusResult,
)
from api.safe_text import one_line
from console.chat import TABLE_WIDTH, moment
from console.layout import Layout


def pairs(values: Mapping[str, Any], layout: Layout) -> str:
    """Keys and values, one pair per line."""
    return layout.table(("", ""), [(key, _plain(value)) for key, value in values.items()])


def status(result: NodeStatus, layout: Layout) -> str:
    shown = {key: value for key, value in builtins(result).items() if key != "ok"}
    shown["ballot"] = ballot(result.ballot)
    if isinstance(result, StatusResult) and isinstance(result.quotas, QuotasRecord):
        shown["quotas"] = {name: _used(getattr(result.quotas, name)) for name in result.quotas.__struct_fields__}
    return pairs(shown, layout)


def quotas(record: QuotasRecord, layout: Layout) -> str:
    """One quota per line: how much is in use of how much."""
    meanings = {
        "conversations": "conversations", "turns": "turns of the longest conversation",
        "bytes": "bytes of the largest conversation", "bytes_per_minute": "bytes in this minute, at this node",
    }
    return layout.table(("", ""), [(words, _used(getattr(record, name))) for name, words in meanings.items()])


def _used(use: QuotaUse) -> str:
    return f"{use.used}, no quota" if use.most is None else f"{use.used} of {use.most}"


def members(result: MembersResult) -> str:
    named = [f"{member.node}" if member.votes else f"{member.node} (no disk known yet)" for member in result.members]
    return f"cluster {result.cluster}, configuration {result.number}: nodes {', '.join(named)}"


def status_line(status: NodeStatus, nodes: int, in_flight: int | None, width: int | None = None) -> str:
    """The one line under the prompt of a node, one of `nodes`, with so many requests to its LLM in flight; in a narrow
    window, in fewer words, and without the last ones where not even these fit."""
    own_ballot = ballot(status.ballot).strip("-")
    leader = f"leader {status.leader}" if status.leader else "no leader"
    links = f"links {len(status.links)}"
    long = [
        f"node {status.node} {status.role}", leader, own_ballot, f"decided {status.decided} applied {status.applied}",
        f"queue {status.queued}", f"{links}/{nodes - 1}", "" if in_flight is None else f"LLM {in_flight} in flight",
    ]
    short_llm = "" if in_flight is None else f"LLM {in_flight}"
    medium = [*long[:3], f"applied {status.applied} of {status.decided}", *long[4:6], short_llm]
    short = [
        f"{status.node} {status.role}", leader, own_ballot, f"{status.decided}/{status.applied}", f"q{status.queued}",
        links, short_llm,
    ]
    forms = [
        " | ".join(filter(None, long)), " | ".join(filter(None, medium)),
        *("|".join(filter(None, short[:count])) for count in range(len(short), 0, -1)),
    ]
    fitting = (form for form in forms if width is None or len(form) <= width)
    return one_line(next(fitting, forms[-1]), width or 200)


def log(result: LogResult, layout: Layout) -> str:
    """The last decided operations as a table: in a narrow window only their positions, and what they are."""
    if not result.log:
        return "nothing has been applied yet"
    head = ("position", "ballot", "by", "when", "operation")
    rows = [_operation(entry) for entry in result.log]
    if layout.width is not None and layout.width < TABLE_WIDTH:
        return layout.table((head[0], head[-1]), [(row[0], row[-1]) for row in rows], rigid=1)
    return layout.table(head, rows, rigid=4)


def _operation(entry: LogEntry) -> Sequence[str]:
    accepted = "learned" if entry.ballot is None else ballot(entry.ballot)
    words = [entry.command, entry.context or ""]
    if entry.node is not None:
        words.append(f"node {entry.node}")
    if entry.error is not None:
        words.append(f"- refused: {one_line(entry.error, 60)}")
    elif entry.text:
        words.append("- " + one_line(entry.text, 60))
    by = f"node {entry.origin}"
    return str(entry.position), accepted, by, moment(entry.at), " ".join(filter(None, words))


def ballot(numbers: Sequence[int]) -> str:
    """A node that knows of no leadership yet, or follows none, has no ballot."""
    if not numbers[0]:
        return "-"
    return "<" + ",".join(map(str, numbers)) + ">"


def _plain(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_plain(inner)}" for key, inner in value.items()) or "-"
    if isinstance(value, (list, tuple, set, frozenset)):
        return ", ".join(_plain(inner) for inner in value) or "-"
    return str(value)
