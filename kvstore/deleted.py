"""Deleted conversations: the last ones are kept for a while, so that a deletion can be undone.

They are state like all others, in snapshots, too: whether one can come back is the same at every node. They have no
name, so that another conversation may take it, and count against no quota.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from kvstore.conversation import Conversation

KEPT_POSITIONS: Final = 10_000
"""Of the log: so long a deletion can be undone."""
KEPT_CONVERSATIONS: Final = 100
KEPT_BYTES: Final = 16 * 1024 * 1024


class Deleted:
    """In the order of their deletion."""

    def __init__(self, kept: Iterable[Conversation] = ()) -> None:
        self._kept = sorted(kept, key=lambda conversation: conversation.deleted)
        self._bytes = sum(conversation.bytes for conversation in self._kept)

    def add(self, conversation: Conversation) -> None:
        self._kept.append(conversation)
        self._bytes += conversation.bytes

    def last(self, context: str, position: int) -> Conversation | None:
        """The one of this name that could come back at this position."""
        found = (one for one in reversed(self._kept) if one.context == context and not _is_over(one, position))
        return next(found, None)

    def take(self, conversation: Conversation) -> None:
        """It is there again, or not kept any more."""
        self._kept = [one for one in self._kept if one is not conversation]
        self._bytes -= conversation.bytes

    def over(self, position: int) -> Iterator[Conversation]:
        """Takes out those that are not to be kept any more: the oldest ones."""
        while self._kept and (
            _is_over(self._kept[0], position) or len(self._kept) > KEPT_CONVERSATIONS or self._bytes > KEPT_BYTES
        ):
            oldest = self._kept[0]
            self.take(oldest)
            yield oldest


def _is_over(conversation: Conversation, position: int) -> bool:
    return position > conversation.deleted + KEPT_POSITIONS


def cannot_come_back(context: str) -> str:
    """As a sentence for users."""
    return (
        f"no deleted conversation '{context}' is kept: the last {KEPT_CONVERSATIONS} are, of {KEPT_BYTES} bytes "
        f"together, for {KEPT_POSITIONS} operations each"
    )
