"""Tables for consoles under test, made of usages and one function."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from msgspec import UNSET, UnsetType

from api.base import Command, Result
from console import CommandTable, Earlier, Entry, Executor, Usage
from console.command_table import no_completion

Execute = Callable[[str, list[str]], Awaitable[dict[str, Any]]]


class TextResult(Result, frozen=True, kw_only=True):
    text: str | UnsetType = UNSET
    role: str | UnsetType = UNSET


class WordsCommand(Command[TextResult], frozen=True):
    words: list[str]


def table(
    usages: Iterable[Usage], execute: Execute,
    complete: Callable[[Executor, Sequence[str]], Iterable[str]] = no_completion,
) -> CommandTable[Executor]:
    """`execute` gets the name and the words of a command, one at a time in the order typed."""
    return CommandTable([_entry(usage, execute, complete) for usage in usages])


def _entry(
    usage: Usage, execute: Execute, complete: Callable[[Executor, Sequence[str]], Iterable[str]]
) -> Entry[Executor, WordsCommand, TextResult]:
    class Named(WordsCommand, frozen=True, tag=usage.name):
        """One command."""

    async def run(executor: Executor, command: WordsCommand, earlier: Earlier) -> TextResult:
        if not usage.at_once:
            await earlier()
        return TextResult(**await execute(usage.name, command.words))

    return Entry(usage, Named, run, Named, complete=complete)
