"""What every prompt understands and says, a node's and the operator's."""

from __future__ import annotations

from msgspec import UNSET, UnsetType

from api.base import Command, Event, Record, Result


class CommandHelp(Record, frozen=True):
    """How one command is typed."""

    name: str
    usage: str
    """With its arguments: "query C TEXT"."""
    help: str
    example: str
    """Empty if there is none."""
    details: str
    """Empty if there are none."""


class HelpResult(Result, frozen=True, kw_only=True):
    """All commands, or the one that was asked for; or `words` of the field, each with what it means."""

    commands: list[CommandHelp]
    words: dict[str, str] | UnsetType = UNSET


class HelpCommand(Command[HelpResult], frozen=True, tag="help"):
    """What can be typed; answers at once."""

    about: str | None = None
    """The name of a command, or a word of the field; `words` for all of these."""


class ExitResult(Result, frozen=True, kw_only=True):
    """Everything that was typed before is answered."""


class ExitCommand(Command[ExitResult], frozen=True, tag="exit"):
    """Leaves after what was typed before is answered."""


class WaitingEvent(Event, frozen=True, tag="waiting"):
    """A command has not answered for a while. Its result follows."""

    command: str
    line: int
    reason: str


class DroppedEvent(Event, frozen=True, tag="dropped"):
    """This many events were not sent because the reader was too slow."""

    count: int
