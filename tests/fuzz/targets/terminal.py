"""Whatever results and events hold, nothing of it is raw when it reaches a terminal."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias, get_args

import msgspec

from api import node_events, operator_events
from api.base import Event, Failure, builtins, name_of, result_type
from api.conversation import Turn as TurnRecord
from api.node_results import StatusResult, ViewallResult, ViewResult
from api.open_records import extended
from api.operator_results import NodeAnswerResult, TextResult
from api.safe_text import DANGEROUS, coloured, one_line, visible
from console import chat
from console.command_table import TypedCommand
from console.layout import Layout
from console.node.event_views import node_event_text, session_event_text
from console.node.table import NODE_TABLE
from console.operator.events import event_text
from console.operator.table import OPERATOR_TABLE
from console.operator.views import node_text
from console.run import Text
from kvstore.rules import MAX_AT, check_context
from server.event_feed import Level, SessionEvent
from tests.fuzz.samples import HIDDEN, HOSTILE, NAMES, of_json, sample
from tests.fuzz.target import Form, Target

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_Show: TypeAlias = Callable[[Any, Layout], Iterator[str]]


def _result_views() -> Iterator[tuple[str, Any, _Show]]:
    for prompt, table in (("node", NODE_TABLE), ("operator", OPERATOR_TABLE)):
        for entry in table.entries.values():
            command = table.parse(1, entry.usage.example or entry.usage.name)
            kind: Any = result_type(entry.command)  # type: ignore[arg-type]
            if kind is not NodeAnswerResult:
                yield f"{prompt} {entry.usage.name}", kind, functools.partial(_result, command)
    for answer in (ViewResult, ViewallResult, StatusResult, TextResult):
        yield f"operator node {answer.__name__}", answer, _node_answer


def _node_answer(answer: Any, layout: Layout) -> Iterator[str]:
    """What a node answered, as the operator sees it."""
    yield node_text(extended(NodeAnswerResult(), {**builtins(answer), "node": 1}), layout)


def _result(command: TypedCommand, result: Any, layout: Layout) -> Iterator[str]:
    yield command.view(result, layout)
    yield command.view(Failure(error=json.dumps(msgspec.to_builtins(result, str_keys=True))), layout)


def _event_views() -> Iterator[tuple[str, Any, _Show]]:
    for module, show in ((node_events, _node_event), (operator_events, _operator_event)):
        for kind in vars(module).values():
            if isinstance(kind, type) and issubclass(kind, Event) and kind is not Event and not get_args(kind):
                yield f"event {name_of(kind)}", kind, show


def _node_event(event: Event, layout: Layout) -> Iterator[str]:
    yield from _told(node_event_text(event), layout)
    for level in (Level.NORMAL, Level.VERBOSE):
        yield from _told(session_event_text(SessionEvent(event, 5, level)), layout)


def _operator_event(event: Event, layout: Layout) -> Iterator[str]:
    if not isinstance(event, operator_events.StepResultEvent | operator_events.NodeAnswerEvent):
        yield from _told(event_text(event), layout)  # these two hold other records, whose views are here, too


def _told(text: Text, layout: Layout) -> Iterator[str]:
    if text is not None:
        yield layout.text(text) if isinstance(text, str) else text(layout)


def _choices(turn: TurnRecord, layout: Layout) -> Iterator[str]:
    yield chat.choices(HOSTILE, turn, layout)


@functools.cache
def _views() -> dict[str, tuple[Any, _Show]]:
    found = [*_result_views(), *_event_views(), ("choices", TurnRecord, _choices)]
    return {name: (kind, show) for name, kind, show in found}


def check(data: bytes) -> None:
    text = data.decode(errors="replace")
    for safe in (visible(text), coloured(text), one_line(text)):
        _is_safe(safe)
    assert visible(visible(text)) == visible(text)
    for layout in (Layout(), Layout(40, colour=True, height=20), Layout(13)):
        _is_safe(layout.text(text), hidden=False)
        _is_safe(layout.markdown(text), hidden=False)
    try:
        said = json.loads(data)
        kind, show = _views()[said["view"]]
        record = of_json(kind, said["value"])
        if not _is_possible(said["value"]):
            return
    except (ValueError, KeyError, TypeError, RecursionError):
        return
    for layout in (Layout(), Layout(40, colour=True, height=20), Layout(13)):
        for shown in show(record, layout):
            _is_safe(coloured(shown), hidden=False)  # as the last filter before a terminal


def _is_possible(value: Any) -> bool:
    """Names of conversations, ids of clusters and times are checked when they are made."""
    if isinstance(value, list):
        return all(map(_is_possible, value))
    if isinstance(value, float | int):
        return value <= MAX_AT
    if not isinstance(value, dict):
        return True
    names = [value[key] for key in NAMES if isinstance(value.get(key), str)]
    return all(check_context(name) is None for name in names) and all(map(_is_possible, value.values()))


def _is_safe(shown: str, hidden: bool = True) -> None:
    """`hidden`: a colour may be somebody else's."""
    raw = DANGEROUS.search(_COLOUR.sub("", shown))
    assert raw is None, f"{raw.group()!r} is raw"
    assert hidden or HIDDEN not in shown, "somebody else's colour sequence is raw"


@functools.cache
def seeds() -> list[bytes]:
    views = [{"view": name, "value": sample(kind)} for name, (kind, _) in _views().items()]
    markdown = f"# {HOSTILE}\n\n- a\n  - b\n\n|a|b|\n|-|-|\n|{HOSTILE}|c|\n\n```py\nx = 1\n```\n> [l](http://x)\n"
    return [*(json.dumps(view).encode() for view in views), markdown.encode()]


TARGET = Target("what a terminal shows", check, seeds, Form.JSON, examples=150)
