"""What a user's words mean to the store."""

from __future__ import annotations

from collections.abc import Callable

from api.safe_text import one_line
from console import Command
from console.node_commands import AUTO
from kvstore.operations import Ask, Cancel, Choose, Create, Query, Retry, StartPoll, StoreOperation, check

TurnSeen = Callable[[str], int | None]
"""The turn of a conversation that the user has before their eyes."""
TooLong = Callable[[str], str | None]
"""Why a question cannot be put to this node's LLM; None if it can."""


class Refused(Exception):
    """A command that is typed right, but cannot be carried out. Says why, for users."""


def operation(command: Command, turn_seen: TurnSeen, too_long: TooLong) -> StoreOperation:
    """The operation that `command` asks for. Raises ValueError with a sentence for users, or Refused."""
    meant = _meant(command, turn_seen)
    mistake = check(meant)
    if mistake is not None:
        raise ValueError(mistake)
    refusal = too_long(meant.text) if isinstance(meant, (Query, Ask)) else None
    if refusal is not None:
        raise Refused(refusal)
    return meant


def _meant(command: Command, turn_seen: TurnSeen) -> StoreOperation:
    context, *rest = command.args
    match command.name:
        case "create":
            return Create(context)
        case "query":
            return Query(context, rest[0])
        case "ask":
            return Ask(context, rest[0])
        case "choose" if rest[0].lower() == AUTO:
            return StartPoll(context, turn_seen(context))
        case "choose":
            return Choose(context, whole(rest[0], "number of a node"), turn_seen(context))
        case "cancel":
            return Cancel(context, turn_seen(context))
        case "retry":
            return Retry(context, turn_seen(context), whole(rest[0], "number of a node") if rest else None)
        case _:
            raise AssertionError(command.name)


def whole(word: str, what: str) -> int:
    """Raises ValueError with a sentence for users."""
    if not (word.isascii() and word.isdigit() and len(word) < 10):
        raise ValueError(f"'{one_line(word, 20)}' is not the {what}")
    return int(word)
