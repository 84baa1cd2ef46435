"""How a command is typed."""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import UnsetType

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
    lines: bool = False
    """That text may have several lines."""
    at_once: bool = False
    """Answers immediately, not in the order typed. Must not wait for anything."""
    large: bool = False
    """Its result may be large and is rendered outside the event loop."""
    shows_progress: bool = False
    """It shows its own progress, so no notice that it is still in progress is needed."""
    details: str = ""
    """Shown by `help COMMAND`."""
    about_protocol: bool = False
    """Its result uses the words of the field."""
    only_prompt: bool = False
    """It changes nothing but the prompt where it is typed."""
    current: bool = False
    """The first argument is a conversation, which may be omitted if there is a current one."""

    @property
    def synopsis(self) -> str:
        return f"{self.name} {self.arguments}".rstrip()


class UsageError(Exception):
    """A line that is not a command. Says what is expected, as a sentence for users. `name` is the command's, if it is
    known what is meant; `kind` is what its Failure says; `at_once`, that its answer does not wait for its turn."""

    kind: Literal["usage"] | UnsetType = "usage"
    at_once = False

    def __init__(self, sentence: str, name: str | None = None) -> None:
        super().__init__(sentence)
        self.name = name


HELP = Usage(
    "help", "[COMMAND|words|WORD]", "list the commands; explain the words on the screens", "help query", most=1,
    at_once=True, details="`help words` explains ballot, decided, applied, digest and more; `help ballot` one of them.",
)
EXIT = Usage("exit", "", "exit once earlier commands are answered", only_prompt=True)


def words_of(usage: Usage, rest: str) -> list[str]:
    """The words that follow a command's name. Raises UsageError if there are too few or too many."""
    words = rest.split(None, usage.most - 1) if usage.text else rest.split()
    if len(words) < usage.least:
        raise UsageError(f"too few words: {expectation(usage)}")
    if len(words) > usage.most:
        raise UsageError(f"too many words: {expectation(usage)}")
    return words


def expectation(usage: Usage) -> str:
    """How to type the command, with an example."""
    example = f", for example: {usage.example}" if usage.example else ""
    return f"type {usage.synopsis}{example}"
