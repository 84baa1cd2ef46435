"""Carries out typed commands for users without a prompt: what each means is told by its session alone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from api import node_commands as commands
from api.base import Command, Failure, Result
from server import conversations
from server.session import Session

Carry: TypeAlias = Callable[[Session, Any], Awaitable[Result | Failure]]


async def _log(session: Session, command: commands.LogCommand) -> Result:
    return session.log(command)


async def _status(session: Session, command: commands.StatusCommand) -> Result:
    return session.status()


COMMANDS: dict[type[Command[Any]], Carry] = {
    commands.CreateCommand: Session.create,
    commands.QueryCommand: Session.query,
    commands.AskCommand: Session.ask,
    commands.ChooseCommand: Session.choose,
    commands.CancelCommand: Session.cancel,
    commands.RetryCommand: Session.retry,
    commands.RegenerateCommand: Session.regenerate,
    commands.DeleteCommand: conversations.delete,
    commands.UndeleteCommand: conversations.undelete,
    commands.TitleCommand: conversations.title,
    commands.SystemCommand: conversations.system,
    commands.AutoCommand: conversations.auto,
    commands.RenameCommand: conversations.rename,
    commands.ForkCommand: conversations.fork,
    commands.ViewCommand: Session.view,
    commands.LastCommand: Session.last,
    commands.ViewallCommand: Session.viewall,
    commands.SearchCommand: conversations.search,
    commands.LogCommand: _log,
    commands.ExportCommand: Session.export,
    commands.ImportCommand: Session.import_,
    commands.BackupCommand: Session.backup,
    commands.MembersCommand: Session.members_of_cluster,
    commands.QuotasCommand: Session.quotas,
    commands.StatusCommand: _status,
}
"""All commands of a node but those that set what one prompt shows, or fills in."""


def carry_out(session: Session, command: Command[Any]) -> Awaitable[Result | Failure]:
    """Starts a command. Raises InvalidCommand, perhaps only when it is awaited."""
    return COMMANDS[type(command)](session, command)
