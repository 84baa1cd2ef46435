"""Quotas: how many conversations there may be, and how large one, and all of them together, may become.

They are decided like everything else in the store, and part of its snapshots: every node refuses the same operations.
What is larger already, because it is older than its quota, stays; it only does not grow. A turn that has begun is
finished, however long its answers are: each of them has a bound of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

MAX_QUOTA: Final = 2**40
WARN_AT: Final = 0.8
"""Of a quota: from here on, users are warned."""


class Quotas(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    conversations: int
    turns: int
    """Of a conversation."""
    bytes: int
    """Of a conversation: of its questions and answers, with errors and thoughts, and PART_BYTES for each of them."""
    total: int
    """The same of all conversations. A node holds them in memory, in three times as many bytes."""


FIRST: Final = Quotas(conversations=10_000, turns=10_000, bytes=64 * 1024 * 1024, total=1024 * 1024 * 1024)
"""What the leader of a cluster without quotas proposes when half of one is used."""


class Size(msgspec.Struct, frozen=True, gc=False):
    """Of a conversation, as it is or would be."""

    turns: int
    bytes: int


def refuse_conversation(quotas: Quotas | None, count: int) -> str | None:
    """Why there may be no conversation beside these `count`, as a sentence for users; None if there may."""
    if quotas is None or count < quotas.conversations:
        return None
    return (
        f"the cluster has {count} conversations, and its quota is {quotas.conversations}: go on in one of them, or "
        "raise the quota (quotas conversations N)"
    )


def refuse_size(quotas: Quotas | None, context: str, size: Size) -> str | None:
    """Why this conversation may not become so large."""
    for name, words, used, most in _measures(quotas, size):
        if used > most:
            return (
                f"'{context}' would have {used} {words}, and the quota of a conversation is {most}: create another "
                f"conversation, or raise the quota (quotas {name} N)"
            )
    return None


def refuse_total(quotas: Quotas | None, size: int) -> str | None:
    """Why all conversations together may not become so large."""
    if quotas is None or size <= quotas.total:
        return None
    return (
        f"all conversations together would have {size} bytes, and the quota of the cluster is {quotas.total}: "
        "delete what nobody needs any more, or raise the quota (quotas total N)"
    )


def warn_of_conversations(quotas: Quotas | None, count: int) -> str | None:
    """What to tell users when the quota is nearly used up."""
    if quotas is None or count < WARN_AT * quotas.conversations:
        return None
    used = f"{count} of {quotas.conversations}"
    return f"{used} conversations are in use: more need a higher quota (quotas conversations N)"


def warn_of_size(quotas: Quotas | None, context: str, size: Size) -> str | None:
    for name, words, used, most in _measures(quotas, size):
        if used >= WARN_AT * most:
            return f"'{context}' has {used} of {most} {words}: more need a higher quota (quotas {name} N)"
    return None


def warn_of_total(quotas: Quotas | None, size: int) -> str | None:
    if quotas is None or size < WARN_AT * quotas.total:
        return None
    used = f"{size} of {quotas.total}"
    return f"all conversations together have {used} bytes: more need a higher quota (quotas total N)"


def _measures(quotas: Quotas | None, size: Size) -> Iterator[tuple[str, str, int, int]]:
    if quotas is not None:
        yield "turns", "turns", size.turns, quotas.turns
        yield "bytes", "bytes", size.bytes, quotas.bytes
