"""Prompts and rendering, without decisions. Used for a node's user and for the operator of the network.

An entry point makes one console, gives its `emit` to whoever has events, and runs it with a table of commands and what
carries them out:

    console = Console(Form.choose(arguments.json), title="node 1", history_path=data_dir / "history")
    session = service.open_session(lambda told: console.emit(told.event, event_text(told)))
    code = await console.run(NODE_TABLE, NodeExecutor(session))

A table consists of entries, one for each command (console/command_table.py); `help` and `exit` come by themselves. An
event is a struct of the schema (api/); beside it goes the text for humans, or a function from `Layout` (width, colours,
wrapping, tables) to it. All text is made safe to show at the last moment.
"""

from __future__ import annotations

from console.command_table import CommandTable, Earlier, Entry, Executor, TypedCommand
from console.layout import Layout
from console.run import Console, Form, Text
from console.usage import Usage, UsageError, expectation

__all__ = [
    "CommandTable",
    "Console",
    "Earlier",
    "Entry",
    "Executor",
    "Form",
    "Layout",
    "Text",
    "TypedCommand",
    "Usage",
    "UsageError",
    "expectation",
]
