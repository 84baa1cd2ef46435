"""Commands that write conversations to files and read them back."""

from __future__ import annotations

from collections.abc import Awaitable

from api.base import Failure
from api.node_commands import BackupCommand, ExportCommand, ImportCommand
from api.node_results import BackupResult, ExportResult, ImportResult
from console.command_table import Earlier, Entry, in_order
from console.layout import Layout
from console.node.executor import NodeExecutor, conversations
from console.node.words import CHOSEN, FORCE, questions, warned
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
    return layout.text(f"{result.context}: {questions(result.turns)} imported{cancelled}{warned(result.warning)}")


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


def _parse_backup(words: list[str]) -> BackupCommand:
    """The name of a file may have spaces."""
    file = " ".join(word for word in words[0].split(" ") if word != FORCE).strip()
    if not file:
        raise ValueError("the file has no name")
    return BackupCommand(file, FORCE in words[0].split())


def _view_backup(command: BackupCommand, result: BackupResult, layout: Layout) -> str:
    count = result.conversations
    stale = "; no majority was reachable: what others decided meanwhile may be missing" if result.stale else ""
    return layout.text(f"{count} conversation{'' if count == 1 else 's'} written to {result.file}{stale}")


BACKUP = Entry[NodeExecutor, BackupCommand, BackupResult](
    Usage(
        "backup", f"FILE [{FORCE}]", "write all conversations to a file", "backup demo.backup", 1, 1, text=True,
        details=f"Everything, up to date, as one file: `./run.sh restore FILE` makes a new cluster from it. Does not "
        f"overwrite a file without {FORCE}. `./run.sh backup FILE` does the same at any node that runs.",
    ),
    BackupCommand,
    in_order(lambda executor, command: executor.session.backup(command)),
    _parse_backup,
    _view_backup,
)
