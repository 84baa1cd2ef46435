"""Commands about conversations as a whole. All of it raises InvalidCommand."""

from __future__ import annotations

from collections.abc import Awaitable

from msgspec import UNSET

from api import node_commands as commands
from api import node_results as results
from api.base import Failure
from api.errors import BUSY
from engine.interface import Busy
from kvstore.operations import Delete, Fork, Rename, SetAuto, SetSystem, SetTitle, Undelete
from server.search import SearchError
from server.session import Answer, Session


def delete(session: Session, command: commands.DeleteCommand) -> Answer[results.DeleteResult]:
    context, created = command.context, None if command.created is UNSET else command.created
    return session.submit(
        Delete(context, created),
        lambda turn: results.DeleteResult(context=context, kept=session.store.can_undelete(context)),
    )


def undelete(session: Session, command: commands.UndeleteCommand) -> Answer[results.UndeleteResult]:
    context = command.context
    return session.submit(
        Undelete(context),
        lambda turn: results.UndeleteResult(
            context=context, turns=len(session.conversations[context].turns),
            warning=session.quota_warning(context, created=True),
        ),
    )


def system(session: Session, command: commands.SystemCommand) -> Awaitable[results.SystemResult | Failure]:
    context, text = command.context, command.text
    if text is UNSET:
        return _system(session, context)
    return session.submit(
        SetSystem(context, text), lambda turn: results.SystemResult(context=context, system=text or None, stale=False)
    )


async def _system(session: Session, context: str) -> results.SystemResult | Failure:
    found = await session.view(commands.ViewCommand(context))
    if not isinstance(found, results.ViewResult):
        return found
    return results.SystemResult(context=context, system=found.system or None, stale=found.stale)


def auto(session: Session, command: commands.AutoCommand) -> Awaitable[results.AutoResult | Failure]:
    context, on = command.context, command.on
    if on is UNSET:
        return _auto(session, context)
    return session.submit(SetAuto(context, on), lambda turn: results.AutoResult(context=context, auto=on, stale=False))


async def _auto(session: Session, context: str) -> results.AutoResult | Failure:
    found = await session.view(commands.ViewCommand(context))
    if not isinstance(found, results.ViewResult):
        return found
    return results.AutoResult(context=context, auto=found.auto is True, stale=found.stale)


def title(session: Session, command: commands.TitleCommand) -> Awaitable[results.TitleResult | Failure]:
    context, text = command.context, command.text
    if text is UNSET:
        return _title(session, context)
    return session.submit(
        SetTitle(context, text), lambda turn: results.TitleResult(context=context, title=text or None, stale=False)
    )


async def _title(session: Session, context: str) -> results.TitleResult | Failure:
    found = await session.view(commands.ViewCommand(context))
    if not isinstance(found, results.ViewResult):
        return found
    return results.TitleResult(context=context, title=found.title or None, stale=found.stale)


async def search(session: Session, command: commands.SearchCommand) -> results.SearchResult | Failure:
    index = session.search_index
    if index is None:
        return Failure(error="this node has no index of texts")
    try:
        stale = not await session.caught_up()
        found, more = await index.find(command.words, command.limit)
    except Busy as busy:
        return Failure(error=f"{BUSY}: {busy}")
    except SearchError as error:
        return Failure(error=str(error))
    texts = [results.FoundText(context=one.context, turn=one.turn, node=one.node, excerpt=one.parts) for one in found]
    return results.SearchResult(found=texts, more=more, stale=stale, left_out=index.left_out or UNSET)


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
