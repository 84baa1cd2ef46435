"""Why operations are refused: what they name is not there, is closed, or is still open. The sentences are for users."""

from __future__ import annotations

from kvstore.conversation import SYNTHESIS, Conversation, Kind, State, Turn


class Refused(Exception):
    """Carries the sentence for the user."""


def accept(refusal: str | None) -> None:
    """Raises Refused if there is one."""
    if refusal is not None:
        raise Refused(refusal)


def named_turn(conversation: Conversation, number: int | None) -> int | None:
    """The turn that an operation means: the one that it names, else the last one, since no other can be open. None if
    there is no turn yet."""
    if number is not None and number > len(conversation.turns):
        raise Refused(f"'{conversation.context}' has no turn {number}")
    return number or len(conversation.turns) or None


def open_turn(conversation: Conversation, number: int | None) -> int:
    """Like `named_turn`, but the turn must be open; refused otherwise."""
    context = conversation.context
    number = named_turn(conversation, number)
    if number is None:
        raise Refused(f"'{context}' has no open question")
    turn = conversation.turns[number - 1]
    if turn.state is not State.OPEN:
        nothing_open = f"'{context}' has no open question: {closed(context, number, turn)}"
        raise Refused(moved_on(conversation, number) or nothing_open)
    return number


def last_answered(conversation: Conversation, number: int | None) -> int:
    """Like `named_turn`, but the turn must be the last, and an `ask` that has its answer; refused otherwise."""
    context = conversation.context
    number = named_turn(conversation, number)
    if number is None:
        raise Refused(f"'{context}' has no answer yet")
    turn = conversation.turns[number - 1]
    if number < len(conversation.turns):
        raise Refused(f"turn {number} is not the last of '{context}': no other answer can take its place")
    if turn.kind is Kind.QUERY:
        raise Refused(f"turn {number} of '{context}' is a query: only the answer to an `ask` is asked for again")
    accept(still_open(conversation))
    if turn.cancelled:
        raise Refused(closed(context, number, turn))
    return number


def still_open(conversation: Conversation) -> str | None:
    """Why this has to wait for the end of the open question; None if there is none."""
    if conversation.open_turn is None:
        return None
    context, last = conversation.context, conversation.turns[-1]
    way_out = f"choose one of its answers (choose {context} N)" if last.kind is Kind.QUERY else "wait for its answer"
    return (
        f"'{context}' has an open question: {way_out}, ask it again (retry {context}) or cancel it (cancel {context})"
    )


def moved_on(conversation: Conversation, closed: int) -> str | None:
    """What to say of a closed turn that an operation names while a later one is open."""
    open_turn = conversation.open_turn
    return None if open_turn is None else f"turn {closed} is closed; turn {open_turn} is open since"


def closed(context: str, number: int, turn: Turn) -> str:
    """Why a turn is closed."""
    if turn.chosen is not None:
        return f"already chosen: {whose(turn.chosen)}, turn {number}"
    return f"turn {number} of '{context}' was cancelled"


def whose(number: int) -> str:
    """A candidate, in words."""
    return "the synthesis" if number == SYNTHESIS else f"node {number}'s answer"


def who_has(turn: Turn) -> str:
    nodes = turn.answered
    if not nodes:
        return "no node has one yet"
    synthesis = f", and {SYNTHESIS}, the synthesis" if SYNTHESIS in turn.candidates else ""
    return f"answered so far: node{'s' if len(nodes) > 1 else ''} {', '.join(map(str, nodes))}{synthesis}"


def choosing_from(conversation: Conversation, number: int | None) -> int:
    """Like `open_turn`, but of a query whose answers the nodes do not rank already; refused otherwise."""
    context, number = conversation.context, open_turn(conversation, number)
    turn = conversation.turns[number - 1]
    if turn.kind is Kind.ASK:
        raise Refused(f"there is nothing to choose in '{context}': the leader's answer is final")
    if turn.open_poll is not None:
        raise Refused(f"the nodes are already choosing in '{context}'")
    return number
