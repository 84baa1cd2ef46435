"""Turns of a conversation in one piece of bytes: a conversation that is imported is a single operation."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Final, Literal

import msgspec

MAX_UNPACKED_BYTES: Final = 4 * 1024 * 1024


class Restored(msgspec.Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """One response of a restored turn. Fields as in `kvstore.operations.Said`."""

    node: int
    text: str | None
    error: str | None
    model: str = ""
    seconds: float = 0.0


class RestoredTurn(msgspec.Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """A closed turn of an import; cancelled if no response is chosen."""

    kind: Literal["query", "ask"]
    text: str
    candidates: list[Restored]
    chosen: int | None


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[RestoredTurn])


def pack(turns: Sequence[RestoredTurn]) -> bytes:
    """The turns of an `Import`. Limits are not checked here."""
    return zlib.compress(_encoder.encode(turns))


def unpack(packed: bytes) -> list[RestoredTurn]:
    """The packed turns. Raises ValueError, with a sentence for users, if there are none or too many."""
    inflating = zlib.decompressobj()
    try:
        plain = inflating.decompress(packed, MAX_UNPACKED_BYTES)
        if inflating.unconsumed_tail:
            raise ValueError(f"all turns together exceed {MAX_UNPACKED_BYTES} bytes")
        if not inflating.eof or inflating.unused_data:
            raise ValueError("these are not the turns of a conversation")
        return _decoder.decode(plain)
    except (zlib.error, msgspec.MsgspecError, UnicodeDecodeError, OverflowError, RecursionError) as error:
        raise ValueError("these are not the turns of a conversation") from error
