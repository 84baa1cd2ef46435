"""The bytes of operations: the payloads of decided operations, which every node reads."""

from __future__ import annotations

from typing import Final, get_args

import msgspec

from kvstore.operations import IfCreatedAt, StoreOperation
from kvstore.rules import check


class UnknownOperation(Exception):
    """A decided operation of a kind that this release does not know. Others carry it out, so to go on without it would
    be to diverge from them."""


_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[StoreOperation] = msgspec.msgpack.Decoder(StoreOperation)
_TAGS: Final = frozenset(kind.__struct_config__.tag for kind in get_args(StoreOperation))
_CONDITIONAL: Final = IfCreatedAt.__struct_config__.tag
_HEADS: Final = frozenset(bytes((array, tag)) for array in range(0x91, 0xA0) for tag in _TAGS - {_CONDITIONAL})
"""How most payloads begin."""


def encode(operation: StoreOperation) -> bytes:
    """The payload to replicate. Raises ValueError, with a sentence for users, for an operation that `check` refuses."""
    error = check(operation)
    if error is not None:
        raise ValueError(error)
    return _encoder.encode(operation)


def decode(payload: bytes) -> StoreOperation:
    """The operation of a payload. Raises ValueError if there is none in it, UnknownOperation if it is of a kind that is
    not in `StoreOperation`. Limits are not checked here."""
    try:
        return _decoder.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, OverflowError, RecursionError) as error:
        tag = _kind(payload)
        if tag is not None and tag not in _TAGS:
            raise UnknownOperation(f"operation {tag} is of a later release") from error
        raise ValueError("not a command") from error


def is_known(payload: bytes) -> bool:
    """False for an operation of a kind that is not in `StoreOperation`: `decode` raises UnknownOperation."""
    return payload[:2] in _HEADS or (tag := _kind(payload)) is None or tag in _TAGS


def _kind(payload: bytes) -> int | None:
    """The kind of operation that a payload begins like; of a conditional one, that of what is done. Read by hand, so
    that all that follows, and how deep an interpreter can look into it, plays no part."""
    outer = _tag(payload, 0)
    if outer is None or outer[0] != _CONDITIONAL:
        return None if outer is None else outer[0]
    created = _integer(payload, outer[1])
    inner = None if created is None else _tag(payload, created[1])
    return outer[0] if inner is None else inner[0]


def _tag(payload: bytes, start: int) -> tuple[int, int] | None:
    """The first element of the MessagePack array that begins there, if that is a positive integer; and where it
    ends."""
    head = payload[start] if start < len(payload) else 0
    size = 1 if 0x91 <= head <= 0x9F else {0xDC: 3, 0xDD: 5}.get(head)
    found = None if size is None else _integer(payload, start + size)
    return found if found is not None and found[0] else None


def _integer(payload: bytes, start: int) -> tuple[int, int] | None:
    """The MessagePack integer that begins there, if it is one and not negative; and where it ends."""
    if start >= len(payload):
        return None
    first = payload[start]
    if first <= 0x7F:
        return first, start + 1
    size = {0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8}.get(first, 0)
    end = start + 1 + size
    return (int.from_bytes(payload[start + 1 : end], "big"), end) if size and end <= len(payload) else None
