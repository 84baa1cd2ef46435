"""Results for humans that look alike whatever the command: a sentence, an error, help."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from api.base import Command, Failure, Result
from api.prompt import CommandHelp
from console.layout import Layout

STALE = "(possibly stale: no majority reachable)"


def sentence(command: Command[Any], result: Result, layout: Layout) -> str:
    """A result's `text`, or "ok"."""
    text = getattr(result, "text", None)
    return layout.text(text) if isinstance(text, str) else "ok"


def error(failure: Failure, layout: Layout) -> str:
    shown = layout.text(f"error: {failure.error}")
    return layout.red(f"{shown}\n{STALE}" if getattr(failure, "stale", False) else shown)


def help_table(commands: Sequence[CommandHelp], layout: Layout) -> str:
    """All commands as a table; a single one with its example and details."""
    shown = layout.table(("", ""), [(command.usage, command.help) for command in commands])
    if len(commands) > 1:
        return f"{shown}\n{layout.dim('help COMMAND shows details, help words what the words on the screens mean')}"
    (only,) = commands
    if only.example:
        shown += "\n" + layout.text(f"for example: {only.example}")
    return f"{shown}\n{layout.text(only.details)}" if only.details else shown
