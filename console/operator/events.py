"""The orchestrator's events for people."""

from __future__ import annotations

from functools import partial
from typing import Any, cast

import msgspec

from api import operator_events as events
from api.base import Event, Result, builtins, result_type
from api.open_records import converted
from console.layout import Layout
from console.operator.table import OPERATOR_TABLE
from console.operator.views import status_text
from console.run import Text

_INDENT = "  "
"""Indents each line of the answer to a script's step."""


def event_text(event: Event) -> Text:
    """None for an event that people need not see."""
    match event:
        case events.NodeUpEvent():
            return f"node {event.node} is up"
        case events.NodeDownEvent():
            return f"node {event.node} is down"
        case events.ConnectionRefusedEvent():
            return f"refused{f' ({event.address})' if event.address else ''}: {event.reason}"
        case events.MessageHeldEvent():
            again = ", again" if event.again else ""
            return f"#{event.number} {event.message} from {event.link[0]} to {event.link[1]}{again}"
        case events.ClusterQuorumLostEvent():
            return event.reason
        case events.FaultOverEvent() | events.ClusterMembersEvent():
            return event.text
        case events.NodeAnswerEvent():
            return str(_key(event, "text"))
        case events.NetworkStatusEvent():
            return partial(status_text, event)
        case events.StepEvent():
            return None if event.name in ("say", "sleep") else f"> {event.command}"
        case events.StepResultEvent():
            return partial(_step_text, event)
    return None


def _step_text(event: events.StepResultEvent, layout: Layout) -> str:
    if event.name == "sleep" or not _key(event, "ok"):
        return ""  # the script's own result reports a failure
    if event.name == "say":
        return "\n".join(layout.bold(line) for line in layout.text(str(_key(event, "text"))).split("\n"))
    if layout.width is not None:
        layout = msgspec.structs.replace(layout, width=layout.width - len(_INDENT))
    entry = OPERATOR_TABLE.entries[event.name]
    kind: type[Result] = result_type(cast(Any, entry.command))
    result = converted(builtins(event), kind, events.StepResultEvent.__struct_fields__)
    text = entry.view(None, result, layout)
    return "\n".join(f"{_INDENT}{line}" for line in text.split("\n"))


def _key(event: Event, name: str) -> Any:
    """Of an event that has the keys of a result, too."""
    return getattr(event, name)
