"""What ctl.py prints."""

from __future__ import annotations

import os
import sys
from typing import Any, NamedTuple, TextIO

import msgspec
from msgspec import UNSET

from api import operator_events
from api.base import result_type
from api.client import ReceivedEvent, Reply
from api.conversation import Turn
from api.open_records import converted
from api.safe_text import coloured, visible
from console import Layout, Usage, chat
from console.basic_views import error
from console.node.table import NODE_TABLE
from console.operator.events import event_text
from console.operator.table import OPERATOR_TABLE
from launcher.ctl.arguments import Wanted


class Outcome(NamedTuple):
    """What came of a question. `answer` is the number of the candidate that is printed by itself; None: all are."""

    turn: Turn
    answer: int | None


def show(wanted: Wanted, line: str, reply: Reply, outcome: Outcome | None) -> None:
    """The answer to the command, and what came of it, if that was waited for. Errors go to stderr."""
    if wanted.json:
        print(reply.raw.decode())
        return
    stream = sys.stdout if reply.failure is None else sys.stderr
    layout = _layout(stream)
    if reply.failure is not None:
        text = error(reply.failure, layout)
    elif outcome is not None:
        text = _answers(reply, outcome, layout)
    else:
        text = _result(wanted, line, reply, layout)
    print((coloured if layout.colour else visible)(text), file=stream)


def show_step(event: ReceivedEvent) -> None:
    """Of a script that the network runs."""
    kinds = {"step": operator_events.StepEvent, "step_result": operator_events.StepResultEvent}
    kind = kinds.get(event.name)
    if kind is None:
        return
    layout = _layout(sys.stdout)
    text = event_text(converted(msgspec.json.decode(event.raw, type=dict[str, Any]), kind))
    shown = text(layout) if callable(text) else text
    if shown:
        print((coloured if layout.colour else visible)(shown), flush=True)


def failures(turn: Turn) -> str | None:
    """Why there is no answer at all; None if there is one, or none is due yet."""
    candidates = turn.candidates
    if not candidates or any(response.text is not UNSET for response in candidates.values()):
        return None
    return "no node has an answer: " + "; ".join(f"node {node}: {each.error}" for node, each in candidates.items())


def _answers(reply: Reply, outcome: Outcome, layout: Layout) -> str:
    turn = outcome.turn
    if outcome.answer is not None:
        return layout.markdown(str(turn.candidates[outcome.answer].text))
    values = reply.values()
    return chat.turn(values["context"], values["turn"], turn, layout)


def _result(wanted: Wanted, line: str, reply: Reply, layout: Layout) -> str:
    values = reply.values()

    def fill(usage: Usage, rest: str) -> str:
        """Fills in the only conversation that awaits a choice if it was omitted, as the node does."""
        left_out = len(rest.split()) < usage.least
        return f"{values.get('context')} {rest}" if left_out else rest

    typed = OPERATOR_TABLE.parse(1, line) if wanted.node is None else NODE_TABLE.parse(1, line, fill)
    assert typed.command is not None
    result = converted(values, result_type(type(typed.command)), ("command", "line"))
    return typed.view(result, layout)


def _layout(stream: TextIO) -> Layout:
    is_terminal = stream.isatty() and os.environ.get("TERM", "") not in ("", "dumb", "unknown")
    width = os.get_terminal_size(stream.fileno()).columns if is_terminal else None
    return Layout(width or None, is_terminal and not os.environ.get("NO_COLOR"))
