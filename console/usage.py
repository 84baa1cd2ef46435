"""What may be typed: the usage of each command, and how a typed line becomes a command."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, TypeAlias

import msgspec
from msgspec import UnsetType

Result: TypeAlias = dict[str, Any]
"""What a command answers: `ok`, `error` if not ok, and whatever else belongs to the command; ready for JSON."""

MAX_WORD = 64
"""How much of an unknown command's name is shown."""


class Usage(msgspec.Struct, frozen=True):
    """How one command is typed."""

    name: str
    """Canonical spelling; any case is understood."""
    arguments: str
    """As shown in help: "C TEXT"."""
    help: str
    """One line."""
    example: str = ""
    least: int = 0
    most: int = 0
    """How many arguments it takes."""
    text: bool = False
    """The last argument is the rest of the line, verbatim."""
    at_once: bool = False
    """Answers at once, not in the order typed. Must not wait for anything."""
    large: bool = False
    """Its result may be large, and is laid out beside the event loop."""
    shows_progress: bool = False
    """People see how far it is; they need not be told that it is still under way."""
    details: str = ""
    """What `help COMMAND` adds."""
    current: bool = False
    """The first argument is a conversation, which may be left out where one is the current one."""

    @property
    def synopsis(self) -> str:
        return f"{self.name} {self.arguments}".rstrip()


class Command(msgspec.Struct, frozen=True, gc=False):
    """A typed command. `line` counts input lines from 1; `name` is spelled canonically."""

    line: int
    name: str
    args: list[str] = []

    def __str__(self) -> str:
        return " ".join([self.name, *self.args[:1]])


Fill: TypeAlias = Callable[[Usage, str], str]
"""Gets a command's usage and the rest of the line, and returns the rest with the words put in that were left out. May
raise UsageError."""


class UsageError(Exception):
    """A line that is no command. Says what is expected, as a sentence for users. `name` is the command's, if it is
    known what is meant; `kind` is what its Failure says; `at_once`, that its answer does not wait for its turn."""

    kind: Literal["usage"] | UnsetType = "usage"
    at_once = False

    def __init__(self, sentence: str, name: str | None = None) -> None:
        super().__init__(sentence)
        self.name = name


HELP = Usage(
    "help", "[COMMAND]", "what can be typed", "help query", most=1, at_once=True
)
EXIT = Usage("exit", "", "leave, after what was typed before is answered")


def by_name(usages: Iterable[Usage]) -> dict[str, Usage]:
    """The mapping that an executor shows as its commands."""
    return {usage.name: usage for usage in usages}


def parse(number: int, text: str, commands: Mapping[str, Usage], fill: Fill | None = None) -> Command:
    """The command on line `number`. Raises UsageError. `text` must not be blank. `fill` puts in what was left out.

    Nothing is quoted and nothing unquoted: a text argument is the rest of the line without the white space around it.
    """
    words = text.split(None, 1)
    usage = find(words[0], commands)
    rest = words[1].strip() if len(words) > 1 else ""
    if fill is not None:
        rest = fill(usage, rest)
    return Command(number, usage.name, words_of(usage, rest))


def words_of(usage: Usage, rest: str) -> list[str]:
    """The words that follow a command's name. Raises UsageError if there are too few or too many."""
    words = rest.split(None, usage.most - 1) if usage.text else rest.split()
    if len(words) < usage.least:
        raise UsageError(f"too few words: {expectation(usage)}")
    if len(words) > usage.most:
        raise UsageError(f"too many words: {expectation(usage)}")
    return words


def find(word: str, commands: Mapping[str, Usage]) -> Usage:
    """The usage of the command called `word`, in any case. Raises UsageError with the nearest name."""
    if word in commands:
        return commands[word]
    lowered = {name.lower(): usage for name, usage in commands.items()}
    usage = lowered.get(word.lower())
    if usage is not None:
        return usage
    near = difflib.get_close_matches(word[:MAX_WORD].lower(), lowered, n=1)
    hint = f"did you mean {lowered[near[0]].name}?" if near else "help lists what there is"
    raise UsageError(f"unknown command '{word[:MAX_WORD]}': {hint}")


def expectation(usage: Usage) -> str:
    """How to type the command, with an example."""
    example = f", for example: {usage.example}" if usage.example else ""
    return f"type {usage.synopsis}{example}"


def help_result(args: list[str], commands: Mapping[str, Usage]) -> Result:
    """The result of `help` and `help COMMAND`."""
    try:
        shown = [find(args[0], commands)] if args else list(commands.values())
    except UsageError as error:
        return {"ok": False, "error": str(error)}
    return {
        "ok": True,
        "commands": [
            {"name": u.name, "usage": u.synopsis, "help": u.help, "example": u.example, "details": u.details}
            for u in shown
        ],
    }
