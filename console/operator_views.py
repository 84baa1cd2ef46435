"""The operator's results and events for humans."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import msgspec

from console import Command, Layout, Result, Text
from console.status_table import LEGEND, table
from net.relay.faults import Link


def show(command: Command, result: Result, paper: Layout) -> str | None:
    """None for a result that is shown as its `text`."""
    if not result.get("ok"):
        return None
    match command.name:
        case "status":
            return status_text(result, paper)
        case "log":
            return log_text(result, paper)
        case "node":
            return node_text(result, paper)
    return None


def status_text(result: Result, paper: Layout) -> str:
    """The table, and what is wrong on purpose."""
    return "\n".join([table(result, paper), *(paper.text(line) for line in _faults(result))])


def panel(result: Result, paper: Layout) -> str:
    """`status` for the place under the prompt: as short as it can be."""
    return "\n".join([table(result, paper), paper.text("; ".join(_faults(result, links_too=False)), most=2)])


def _faults(result: Result, links_too: bool = True) -> Iterable[str]:
    links = [(a, b) for a, b in result["links"]]
    own = result["own"]
    general = _disturbances(result)
    if not (links or own or general):
        yield "no faults of links"
    if links and links_too:
        yield f"failed links: {cut_words(links)}"
    if general:
        yield f"all links: {general}" if not own else f"the other links: {general}"
    yield from _single(own)
    for timer in result["timers"]:
        yield f"{timer['fault']}: {timer['ends_in_s']:.0f} s left"
    if links or own or general:
        yield LEGEND


def _single(own: list[Result]) -> Iterable[str]:
    """Single links, both directions in one where they are alike."""
    words = {(link["from"], link["to"]): _disturbances(link) or "nothing" for link in own}
    for (a, b), what in words.items():
        if words.get((b, a)) == what:
            if a < b:
                yield f"{a} <-> {b}: {what}"
        else:
            yield f"{a} -> {b}: {what}"


def _disturbances(of: Mapping[str, Any]) -> str:
    words = []
    if of["delay_ms"] or of["jitter_ms"]:
        words.append(f"delay {of['delay_ms']:g}" + (f" + {of['jitter_ms']:g}" if of["jitter_ms"] else "") + " ms")
    rates = {name: of[f"{name}_percent"] for name in ("loss", "duplicate", "reorder")}
    words += [f"{name} {percent:g} %" for name, percent in rates.items() if percent]
    return ", ".join(words)


def log_text(result: Result, paper: Layout) -> str:
    entries = result["entries"]
    if not entries:
        return "no fault was set yet"
    rows = [
        (time.strftime("%H:%M:%S", time.localtime(entry["time"])), f"+{entry['after_s']:.1f} s", entry["what"],
         "" if entry["by"] == "operator" else f"({entry['by']})")
        for entry in entries
    ]
    return paper.table(("", "", "", ""), rows)


def node_text(result: Result, paper: Layout) -> str:
    """A node's answer to a user's command, in a few words."""
    node = f"node {result['node']}"
    if "text" in result:
        return paper.text(f"{node}: {result['text']}")
    if result.get("turns") == []:
        return f"{node}: {result['context']} is there, without a question so far"
    if "turns" in result:
        return "\n".join([f"{node}:", *_turns(result, paper)])
    if "conversations" in result:
        names = ", ".join(each["context"] for each in result["conversations"])
        return paper.text(f"{node}: {names or 'no conversations'}")
    if "role" in result:
        words = f"{result['role']}, leader {result['leader']}, ballot {result['ballot']}, applied {result['applied']}"
        return paper.text(f"{node}: {words}")
    return f"{node}: done"


def _turns(result: Result, paper: Layout) -> Iterable[str]:
    for turn in result["turns"]:
        chosen = turn["chosen"]
        answer = turn["candidates"].get(str(chosen), {}).get("text") if chosen is not None else None
        yield paper.text(f"? {turn['query']}", 2)
        yield paper.text(f"[{chosen}] {answer}" if answer else f"{_answers(turn)}, none chosen", 4, 4)


def _answers(turn: Result) -> str:
    failed = sum(response.get("text") is None for response in turn["candidates"].values())
    count = len(turn["candidates"]) - failed
    return f"{count} answer{'' if count == 1 else 's'}" + (f" ({failed} failed)" if failed else "")


def event_text(event: Mapping[str, Any]) -> Text:
    """For humans; None for an event that they need not see."""
    match event["event"]:
        case "node_up":
            return f"node {event['node']} is up"
        case "node_down":
            return f"node {event['node']} is down"
        case "refused":
            address = event.get("address")
            return f"refused{f' ({address})' if address else ''}: {event['reason']}"
        case "fault_over" | "node_answer":
            return str(event["text"])
        case "status":
            return partial(status_text, dict(event))
        case "step":
            return None if event["name"] in ("say", "sleep") else f"> {event['command']}"
        case "step_result":
            return partial(_step_text, dict(event))
    return None


_STEP = "  "
"""Before each line of what a step of a script answers."""


def _step_text(event: Result, paper: Layout) -> str:
    if event["name"] == "sleep" or not event["ok"]:
        return ""  # of a failure the script's own result tells
    if event["name"] == "say":
        return "\n".join(paper.bold(line) for line in paper.text(str(event["text"])).split("\n"))
    if paper.width is not None:
        paper = msgspec.structs.replace(paper, width=paper.width - len(_STEP))
    shown = show(Command(event["line"], event["name"]), event, paper)
    text = paper.text(str(event.get("text", ""))) if shown is None else shown
    return "\n".join(f"{_STEP}{line}" for line in text.split("\n"))


def cut_words(cut: Iterable[Link]) -> str:
    """`1 <-> 2` for a link that is cut in both directions, `1 -> 2` for one."""
    cut = sorted(cut)
    both = [f"{a} <-> {b}" for a, b in cut if a < b and (b, a) in cut]
    one = [f"{a} -> {b}" for a, b in cut if (b, a) not in cut]
    return ", ".join(both + one)
