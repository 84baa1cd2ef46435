"""Conversations for humans: as a chat, as a table, and the answers to choose from."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

from api.safe_text import one_line
from console.layout import Layout
from console.usage import Result

STALE = "(possibly stale: no majority reachable)"
_EXCERPT = 4
"""Lines of an answer that is to be chosen from."""
_AROUND = 5
"""Lines of a screen that are not for answers: head, hint, prompt, status line, and one to spare."""
_INDENT = 4
_QUESTION = 60
"""Characters of a question in the table."""


def view(result: Result, paper: Layout, all_candidates: bool = False, votes: bool = False) -> str:
    """One conversation: what was chosen, and all answers to an open question; on demand all answers to all, and how
    the nodes ranked them."""
    return "\n".join([*_conversation(result, paper, all_candidates, votes), *stale(result, paper)])


def viewall(result: Result, paper: Layout, full: bool = False) -> str:
    """All conversations in order of creation: a table, or each of them in full."""
    conversations = result["conversations"]
    if not conversations:
        return "\n".join(["no conversations yet: create c1 makes one", *stale(result, paper)])
    if full:
        shown = ["\n".join(_conversation(conversation, paper, True)) for conversation in conversations]
        return "\n".join(["\n\n".join(shown), *stale(result, paper)])
    changed = result.get("changed", {})
    head = ("conversation", "turns", "last question", "state", "changed")
    rows = [_row(conversation, changed.get(conversation["context"])) for conversation in conversations]
    return "\n".join([paper.table(head, rows), *stale(result, paper)])


def choices(context: str, turn: Mapping[str, Any], paper: Layout) -> str:
    """The answers of an open turn, shortened, with what to type next."""
    lines = [paper.bold(f"{context}: all answers are in")]
    candidates = turn["candidates"]
    each = _EXCERPT + 1 if paper.height is None else (paper.height - _AROUND) // max(len(candidates), 1)
    for node, candidate in candidates.items():
        if each > 1:
            most = min(each - 1, _EXCERPT)
            lines += _candidate(node, _dense(candidate, " " if most == 1 else "\n"), paper, most=most)
        else:
            said = candidate.get("text") or f"no answer: {candidate.get('error')}"
            lines.append(paper.text(f"[{node}] {one_line(said, 200)}", _INDENT, most=1))
    lines.append(paper.text(f"choose {context} N takes one, view {context} shows them whole"))
    return "\n".join(lines)


def _dense(candidate: Mapping[str, Any], joint: str) -> Mapping[str, Any]:
    """Without empty lines: an excerpt has none to spare. `joint` stands between the others."""
    text = candidate.get("text")
    if text is None:
        return candidate
    return {**candidate, "text": joint.join(line for line in str(text).split("\n") if line.strip())}


def answer(context: str, node: int, candidate: Mapping[str, Any], paper: Layout, most: int = 40) -> str:
    """The leader's answer to an `ask`."""
    return "\n".join([paper.bold(f"{context}: answer"), *_candidate(node, candidate, paper, most=most)])


def elected(context: str, node: int, turn: Mapping[str, Any], paper: Layout) -> str:
    """The answer that the nodes chose."""
    head = paper.bold(f"{context}: the nodes chose node {node}'s answer")
    return "\n".join([head, *_votes(turn["poll"], paper), *_candidate(node, turn["candidates"][str(node)], paper)])


def stale(result: Result, paper: Layout) -> list[str]:
    return [paper.red(STALE)] if result.get("stale") else []


def moment(at: float | None) -> str:
    """A time in seconds since 1970 as people say it: the date only if it is not today's."""
    if at is None:
        return "-"
    when = time.localtime(at)
    today = time.localtime()
    same_day = (when.tm_year, when.tm_yday) == (today.tm_year, today.tm_yday)
    return time.strftime("%H:%M:%S" if same_day else "%Y-%m-%d %H:%M:%S", when)


def _row(conversation: Mapping[str, Any], changed: float | None) -> tuple[str, str, str, str, str]:
    turns = conversation["turns"]
    last = turns[-1] if turns else None
    question = "-" if last is None else one_line(last["query"], _QUESTION)
    return conversation["context"], str(len(turns)), question, _state(last), moment(changed)


def _state(turn: Mapping[str, Any] | None) -> str:
    if turn is None:
        return "empty"
    if turn["chosen"] is not None:
        return f"node {turn['chosen']} chosen"
    if turn["cancelled"]:
        return "given up"
    answers = sum(candidate.get("text") is not None for candidate in turn["candidates"].values())
    return f"open, {answers} answer{'' if answers == 1 else 's'}"


def _conversation(
    conversation: Mapping[str, Any], paper: Layout, all_candidates: bool, votes: bool = False
) -> Iterable[str]:
    turns = conversation["turns"]
    count = "no questions yet" if not turns else f"{len(turns)} question{'s' if len(turns) > 1 else ''}"
    yield f"{paper.bold(conversation['context'])}  {paper.dim(count)}"
    for number, turn in enumerate(turns, 1):
        yield from _turn(conversation["context"], number, turn, paper, all_candidates)
        if votes and "poll" in turn:
            yield from _votes(turn["poll"], paper)


def _turn(
    context: str, number: int, turn: Mapping[str, Any], paper: Layout, all_candidates: bool
) -> Iterable[str]:
    question = paper.text(turn["query"], _INDENT).split("\n")
    question[0] = f"{number}.".ljust(_INDENT) + question[0].lstrip()
    yield from (paper.bold(line) for line in question)
    chosen, candidates = turn["chosen"], turn["candidates"]
    is_open = chosen is None and not turn["cancelled"]
    whole = candidates if all_candidates or is_open else {n: said for n, said in candidates.items() if int(n) == chosen}
    for node, candidate in whole.items():
        yield from _candidate(node, candidate, paper, mark="chosen" if int(node) == chosen else "")
    if len(whole) < len(candidates):
        yield paper.dim(paper.text(_others(candidates, chosen), _INDENT))
    if is_open:
        yield paper.dim(paper.text(_next_step(context, turn), _INDENT))
    elif chosen is None:
        yield " " * _INDENT + paper.dim("given up")


def _votes(poll: Mapping[str, Any], paper: Layout) -> Iterable[str]:
    """The points, then who preferred what."""
    best = sorted(poll["points"].items(), key=lambda item: (-item[1], int(item[0])))
    points = ", ".join(f"node {node}: {points}" for node, points in best)
    yield paper.text(("votes so far: " if poll["open"] else "points: ") + points, _INDENT)
    for node, vote in poll["votes"].items():
        abstains = f"abstains: {vote.get('error')}"
        said = abstains if "error" in vote else " > ".join(map(str, vote["order"]))
        yield paper.dim(paper.text(f"{_voter(node, vote)}: {said}", 2 * _INDENT))


def _voter(node: str, vote: Mapping[str, Any]) -> str:
    return " ".join(filter(None, (f"[{node}]", one_line(vote.get("model") or "", 40))))


def _others(candidates: Mapping[str, Any], chosen: int | None) -> str:
    """Who else answered, on a line."""
    said = [node for node, candidate in candidates.items() if candidate.get("error") is None and int(node) != chosen]
    failed = [node for node, candidate in candidates.items() if candidate.get("error") is not None]
    groups = (("other answers", said), ("failures", failed))
    return "; ".join(f"{what} of {', '.join(nodes)}" for what, nodes in groups if nodes)


def _next_step(context: str, turn: Mapping[str, Any]) -> str:
    if turn["kind"] == "ask":
        return "waiting for the leader's answer"
    if any(candidate.get("text") is not None for candidate in turn["candidates"].values()):
        return f"open: choose {context} N takes one of these"
    return "waiting for answers"


def _candidate(
    node: str | int, candidate: Mapping[str, Any], paper: Layout, mark: str = "", most: int | None = None
) -> Iterable[str]:
    label = _label(node, candidate)
    for line in paper.text(f"{label}  {mark}" if mark else label, _INDENT).split("\n"):
        yield " " * _INDENT + (paper.green if mark else paper.dim)(line[_INDENT:])
    if candidate.get("error") is not None:
        yield paper.red(paper.text(f"no answer: {candidate['error']}", 2 * _INDENT, most))
    else:
        yield paper.markdown(str(candidate.get("text")), 2 * _INDENT, most)


def _label(node: str | int, candidate: Mapping[str, Any]) -> str:
    parts = [f"[{node}]", one_line(candidate.get("model") or "", 40), f"{candidate.get('seconds', 0):.1f} s"]
    if "before" in candidate:
        parts.append(f"(the model saw the last {candidate['seen']} of {candidate['before']} turns)")
    return " ".join(part for part in parts if part)
