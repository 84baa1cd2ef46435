"""One table of commands: how each is typed, which typed command that makes, what carries it out, how its result looks.

Everything that lists commands is made from it: parsing, `help`, completion, docs/commands.md.
"""

from __future__ import annotations

import difflib
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Generic, TypeAlias, TypeVar

import msgspec
from msgspec import UNSET

from api import glossary
from api.base import Command, Failure, Result, name_of
from api.errors import InvalidCommand
from api.prompt import CommandHelp, ExitCommand, ExitResult, HelpCommand, HelpResult
from api.safe_text import one_line
from console.basic_views import error, help_table, sentence
from console.layout import Layout
from console.usage import EXIT, HELP, MAX_WORD, Usage, UsageError, expectation, words_of

_MOST_WORDS = 300
"""Characters of a reason."""

Earlier: TypeAlias = Callable[[], Awaitable[None]]
"""Waits until every earlier command has been answered."""


class Executor:
    """Base of executors of commands: the first argument of every entry's functions."""

    def fill(self, usage: Usage, rest: str) -> str:
        """`rest` of a line with the words filled in that this user may omit. May raise UsageError."""
        return rest

    def on_command(self, typed: TypedCommand) -> None:
        """A command was typed and is about to be run."""

    def waiting_for(self, typed: TypedCommand) -> str:
        """What a slow command is waiting for, for users."""
        return "not done yet"


E = TypeVar("E", bound=Executor)
C = TypeVar("C", bound=Command[Any])
R = TypeVar("R", bound=Result)

Run: TypeAlias = Callable[[E, C, Earlier], Awaitable[R | Failure]]
"""Starts a command; called in the order typed, without waiting for results. The returned future may be cancelled when
the user leaves. Commands that must not overlap with earlier ones await `earlier()` first. Raises InvalidCommand."""


def at_once(execute: Callable[[E, C], Awaitable[R | Failure]]) -> Run[E, C, R]:
    """For commands that wait for no other one."""
    return lambda executor, command, earlier: execute(executor, command)


def in_order(execute: Callable[[E, C], Awaitable[R | Failure]]) -> Run[E, C, R]:
    """For commands that begin when all earlier ones have answered."""

    async def run(executor: E, command: C, earlier: Earlier) -> R | Failure:
        await earlier()
        return await execute(executor, command)

    return run


def no_completion(executor: Executor, words: Sequence[str]) -> Iterable[str]:
    return ()


class Entry(msgspec.Struct, Generic[E, C, R], frozen=True):
    """All there is to know about one command."""

    usage: Usage
    command: type[C]
    """Its tag is the usage's name."""
    run: Run[E, C, R]
    parse: Callable[[list[str]], C] | None = None
    """Makes the command of the words that follow its name, as many as the usage says. Raises ValueError with a
    sentence for users. None: the words are the command's fields."""
    view: Callable[[C, R, Layout], str] = sentence
    """A result as text, if it is not a failure."""
    complete: Callable[[E, Sequence[str]], Iterable[str]] = no_completion
    """What may follow these words, which follow the command's name."""

    def typed(self, words: list[str]) -> C:
        """The command that these words make. Raises UsageError."""
        try:
            return self.command(*words) if self.parse is None else self.parse(words)
        except ValueError as mistake:
            raise UsageError(f"{mistake}; {expectation(self.usage)}", self.usage.name) from None


class TypedCommand(msgspec.Struct, frozen=True, gc=False):
    """A command as it was typed on input line `line` (from 1); `name` is spelled canonically. A line that is not a
    command has neither `entry` nor `command`, and its first word as the name."""

    line: int
    name: str
    first: str = ""
    """The first word after the name."""
    entry: Entry[Any, Any, Any] | None = None
    command: Command[Any] | None = None

    @property
    def large(self) -> bool:
        """Its result may be large and is rendered outside the event loop."""
        return self.entry is not None and self.entry.usage.large

    @property
    def at_once(self) -> bool:
        """Answers at once, not in the order typed."""
        return self.entry is not None and self.entry.usage.at_once

    @property
    def shows_progress(self) -> bool:
        return self.entry is not None and self.entry.usage.shows_progress

    @property
    def about_protocol(self) -> bool:
        return self.entry is not None and self.entry.usage.about_protocol

    def run(self, executor: Executor, earlier: Earlier) -> Awaitable[Result]:
        """Starts the command, which this must be; see Run."""
        assert self.entry is not None
        executor.on_command(self)
        return self.entry.run(executor, self.command, earlier)

    def view(self, result: Result, layout: Layout) -> str:
        """A result for humans."""
        if self.entry is None or isinstance(result, Failure):
            return error(result, layout) if isinstance(result, Failure) else "ok"
        return self.entry.view(self.command, result, layout)

    def __str__(self) -> str:
        return f"{self.name} {self.first}".rstrip()


class CommandTable(Generic[E]):
    """Commands by their names, in the order in which help lists them; `help` and `exit` come by themselves."""

    def __init__(
        self, entries: Iterable[Entry[E, Any, Any]], elsewhere: Iterable[str] = (), where: str = ""
    ) -> None:
        """`elsewhere`: names of commands that are typed at another prompt, and `where` that is."""
        own: list[Entry[E, Any, Any]] = [
            Entry(HELP, HelpCommand, self._help, view=_help_view, complete=self._complete_help),
            Entry(EXIT, ExitCommand, _exit),
        ]
        self.entries = {entry.usage.name: entry for entry in (*entries, *own)}
        for name, entry in self.entries.items():
            assert name_of(entry.command) == name, f"{entry.command.__name__} is not called {name}"
        self._elsewhere = {name.lower(): f"{name} is typed {where}" for name in elsewhere if name not in self.entries}
        self._lowered = {name.lower(): entry for name, entry in self.entries.items()}

    def find(self, word: str) -> Entry[E, Any, Any]:
        """The entry of the command called `word`, in any case. Raises UsageError with the nearest name."""
        entry = self.entries.get(word) or self._lowered.get(word.lower())
        if entry is not None:
            return entry
        if word.lower() in self._elsewhere:
            raise UsageError(self._elsewhere[word.lower()])
        near = difflib.get_close_matches(word[:MAX_WORD].lower(), self._lowered, n=1)
        hint = f"did you mean {self._lowered[near[0]].usage.name}?" if near else "help lists all commands"
        raise UsageError(f"unknown command '{word[:MAX_WORD]}': {hint}")

    def parse(self, line: int, text: str, fill: Callable[[Usage, str], str] | None = None) -> TypedCommand:
        """The command on input line `line`, in words or as a JSON object. Raises UsageError. `text` must not be blank.
        `fill` fills in omitted words.

        There is no quoting: a text argument is the rest of the line without the white space around
        it.
        """
        if text.startswith("{"):
            return self._decode(line, text)
        head = text.split(None, 1)
        entry = self.find(head[0])
        rest = head[1].strip() if len(head) > 1 else ""
        words = words_of(entry.usage, rest if fill is None else fill(entry.usage, rest))
        return TypedCommand(line, entry.usage.name, words[0] if words else "", entry, entry.typed(words))

    def is_question(self, text: str) -> bool:
        """Whether the line begins a command whose text may have several lines."""
        words = text.split(None, 1)
        entry = self._lowered.get(words[0].lower()) if words else None
        return entry is not None and entry.usage.lines

    def is_command(self, text: str) -> bool:
        """Whether the line is a whole command."""
        try:
            return bool(text.strip()) and self.parse(1, text.strip()).entry is not None
        except UsageError:
            return False

    def complete(self, executor: E, words: Sequence[str]) -> Iterable[str]:
        """What may follow these words of a line."""
        if not words:
            return list(self.entries)
        try:
            return self.find(words[0]).complete(executor, words[1:])
        except UsageError:
            return ()

    def help(self, about: str | None = None) -> HelpResult | Failure:
        """What `help`, `help COMMAND` and `help WORD` answer."""
        words = {} if about is None else glossary.about(about)
        try:
            shown = list(self.entries.values()) if about is None else [self.find(about)]
        except UsageError as unknown:
            if not words:
                return Failure(error=str(unknown))
            shown = []
        usages = [entry.usage for entry in shown]
        return HelpResult(
            commands=[CommandHelp(u.name, u.synopsis, u.help, u.example, u.details) for u in usages],
            words=words or UNSET,
        )

    def _decode(self, line: int, text: str) -> TypedCommand:
        """A command that was typed as a JSON object. Raises UsageError."""
        try:
            fields = msgspec.json.decode(text, type=dict[str, Any])
            name = fields.pop("command", None)
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as wrong:
            raise UsageError(f"the line begins like a JSON object but is not valid JSON: {_short(wrong)}") from None
        if not isinstance(name, str):
            raise UsageError('a JSON object needs a "command", for example: {"command":"help"}')
        entry = self.find(name)
        try:
            command = msgspec.convert({"command": entry.usage.name, **fields}, entry.command)
        except (msgspec.MsgspecError, InvalidCommand) as wrong:
            raise UsageError(f"{entry.usage.name}: {_short(wrong)}", entry.usage.name) from None
        first = next((str(value) for value in fields.values()), "")
        return TypedCommand(line, entry.usage.name, first[:MAX_WORD], entry, command)

    async def _help(self, executor: E, command: HelpCommand, earlier: Earlier) -> HelpResult | Failure:
        return self.help(command.about)

    def _complete_help(self, executor: E, words: Sequence[str]) -> Iterable[str]:
        return () if words else [*self.entries, glossary.ALL]


def _short(wrong: Exception) -> str:
    """What is wrong with a line may hold a part of it, of any length."""
    return one_line(str(wrong), _MOST_WORDS)


async def _exit(executor: Executor, command: ExitCommand, earlier: Earlier) -> ExitResult:
    await earlier()
    return ExitResult()


def _help_view(command: HelpCommand, result: HelpResult, layout: Layout) -> str:
    parts = [help_table(result.commands, layout)] if result.commands else []
    if result.words is not UNSET:
        parts.append(layout.table(("", ""), list(result.words.items()), rigid=1))
    return "\n".join(parts)
