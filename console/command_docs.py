"""docs/commands.md, made from the tables of commands: python -m console.command_docs [--write]"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from api.base import Command, encode
from console.command_table import CommandTable, Entry
from console.node.table import NODE_TABLE
from console.operator.table import OPERATOR_TABLE
from console.usage import words_of

PATH = Path(__file__).resolve().parents[1] / "docs" / "commands.md"

TABLES: Mapping[str, CommandTable[Any]] = {"At a node": NODE_TABLE, "At the network": OPERATOR_TABLE}

HEAD = """\
# Commands

<!-- Made by `python -m console.command_docs --write`; a test keeps it so. -->

One command a line, at a prompt, through a pipe, at a control socket (`ctl.py --node N`, `ctl.py --network`). Commands
may be written in any case, and Tab completes them. A word in brackets may be omitted. TEXT is the rest of the line as
it is: nothing is quoted. Lines that begin with `#` are comments. `help COMMAND` shows what is said here.

Each command is shown with an example, as users type it and as programs may. [api.md](api.md) has the fields of all
commands, and what is answered.
"""


def document(tables: Mapping[str, CommandTable[Any]]) -> str:
    """The whole page."""
    return "\n".join([HEAD, *(line for title, table in tables.items() for line in _section(title, table))])


def _section(title: str, table: CommandTable[Any]) -> Iterable[str]:
    yield f"## {title}\n"
    yield "| command | |\n| --- | --- |"
    for name, entry in table.entries.items():
        yield f"| [`{_cell(entry.usage.synopsis)}`](#{_anchor(title, name)}) | {_cell(entry.usage.help)} |"
    yield ""
    for name, entry in table.entries.items():
        yield from _entry(_anchor(title, name), entry)


def _entry(anchor: str, entry: Entry[Any, Command[Any], Any]) -> Iterable[str]:
    usage = entry.usage
    example = usage.example or usage.name
    yield f'### <a id="{anchor}"></a>`{usage.synopsis}`\n'
    yield f"{_sentence(usage.help)}\n"
    yield from (f"{line}\n" for line in usage.details.split("\n") if line)
    words = words_of(usage, example.partition(" ")[2])
    yield f"    {example}\n    {encode(entry.typed(words)).decode()}\n"


def _anchor(title: str, name: str) -> str:
    return f"{title.split()[-1]}-{name}".lower()


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _sentence(help_line: str) -> str:
    return f"{help_line[0].upper()}{help_line[1:]}."


def main() -> None:
    page = document(TABLES)
    if "--write" in sys.argv[1:]:
        PATH.write_text(page, "utf-8")
    else:
        print(page, end="")


if __name__ == "__main__":
    main()
