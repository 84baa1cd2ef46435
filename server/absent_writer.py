"""The leader ends a synthesis that is awaited from a node which is not there: nobody else may write it.

It can be asked for again. If two leaders end one, the second comes too late and changes nothing.
"""

from __future__ import annotations

from kvstore.conversation import Conversation
from kvstore.operations import IfCreatedAt, StoreOperation, Synthesized
from llm.requests import View

Key = tuple[int, int, int]
"""The position that created the conversation, turn, synthesis."""


class AbsentWriter:
    """At node `number`."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._ended: dict[str, Key] = {}
        """By conversation, of those in which one is awaited: what was to be submitted last."""

    def due(self, conversation: Conversation, view: View) -> StoreOperation | None:
        """What is to be submitted now. To be called after every event that may end a synthesis."""
        context, number = conversation.context, conversation.open_turn
        synthesis = None if number is None else conversation.turns[number - 1].open_synthesis
        if number is None or synthesis is None or synthesis.node is None:
            self.forget(context)
            return None
        node, key = synthesis.node, (conversation.created, number, synthesis.number)
        if view.leader != self._number or node in view.live | {self._number} or self._ended.get(context) == key:
            return None
        self._ended[context] = key
        error = f"node {node} is not there, as the leader, node {self._number}, sees it"
        return IfCreatedAt(
            conversation.created, Synthesized(context, number, node, None, error, round=synthesis.number)
        )

    def forget(self, context: str) -> None:
        """No synthesis is awaited in this conversation."""
        self._ended.pop(context, None)

    def forget_all(self) -> None:
        """The conversations were replaced."""
        self._ended.clear()
