"""Commands that write conversations to files and read them back."""

from __future__ import annotations

from collections.abc import Awaitable

from api.base import Failure
from api.node_commands import ExportCommand, ImportCommand
from api.node_results import ExportResult, ImportResult
from console.command_table import Earlier, Entry, in_order
from console.layout import Layout
from console.node.executor import NodeExecutor, conversations
from console.node.words import CHOSEN, FORCE, questions
from console.usage import Usage


def _parse_export(words: list[str]) -> ExportCommand:
    """The name of a file may have spaces."""
    context, rest = words
    file = " ".join(word for word in rest.split(" ") if word != FORCE).strip()
    if not file:
        raise ValueError("the file name is missing")
    return ExportCommand(context, file, FORCE in rest.split())


EXPORT = Entry[NodeExecutor, ExportCommand, ExportResult](
    Usage(
        "export", f"C FILE [{FORCE}]", "write a conversation to a .md or .json file", "export c1 talk.md", 2, 2,
        text=True, large=True, current=True,
        details=f"Does not overwrite a file without {FORCE}. After `use C`, C may be omitted.",
    ),
    ExportCommand,
    in_order(lambda executor, command: executor.session.export(command)),
    _parse_export,
    lambda command, result, layout: layout.text(
        f"{result.context}: {questions(result.turns)} written to {result.file}"
    ),
    conversations,
)


def _parse_import(words: list[str]) -> ImportCommand:
    names = [word for word in words if word != CHOSEN]
    if not 1 <= len(names) <= 2:
        raise ValueError("a file and optionally a conversation name are expected")
    return ImportCommand(names[0], names[1] if names[1:] else None, CHOSEN in words)


def _import(executor: NodeExecutor, command: ImportCommand, earlier: Earlier) -> Awaitable[ImportResult | Failure]:
    """Increments `importing` at once, for the lines that follow."""
    executor.importing += 1
    return _read_in(executor, command, earlier)


async def _read_in(executor: NodeExecutor, command: ImportCommand, earlier: Earlier) -> ImportResult | Failure:
    try:
        await earlier()
        return await executor.session.import_(command)
    finally:
        executor.importing -= 1


def _view_import(command: ImportCommand, result: ImportResult, layout: Layout) -> str:
    turns = ", ".join(map(str, result.given_up))
    cancelled = f"; open when exported, now cancelled: {turns}" if turns else ""
    return layout.text(f"{result.context}: {questions(result.turns)} imported{cancelled}")


IMPORT = Entry[NodeExecutor, ImportCommand, ImportResult](
    Usage(
        "import", f"FILE [C] [{CHOSEN}]", "create conversation C from a .json export", "import talk.json c2", 1,
        3, details="The import is one operation: all of it succeeds or none. No LLM is asked. A question "
        f"that was open is imported as cancelled. With {CHOSEN} only the chosen answers are imported.",
    ),
    ImportCommand,
    _import,
    _parse_import,
    _view_import,
)
