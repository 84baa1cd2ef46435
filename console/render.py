"""Results and news for humans: calm, aligned, wrapped. Decides nothing; gets what the JSON form gets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from api.safe_text import one_line
from console.chat import STALE, answer, choices, elected, moment, view, viewall
from console.layout import Layout
from console.usage import Command, Result

__all__ = [
    "STALE", "answer", "choices", "elected", "error", "help_table", "log", "pairs", "plain_result", "status",
    "status_line", "view", "viewall",
]


def plain_result(command: Command, result: Result, paper: Layout) -> str:
    """What fits any command: the error, a `text`, the table of help, or "ok"."""
    if not result.get("ok"):
        return error(result, paper)
    if "text" in result:
        return paper.text(str(result["text"]))
    if "commands" in result:
        return help_table(result, paper)
    return "ok"


def error(result: Result, paper: Layout) -> str:
    shown = paper.text(f"error: {result.get('error', 'no reason given')}")
    return paper.red(shown + "\n" + STALE if result.get("stale") else shown)


def help_table(result: Result, paper: Layout) -> str:
    """All commands as a table; a single one with its example and what else there is to know."""
    shown = paper.table(("", ""), [(entry["usage"], entry["help"]) for entry in result["commands"]])
    if len(result["commands"]) == 1:
        (only,) = result["commands"]
        if only["example"]:
            shown += "\n" + paper.text(f"for example: {only['example']}")
        if only.get("details"):
            shown += "\n" + paper.text(only["details"])
    else:
        shown += "\n" + paper.dim("help COMMAND tells more")
    return shown


def pairs(values: Mapping[str, Any], paper: Layout) -> str:
    """Keys and values, one pair a line."""
    return paper.table(("", ""), [(key, _plain(value)) for key, value in values.items()])


def status(result: Result, paper: Layout) -> str:
    shown = {key: value for key, value in result.items() if key != "ok"}
    if isinstance(shown.get("ballot"), list):
        shown["ballot"] = _ballot(shown["ballot"])
    return pairs(shown, paper)


def status_line(values: Mapping[str, Any], width: int | None = None) -> str:
    """The one line under a node's prompt; in a narrow window, in fewer words."""
    leader, links, llm = values.get("leader"), values.get("links"), values.get("llm", {}).get("in_flight")
    ballot = _ballot(values["ballot"]) if "ballot" in values else ""
    ballot = "" if ballot == "-" else ballot
    decided, applied, queued = (values.get(key, "?") for key in ("decided", "applied", "queued"))
    peers = f"/{values['nodes'] - 1}" if "nodes" in values else ""
    node, role = values.get("node", "?"), values.get("role", "?")
    long = [
        f"node {node} {role}", f"leader {leader}" if leader else "no leader", ballot,
        f"decided {decided} applied {applied}", f"queue {queued}",
        f"links {len(links)}{peers}" if links is not None else "",
        f"LLM {llm} in flight" if llm is not None else "",
    ]
    medium = [
        *long[:3], f"applied {applied} of {decided}", *long[4:6], f"LLM {llm}" if llm is not None else "",
    ]
    short = [
        f"{node} {role}", long[1], ballot, f"{decided}/{applied}", f"q{queued}",
        f"links {len(links)}" if links is not None else "", f"LLM {llm}" if llm is not None else "",
    ]
    forms = [" | ".join(filter(None, long)), " | ".join(filter(None, medium)), "|".join(filter(None, short))]
    fitting = (form for form in forms if width is None or len(form) <= width)
    return one_line(next(fitting, forms[-1]), width or 200)


def log(result: Result, paper: Layout) -> str:
    """The last decided operations as a table."""
    if not result["log"]:
        return "nothing has been applied here yet"
    head = ("position", "ballot", "by", "when", "operation")
    return paper.table(head, [_decided(entry) for entry in result["log"]], rigid=4)


def _decided(entry: Mapping[str, Any]) -> tuple[str, ...]:
    ballot = "learned" if entry["ballot"] is None else _ballot(entry["ballot"])
    words = [entry["command"], entry["context"] or ""]
    if entry["node"] is not None:
        words.append(f"node {entry['node']}")
    if entry["error"] is not None:
        words.append(f"- refused: {one_line(entry['error'], 60)}")
    elif entry["text"]:
        words.append("- " + one_line(entry["text"], 60))
    return str(entry["position"]), ballot, f"node {entry['origin']}", moment(entry["at"]), " ".join(filter(None, words))


def _ballot(numbers: Sequence[int]) -> str:
    """A node that has heard of no leadership yet, or follows none, has no ballot."""
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
