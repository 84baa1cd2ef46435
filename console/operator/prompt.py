"""The operator's side of the console: the executor of the table's commands, and the status under the prompt."""

from __future__ import annotations

from collections.abc import Sequence

from api.operator_commands import (
    AddNodeCommand,
    FailNodeCommand,
    FixNodeCommand,
    RemoveNodeCommand,
    ReplaceNodeCommand,
    ScriptCommand,
)
from api.prompt import HelpCommand
from console.command_table import Executor, TypedCommand
from console.layout import Layout
from console.operator import views
from orchestrator.service import Orchestrator


class OperatorPrompt(Executor):
    def __init__(self, orchestrator: Orchestrator) -> None:
        self.orchestrator = orchestrator

    def on_command(self, typed: TypedCommand) -> None:
        if not isinstance(typed.command, HelpCommand):
            self.orchestrator.watch.on_command()

    def waiting_for(self, typed: TypedCommand) -> str:
        match typed.command:
            case FixNodeCommand():
                return f"node {typed.command.node} has not connected yet"
            case AddNodeCommand():
                return f"node {typed.command.node} has not connected, or not caught up yet"
            case RemoveNodeCommand() | ReplaceNodeCommand():
                return "the members have not decided it yet"
            case FailNodeCommand():
                return f"node {typed.command.node} is still running"
        scripts = self.orchestrator.scripts
        if not scripts.running:
            return "not done yet"
        if isinstance(typed.command, ScriptCommand) and typed.command.file == scripts.running:
            return f"at {scripts.position or 'its end'} (stop ends it)"
        return f"script {scripts.running} is running (stop ends it)"

    def nodes_but(self, words: Sequence[str]) -> list[str]:
        """The nodes that are not among these words."""
        return [str(node) for node in self.orchestrator.numbers.all if str(node) not in words]

    def status_line(self, layout: Layout) -> str:
        """The text under the prompt: one line, or the panel of `watch`."""
        status = self.orchestrator.status()
        if self.orchestrator.watch.on:
            return views.panel(status, layout)
        scripts = self.orchestrator.scripts
        position = scripts.position
        if position is not None and scripts.playing().paused:
            position += ", paused: next or continue"
        return views.status_line(status, position, layout.width)
