"""Commands about conversations as a whole. All of it raises InvalidCommand."""

from __future__ import annotations

from msgspec import UNSET

from api import node_commands as commands
from api import node_results as results
from kvstore.operations import Fork, Rename
from server.session import Answer, Session


def rename(session: Session, command: commands.RenameCommand) -> Answer[results.RenameResult]:
    context, name = command.context, command.name
    return session.submit(Rename(context, name), lambda turn: results.RenameResult(context=context, name=name))


def fork(session: Session, command: commands.ForkCommand) -> Answer[results.ForkResult]:
    context, name = command.context, command.name
    return session.submit(
        Fork(name, context, None if command.turn is UNSET else command.turn),
        lambda turns: results.ForkResult(
            context=context, name=name, turns=turns, warning=session.quota_warning(name, created=True)
        ),
    )
