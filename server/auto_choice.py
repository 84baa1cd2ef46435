"""The leader has the nodes choose by themselves, where they are to, when the answers of all that are there are in.

The store, not this, sees to it that they do so once for each time that a question is asked: two leaders may both think
that it is theirs to say.
"""

from __future__ import annotations

from kvstore.conversation import Conversation
from kvstore.operations import ChooseAuto, IfCreatedAt, StoreOperation
from llm.requests import View

Key = tuple[str, int, int]
"""Conversation, turn, round."""


class AutoChoice:
    """At node `number`."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._under_way: set[Key] = set()
        """What was to be submitted, and is not applied yet."""

    def due(self, conversation: Conversation, view: View) -> StoreOperation | None:
        """What is to be submitted now. To be called after every event that may bring an answer or a leader."""
        number = conversation.choosing
        if number is None or view.leader != self._number:
            return None
        turn = conversation.turns[number - 1]
        key = conversation.context, number, turn.rounds
        if key in self._under_way or not (view.live | {self._number}) <= turn.candidates.keys():
            return None
        self._under_way.add(key)
        return IfCreatedAt(conversation.created, ChooseAuto(conversation.context, number, turn.rounds))

    def applied(self, operation: ChooseAuto) -> None:
        """If it was refused, the conversation is to be looked at again: it may have changed before."""
        self._under_way.discard((operation.context, operation.turn, operation.round))

    def forget_all(self) -> None:
        """The conversations were replaced: what was under way may be in them."""
        self._under_way.clear()
