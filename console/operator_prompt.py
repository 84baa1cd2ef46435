"""The operator's commands as the console wants them."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import Any

import msgspec

from api import base
from console import Command, CommandTable, Earlier, Entry, Executor, Layout, Result, TypedCommand, Usage
from console.operator_views import panel, show
from orchestrator.service import USAGES, Orchestrator


class OperatorPrompt(Executor):
    """One command at a time, in the order typed."""

    def __init__(self, orchestrator: Orchestrator) -> None:
        self.orchestrator = orchestrator

    def on_command(self, typed: TypedCommand) -> None:
        if typed.name != "help":
            self.orchestrator.watch.next_line()

    def waiting_for(self, typed: TypedCommand) -> str:
        return self.orchestrator.waiting_for(_words(typed.command))

    def status_line(self, layout: Layout) -> str:
        """What stands under the prompt: one line, or the panel of `watch`."""
        if self.orchestrator.watch.on:
            return panel(self.orchestrator.status(), layout)
        return self.orchestrator.status_line(layout.width)


def event(values: Mapping[str, Any]) -> base.Event:
    kind: Any = msgspec.defstruct(
        "Event", [(key, Any) for key in values if key != "event"], bases=(base.Event,), tag=values["event"]
    )
    made: base.Event = kind(**{key: value for key, value in values.items() if key != "event"})
    return made


def _words(command: Any) -> Command:
    return Command(0, base.name_of(type(command)), command.words)


def _entry(usage: Usage) -> Entry[OperatorPrompt, Any, Any]:
    kind: Any = msgspec.defstruct("OperatorCommand", [("words", list[str])], bases=(base.Command,), tag=usage.name)

    def run(prompt: OperatorPrompt, command: Any, earlier: Earlier) -> Awaitable[Any]:
        return _run(prompt, command, earlier, usage)

    def view(command: Any, result: Any, layout: Layout) -> str:
        values = base.builtins(result)
        shown = show(_words(command), values, layout)
        return layout.text(str(values.get("text", "ok"))) if shown is None else shown

    return Entry(usage, kind, run, lambda words: kind(words), view, _complete(usage.name))


def _complete(name: str) -> Any:
    return lambda prompt, words: prompt.orchestrator.complete([name, *words])


async def _run(prompt: OperatorPrompt, command: Any, earlier: Earlier, usage: Usage) -> base.Result:
    if not usage.at_once:
        await earlier()
    result: Result = await prompt.orchestrator.execute(usage.name, command.words)
    if "error" in result:
        return base.Failure(error=result["error"])
    values = {key: value for key, value in result.items() if key not in ("ok", "command")}
    kind: Any = msgspec.defstruct(
        "Result", [(key, Any) for key in values], bases=(base.Result,), kw_only=True,
        namespace={"replies_to": result.get("command")},
    )
    made: base.Result = kind(**values)
    return made


OPERATOR_TABLE = CommandTable([_entry(usage) for usage in USAGES])
