"""What of a session must stay as it was recorded: the comparison that tells a contract from a coincidence.

Every record is reduced to a text of JSON: its keys stay, in their order, as do the values that a user's script may
rely on. What may differ from run to run, and sentences for people, become a word in <> that tells the value's type.
"""

from __future__ import annotations

import difflib
import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import Any

Record = dict[str, Any]

SENTENCES = frozenset({"details", "error", "example", "help", "llm", "reason", "text", "usage", "warnings"})
"""Keys whose value is for people to read: it must be there, but its wording may be improved. (`llm` is a sentence in
`ready` and a mapping of sentences in --check-config; in `status` it is a mapping that is compared.)"""

VARYING = frozenset({
    # times
    "after_s", "at", "changed", "ends_in_s", "mean_s", "seconds", "time",
    # whether nobody was too busy to confirm a read within two seconds
    "stale",
    # how far the cluster is, and who brought it there
    "applied", "ballot", "decided", "digest", "have", "incarnation", "position", "queued", "role",
    # traffic and work
    "bytes_in", "bytes_in_per_s", "bytes_out", "bytes_out_per_s", "dropped", "failures", "frames_in", "frames_in_per_s",
    "frames_out", "frames_out_per_s", "in_flight", "replies", "requests", "retries", "tokens", "tokens_in",
    "tokens_out", "waiting",
    # where it runs
    "orchestrator", "port",
})
"""Keys whose value depends on timing or place: only its type is compared."""

UNSETTLED = frozenset({"ballot", "leader", "mean_s"})
"""Keys whose value may be null besides, for as long as nobody leads or nothing was measured."""

BY_TIMING = frozenset({"connected", "disconnected", "explain", "leader", "progress", "waiting"})
"""Kinds of events of which only the keys are compared: how many come, and with which values, is a matter of timing. A
slow machine may add one to a session that was recorded without; its keys are then compared with another session's."""


COMMANDS = frozenset({
    "failLink", "fixLink", "failNode", "fixNode", "pauseNode", "resumeNode", "isolate", "partition", "heal",
    "delay", "loss", "dup", "duplicate", "reorder", "seed", "reset", "status", "watch", "log", "script", "stop",
    "wait", "sleep", "say", "node", "load", "help", "exit", "create", "query", "choose", "ask", "cancel",
    "retry", "view", "viewall", "use", "explain", "export", "import", "quiet", "normal", "verbose",
})
"""Those of release 0.1.0; `help` may list others besides."""


ADDED = frozenset({"created", "quotas", "usage", "agreement", "asking"})
"""Keys that release 0.1.0 did not have, and that a record may have besides."""


def shape(record: Record, moving: Collection[str] = ()) -> str:
    """A record as far as it is compared; the values of the keys `moving` are left out of account besides."""
    return json.dumps(_settled(record, moving), ensure_ascii=False, indent=1)


def _settled(record: Record, also: Collection[str] = ()) -> Record:
    moving = {*also, *_moving(record)}
    quoted = {"text"} if record.get("event") in ("query", "ask") else set()  # the user's own words
    return {
        key: _inside(value) if key in quoted else _value(key, value, moving)
        for key, value in record.items() if key not in ADDED and key not in _added(record)
    }


def _added(record: Record) -> Collection[str]:
    """Keys that only records of this kind did not have."""
    if "seconds" in record:  # what an LLM said
        return {"tokens_in", "tokens_out", *(("have", "of") if record.get("event") == "answer" else ())}
    return {"details"} if record.get("name") == "help" else ()  # it explains words, too


def _moving(record: Record) -> Iterable[str]:
    """Keys that vary in a record of this kind only."""
    if "incarnation" in record:  # a decided operation: a node's own ones are counted, its LLM's among them
        yield "number"
    if "role" in record:  # a node's account of itself: whom it hears
        yield "links"
    if "poll" in record or record.get("command") == "elect":  # whoever leads ends a poll
        yield "origin"
    if "answer" in (record.get("event"), record.get("command")):  # whoever leads answers what is asked
        yield from ("node", "origin")
    if record.get("kind") == "ask":
        yield "chosen"


def _value(key: str, value: Any, moving: Collection[str]) -> Any:
    if key in UNSETTLED:
        return "<unsettled>"
    if key in moving or key in VARYING:
        return _type(value)
    if key in SENTENCES and _is_wording(value):
        return [_type(item) for item in value] if isinstance(value, list) else _type(value)
    if key == "log":
        return sorted((_settled(entry) for entry in value), key=json.dumps)  # LLMs answer in any order
    if key == "commands":
        return [_settled(command) for command in value if command["name"] in COMMANDS - _others(value)]
    if key == "candidates" and "chosen" in moving:
        return [_settled(answer) for answer in value.values()]  # by the leader's number
    return _inside(value)


def _others(listed: list[Record]) -> frozenset[str]:
    """What release 0.1.0 had at the prompt of a node only, where these are the network's commands."""
    return frozenset({"explain"} if any(command["name"] == "failNode" for command in listed) else ())


def _inside(value: Any) -> Any:
    if isinstance(value, dict):
        return _settled(value)
    return [_inside(item) for item in value] if isinstance(value, list) else value


def _is_wording(value: Any) -> bool:
    """A sentence, or nothing but sentences."""
    if isinstance(value, (dict, list)):
        return all(isinstance(item, str) for item in (value.values() if isinstance(value, dict) else value))
    return isinstance(value, str)


def _type(value: Any) -> Any:
    """What stands for a value. A sentence that says nothing is not the same as one that does."""
    match value:
        case dict():
            return {key: _type(item) for key, item in value.items()}
        case list():
            return "<list>"
        case str():
            return "<text>" if value.strip() else "<blank>"
        case None:
            return None
    return f"<{type(value).__name__}>"


def results(printed: Iterable[Record], typed: Sequence[str], by_the_leader: Collection[str]) -> list[str]:
    """The results among the lines that were printed, in their order, each below the line that it answers."""
    answered = [(typed[record["line"] - 1], record) for record in printed if record["event"] == "result"]
    return [
        f"> {command}\n{shape(record, ('node',) if command in by_the_leader else ())}" for command, record in answered
    ]


def events(printed: Iterable[Record]) -> dict[str, list[str]]:
    """By kind of event, the different ones that were printed."""
    seen: defaultdict[str, set[str]] = defaultdict(set)
    for record in printed:
        if record["event"] != "result" and not (record["event"] == "refused" and "count" in record):  # of 30 s
            seen[record["event"]].add(shape(record, set(record) - {"event"} if record["event"] in BY_TIMING else ()))
    return {kind: sorted(shapes) for kind, shapes in sorted(seen.items())}


def changes(
    recorded: Sequence[str], current: Sequence[str], *, all_recorded: Iterable[str], by_the_leader: Collection[str]
) -> str:
    """In which way what is said now differs from what was recorded; empty if it keeps the contract. `all_recorded` is
    what was said in any session, `by_the_leader` are typed lines whose result names the node that leads."""
    old_typed, old = _read(recorded)
    new_typed, new = _read(current)
    before = [line for lines in events(old).values() for line in lines]
    known = events(record for record in _read(all_recorded)[1] if record["event"] in BY_TIMING)
    added = {line for lines in known.values() for line in lines} - set(before)
    now = [line for lines in events(new).values() for line in lines if line not in added]
    return (
        difference("typed", old_typed, new_typed)
        + difference("results", results(old, old_typed, by_the_leader), results(new, new_typed, by_the_leader))
        + difference("events", before, now)
    )


def _read(said: Iterable[str]) -> tuple[list[str], list[Record]]:
    """What was typed, and what was printed."""
    said = list(said)
    typed = [line.removeprefix("> ") for line in said if line.startswith("> ")]
    return typed, [json.loads(line) for line in said if not line.startswith("> ")]


def difference(what: str, recorded: Sequence[str], current: Sequence[str]) -> str:
    """Empty if there is none. Each of the texts begins with a line that tells what it is about."""
    if len(recorded) != len(current):
        return _unified(what, "\n".join(recorded), "\n".join(current))
    pairs = zip(recorded, current, strict=True)
    return "".join(_unified(f"{what}, {old.splitlines()[0]}", old, new) for old, new in pairs if old != new)


def _unified(what: str, recorded: str, current: str) -> str:
    lines = difflib.unified_diff(
        recorded.splitlines(), current.splitlines(), f"recorded {what}", f"current {what}", n=4, lineterm=""
    )
    return "".join(f"{line}\n" for line in lines)
