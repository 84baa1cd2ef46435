"""Results and news for humans: calm, aligned, wrapped. Decides nothing; gets what the JSON form gets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from console.commands import Command, Result
from console.paper import Paper
from console.safe import one_line

STALE = "(possibly stale: no majority reachable)"
_EXCERPT = 4
_INDENT = 4


def plain_result(command: Command, result: Result, paper: Paper) -> str:
    """What fits any command: the error, a `text`, the table of help, or "ok"."""
    if not result.get("ok"):
        return error(result, paper)
    if "text" in result:
        return paper.text(str(result["text"]))
    if "commands" in result:
        return help_table(result, paper)
    return "ok"


def error(result: Result, paper: Paper) -> str:
    shown = paper.text(f"error: {result.get('error', 'no reason given')}")
    if result.get("stale"):
        shown += "\n" + STALE
    return "\n".join(paper.red(line) for line in shown.split("\n"))


def help_table(result: Result, paper: Paper) -> str:
    """All commands as a table; a single one with its example."""
    shown = paper.table(("", ""), [(entry["usage"], entry["help"]) for entry in result["commands"]])
    if len(result["commands"]) == 1:
        (only,) = result["commands"]
        if only["example"]:
            shown += "\n" + paper.text(f"for example: {only['example']}")
        if only.get("details"):
            shown += "\n" + paper.text(only["details"])
    return shown


def pairs(values: Mapping[str, Any], paper: Paper) -> str:
    """Keys and values, one pair a line."""
    return paper.table(("", ""), [(key, _plain(value)) for key, value in values.items()])


def status(result: Result, paper: Paper) -> str:
    return pairs({key: value for key, value in result.items() if key != "ok"}, paper)


def status_line(values: Mapping[str, Any]) -> str:
    """The one line under the prompt."""
    leader = values.get("leader")
    parts = [
        f"node {values.get('node', '?')}",
        f"leader {leader}" if leader else "no leader",
        *(f"{key} {values[key]}" for key in ("decided", "applied", "queued") if key in values),
    ]
    return one_line(" | ".join(parts), 200)


def view(result: Result, paper: Paper) -> str:
    """One conversation."""
    return "\n".join([*_conversation(result, paper), *_stale(result, paper)])


def viewall(result: Result, paper: Paper) -> str:
    """All conversations in order of creation."""
    lines: list[str] = []
    for conversation in result["conversations"]:
        lines += [*_conversation(conversation, paper), ""]
    if not lines:
        lines = ["no conversations yet: create c1 makes one", ""]
    return "\n".join([*lines[:-1], *_stale(result, paper)])


def choices(context: str, turn: Mapping[str, Any], paper: Paper) -> str:
    """The answers of an open turn, shortened, with what to type next."""
    lines = [paper.bold(f"{context}: all answers are in")]
    for node, candidate in turn["candidates"].items():
        lines += _candidate(node, candidate, paper, most=_EXCERPT)
    lines.append(f"choose {context} N takes one, view {context} shows them whole")
    return "\n".join(lines)


def answer(context: str, node: int, candidate: Mapping[str, Any], paper: Paper, most: int = 40) -> str:
    """The leader's answer to an `ask`."""
    return "\n".join([paper.bold(f"{context}: answer"), *_candidate(node, candidate, paper, most=most)])


def _conversation(conversation: Mapping[str, Any], paper: Paper) -> Iterable[str]:
    turns = conversation["turns"]
    count = "no questions yet" if not turns else f"{len(turns)} question{'s' if len(turns) > 1 else ''}"
    yield f"{paper.bold(conversation['context'])}  {paper.dim(count)}"
    for number, turn in enumerate(turns, 1):
        yield from _turn(conversation["context"], number, turn, paper)


def _turn(context: str, number: int, turn: Mapping[str, Any], paper: Paper) -> Iterable[str]:
    question = paper.text(turn["query"], _INDENT).split("\n")
    question[0] = f"{number}.".ljust(_INDENT) + question[0].lstrip()
    yield from (paper.bold(line) for line in question)
    chosen = turn["chosen"]
    if chosen is None and not turn["cancelled"]:
        for node, candidate in turn["candidates"].items():
            yield from _candidate(node, candidate, paper)
        yield " " * _INDENT + paper.dim(_next_step(context, turn))
        return
    for node, candidate in turn["candidates"].items():
        if int(node) == chosen:
            yield from _candidate(node, candidate, paper, mark="chosen")
        else:
            yield " " * _INDENT + paper.dim(f"{_label(node, candidate)}: {one_line(_words(candidate), 60)}")
    if turn["cancelled"]:
        yield " " * _INDENT + paper.dim("given up")


def _next_step(context: str, turn: Mapping[str, Any]) -> str:
    if turn["kind"] == "ask":
        return "waiting for the leader's answer"
    if any(candidate.get("text") is not None for candidate in turn["candidates"].values()):
        return f"open: choose {context} N takes one of these"
    return "waiting for answers"


def _candidate(
    node: str | int, candidate: Mapping[str, Any], paper: Paper, mark: str = "", most: int | None = None
) -> Iterable[str]:
    label = _label(node, candidate)
    yield " " * _INDENT + (paper.green(f"{label}  {mark}") if mark else paper.dim(label))
    body = paper.text(_words(candidate), 2 * _INDENT, most)
    yield body if candidate.get("error") is None else "\n".join(paper.red(line) for line in body.split("\n"))


def _label(node: str | int, candidate: Mapping[str, Any]) -> str:
    parts = [f"[{node}]", one_line(candidate.get("model") or ""), f"{candidate.get('seconds', 0):.1f} s"]
    return " ".join(part for part in parts if part)


def _words(candidate: Mapping[str, Any]) -> str:
    failure = candidate.get("error")
    return str(candidate.get("text")) if failure is None else f"no answer: {failure}"


def _stale(result: Result, paper: Paper) -> list[str]:
    return [paper.red(STALE)] if result.get("stale") else []


def _plain(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_plain(inner)}" for key, inner in value.items()) or "-"
    if isinstance(value, (list, tuple, set, frozenset)):
        return ", ".join(_plain(inner) for inner in value) or "-"
    return str(value)
