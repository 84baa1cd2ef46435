"""Turns of a conversation in one piece of bytes: a conversation that is imported is a single operation."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from itertools import chain
from typing import Final, Literal

import msgspec

from kvstore.conversation import SYNTHESIS, Cut

MAX_UNPACKED_BYTES: Final = 4 * 1024 * 1024
MAX_PARTS: Final = 5_000
"""Turns and responses together that one operation adds: every node carries it out in one step, and they are what takes
the time. Their texts are bounded in bytes."""


class Restored(msgspec.Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """One response of a restored turn. Fields as in `kvstore.operations.Said`."""

    node: int
    text: str | None
    error: str | None
    model: str = ""
    seconds: float = 0.0


class RestoredInFull(Restored, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """With what release 0.1.0 does not know of it. Fields as in `kvstore.conversation.Response`."""

    cut: Cut | None = None
    cut_at: float = 0.0
    tokens_in: int = 0
    tokens_out: int = 0
    by: int = 0
    out_of: tuple[int, ...] = ()


class RestoredTurn(msgspec.Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """A closed turn of an import; cancelled if no response is chosen."""

    kind: Literal["query", "ask"]
    text: str
    candidates: list[Restored]
    chosen: int | None

    @property
    def parts(self) -> int:
        """The question, and its responses."""
        return 1 + len(self.candidates)


class _TurnInFull(msgspec.Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    kind: Literal["query", "ask"]
    text: str
    candidates: list[RestoredInFull]
    chosen: int | None


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[RestoredTurn])
_decoder_in_full = msgspec.msgpack.Decoder(list[_TurnInFull])


def pack(turns: Sequence[RestoredTurn]) -> bytes:
    """The turns of an `Import`, or of an `ImportInFull` if all responses are in full. Limits are not checked here."""
    return zlib.compress(_encoder.encode(turns))


def in_plain(turns: Sequence[RestoredTurn]) -> list[RestoredTurn]:
    """The same as release 0.1.0 knows them."""
    return [
        msgspec.structs.replace(turn, candidates=[
            Restored(said.node, said.text, said.error, said.model, said.seconds) for said in turn.candidates
        ]) for turn in turns
    ]


def says_more(turns: Sequence[RestoredTurn]) -> bool:
    """True if anything is lost `in_plain`."""
    found = chain.from_iterable(turn.candidates for turn in turns)
    return has_synthesis(turns) or any(
        isinstance(said, RestoredInFull) and (said.cut or said.tokens_in or said.tokens_out) for said in found
    )


def has_synthesis(turns: Sequence[RestoredTurn]) -> bool:
    """True if these turns cannot be `in_plain`."""
    return any(said.node == SYNTHESIS for turn in turns for said in turn.candidates)


def unpack(packed: bytes, in_full: bool = False) -> list[RestoredTurn]:
    """The packed turns, of an `ImportInFull` if `in_full`. Raises ValueError, with a sentence for users, if there are
    none or too many."""
    inflating = zlib.decompressobj()
    try:
        plain = inflating.decompress(packed, MAX_UNPACKED_BYTES)
        if inflating.unconsumed_tail:
            raise ValueError(f"all turns together exceed {MAX_UNPACKED_BYTES} bytes")
        if not inflating.eof or inflating.unused_data:
            raise ValueError("these are not the turns of a conversation")
        if not in_full:
            return _decoder.decode(plain)
        found = _decoder_in_full.decode(plain)
        return [RestoredTurn(turn.kind, turn.text, [*turn.candidates], turn.chosen) for turn in found]
    except (zlib.error, msgspec.MsgspecError, UnicodeDecodeError, OverflowError, RecursionError) as error:
        raise ValueError("these are not the turns of a conversation") from error
