"""Turns of one conversation as the beginning of another."""

from __future__ import annotations

from typing import Final

import msgspec

from kvstore.conversation import Conversation, Turn
from kvstore.packed_turns import MAX_PARTS
from kvstore.refusals import Refused

MAX_BYTES: Final = 16 * 1024 * 1024


def forked_turns(source: Conversation, upto: int | None) -> list[Turn]:
    """Copies of the turns up to this one, without their keys: those find turns of the conversation that they were given
    to; and without what counts in open turns only. Raises Refused."""
    context, closed = source.context, len(source.turns) - (source.open_turn is not None)
    if upto is not None and upto > len(source.turns):
        raise Refused(f"'{context}' has no turn {upto}")
    if upto is not None and upto > closed:
        raise Refused(f"turn {upto} of '{context}' is open: only what is closed can be in a fork")
    turns = source.turns[: closed if upto is None else upto]
    if sum(1 + len(turn.candidates) for turn in turns) > MAX_PARTS or sum(turn.bytes for turn in turns) > MAX_BYTES:
        raise Refused(
            f"'{context}' is too long to be forked as a whole: a fork has at most {MAX_PARTS} turns and answers, and "
            f"{MAX_BYTES} bytes; fork {context} NEW TURN takes the turns up to TURN"
        )
    return [
        msgspec.structs.replace(turn, key="", polled=0, regenerating=False, synthesis=None)
        for turn in turns
    ]
