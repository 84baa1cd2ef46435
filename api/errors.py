"""What can go wrong with a command, as exceptions. Each says why in a sentence for users."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from api.base import Failure

BUSY = "busy, try again"
"""The beginning of the error of a command that the node is too busy for."""


class InvalidCommand(ValueError):
    """A command that no state makes possible."""


class ClientError(Exception):
    """Base of what a client raises."""


class Unreachable(ClientError):
    """Nobody listens there, or whoever does refuses this client: the command was not taken. `missing`: the process does
    not run."""

    def __init__(self, sentence: str, *, missing: bool = False) -> None:
        super().__init__(sentence)
        self.missing = missing


class NoAnswer(ClientError):
    """The command was not answered in time, and may still take effect. `waiting_for` is what it waits for, if that was
    said."""

    def __init__(self, sentence: str, waiting_for: str | None = None) -> None:
        super().__init__(sentence)
        self.waiting_for = waiting_for


class ConnectionLost(ClientError):
    """The other side exited without answering; the command may still take effect."""


class CommandFailed(ClientError):
    """The command was answered with a failure."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.error)
        self.failure = failure


class InvalidCommandFailed(CommandFailed):
    """It was no valid command."""


class BusyFailed(CommandFailed):
    """The node is too busy for it. It may be retried."""
