"""Prompts, rendering; no decisions. The same for a node's user and for the operator of the network.

An entry point makes one console, gives its `emit` to whoever has news, and runs it with an executor:

    console = Console(Form.choose(arguments.json), title="node 1", history_path=data_dir / "history")
    session = Session(node, console.emit, ...)                     # an Executor
    code = await console.run(session, status_line=session.status_line)

Somebody who only has `async execute(name, args) -> dict` wraps it:

    executor = Sequential(USAGES, orchestrator.execute, complete=..., show=...)

`USAGES` is a list of `Usage`, for example `Usage("failLink", "A B [--oneway]", "cut a link", "failLink 1 2", 2, 3)`.
`help` and `exit` are the console's own. A result is a dict ready for JSON with `ok`, `error` if not ok, and `text` if
humans are to read something else than "ok". An event is a dict with a key `event`; beside it goes the text for humans,
or a function from `Layout` (width, colours, wrapping, tables) to it. All text is made safe to show at the last moment.
"""

from __future__ import annotations

from console.executor import Earlier, Executor, Sequential
from console.layout import Layout
from console.run import Console, Form, Text, run_console
from console.usage import Command, Result, Usage, UsageError, by_name, expectation

__all__ = [
    "Command",
    "Console",
    "Earlier",
    "Executor",
    "Form",
    "Layout",
    "Result",
    "Sequential",
    "Text",
    "Usage",
    "UsageError",
    "by_name",
    "expectation",
    "run_console",
]
