"""The results of the operator's commands as text."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from api.base import builtins
from api.operator_results import HistoryResult, Link, LinkOverview, NodeAnswerResult, TextResult
from api.safe_text import one_line
from console.layout import Layout
from console.operator.status_table import LEGEND, Status, table
from orchestrator.link_quality import from_status, words

STATUS_CHARS = 400
MOST_LINKS = 4
"""The most failed links that the status line lists."""


def status_text(status: Status, layout: Layout) -> str:
    """The table, and the injected faults."""
    return "\n".join([table(status, layout), *(layout.text(line) for line in _faults(status))])


def panel(status: Status, layout: Layout) -> str:
    """`status` for the panel under the prompt: as short as possible."""
    return "\n".join([table(status, layout), layout.text("; ".join(_faults(status, links_too=False)), most=2)])


def status_line(status: Status, script: str | None, width: int | None = None) -> str:
    """The network at a glance; in a narrow window, in fewer words. `script` is the position of the running one."""
    up = [str(node.node) for node in status.nodes if node.up]
    faults = [f"failed links: {cut_words(status.links)}"] if status.links else []
    if len(status.links) > MOST_LINKS:
        faults = [f"{len(status.links)} links cut (both directions counted)"]
    faults += words(from_status(status))
    if status.own:
        faults.append(f"single links: {len(status.own)}")
    known = [f"up: {' '.join(up) or 'none'}", ", ".join(faults) or "no link faults"]
    line = " | ".join([*known, *([f"script: {script} (stop ends it)"] if script else [])])
    if width is not None and len(line) > width:
        line = "|".join([*known, *([f"script: {script}"] if script else [])])
    return one_line(line, width or STATUS_CHARS)


def _faults(status: Status, links_too: bool = True) -> Iterable[str]:
    if others := [str(node.node) for node in status.nodes if node.member is False]:
        yield f"no member: {', '.join(others)}"
    general = ", ".join(words(from_status(status)))
    if status.notice:
        yield status.notice
    if not (status.links or status.own or general):
        yield "no link faults"
    if status.links and links_too:
        yield f"failed links: {cut_words(status.links)}"
    if general:
        yield f"the other links: {general}" if status.own else f"all links: {general}"
    yield from _single(status.own)
    for timer in status.timers:
        yield f"{timer.fault}: {timer.ends_in_s:.0f} s left"
    if status.links or status.own or general:
        yield LEGEND


def _single(own: Sequence[LinkOverview]) -> Iterable[str]:
    """Single links, both directions in one where they are alike."""
    described = {(link.src, link.dst): ", ".join(words(from_status(link))) or "nothing" for link in own}
    for (a, b), what in described.items():
        if described.get((b, a)) == what:
            if a < b:
                yield f"{a} <-> {b}: {what}"
        else:
            yield f"{a} -> {b}: {what}"


def cut_words(links: Iterable[Link]) -> str:
    """`1 <-> 2` for a link that is cut in both directions, `1 -> 2` for one."""
    cut = sorted(links)
    both = [f"{a} <-> {b}" for a, b in cut if a < b and (b, a) in cut]
    one = [f"{a} -> {b}" for a, b in cut if (b, a) not in cut]
    return ", ".join(both + one)


def reset_text(result: TextResult, layout: Layout) -> str:
    """With the name that cannot be mistaken for `./run.sh reset`."""
    hint = "fixAll does the same under a clearer name; ./run.sh reset is another thing: it deletes all conversations"
    return "\n".join([layout.text(result.text), layout.dim(layout.text(hint))])


def history_text(history: HistoryResult, layout: Layout) -> str:
    if not history.entries:
        return "no fault has been set yet"
    rows = [
        (time.strftime("%H:%M:%S", time.localtime(entry.time)), f"+{entry.after_s:.1f} s", entry.what,
         "" if entry.by == "operator" else f"({entry.by})")
        for entry in history.entries
    ]
    return layout.table(("", "", "", ""), rows)


def node_text(answer: NodeAnswerResult, layout: Layout) -> str:
    """A short form of a node's answer to a user's command."""
    result = builtins(answer)
    node = f"node {result['node']}"
    if "text" in result:
        return layout.text(f"{node}: {result['text']}")
    if result.get("turns") == []:
        return f"{node}: {result['context']} exists, no questions yet"
    if "turns" in result:
        return "\n".join([f"{node}:", *_turns(result["turns"], layout)])
    if "conversations" in result:
        names = ", ".join(each["context"] for each in result["conversations"])
        return layout.text(f"{node}: {names or 'no conversations'}")
    if "role" in result:
        known = f"{result['role']}, leader {result['leader']}, ballot {result['ballot']}, applied {result['applied']}"
        return layout.text(f"{node}: {known}")
    return f"{node}: done"


def _turns(turns: Iterable[Mapping[str, Any]], layout: Layout) -> Iterable[str]:
    for turn in turns:
        chosen = turn["chosen"]
        answer = turn["candidates"].get(str(chosen), {}).get("text") if chosen is not None else None
        yield layout.text(f"? {turn['query']}", 2)
        yield layout.text(f"[{chosen}] {answer}" if answer else f"{_answers(turn)}, none chosen", 4, 4)


def _answers(turn: Mapping[str, Any]) -> str:
    failed = sum(response.get("text") is None for response in turn["candidates"].values())
    count = len(turn["candidates"]) - failed
    return f"{count} answer{'' if count == 1 else 's'}" + (f" ({failed} failed)" if failed else "")
