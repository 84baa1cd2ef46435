"""What nodes tell each other of answers that are being written: hints, beside the log, bounded, harmless when lost.

Only what begins with a number is one of these; the hints of server/progress_hints.py begin with a text.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

import msgspec

from kvstore.rules import MAX_CONTEXT_CHARS, MAX_TURN, check_context

PIECE_CHARS = 2_000
MAX_DRAFT_CHARS = 65_536
_MAX_BYTES = 4 * PIECE_CHARS + 1024

_Context: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_CONTEXT_CHARS)]
_Turn: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=MAX_TURN)]
_Id: TypeAlias = Annotated[int, msgspec.Meta(ge=0, lt=2**48)]
_Place: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=MAX_DRAFT_CHARS)]
_Text: TypeAlias = Annotated[str, msgspec.Meta(max_length=PIECE_CHARS)]


class Wanted(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """Somebody at the sender looks at this turn. It has the first `have` characters of the receiver's draft `draft` of
    an answer, or of the `synthesis`; of none, if `draft` is 0."""

    context: _Context
    turn: _Turn
    draft: _Id
    have: _Place
    synthesis: bool = False


class Piece(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """What stands at `offset` in the sender's draft."""

    context: _Context
    turn: _Turn
    draft: _Id
    offset: _Place
    text: _Text
    synthesis: bool = False


encode = msgspec.msgpack.Encoder().encode
_decoder: msgspec.msgpack.Decoder[Wanted | Piece] = msgspec.msgpack.Decoder(Wanted | Piece)


def is_about_drafts(payload: bytes) -> bool:
    return len(payload) > 1 and payload[1] < 0x80


def decode(payload: bytes) -> Wanted | Piece | None:
    """None for anything that no node sends."""
    if len(payload) > _MAX_BYTES:
        return None
    try:
        message = _decoder.decode(payload)
        return None if check_context(message.context) else message
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
