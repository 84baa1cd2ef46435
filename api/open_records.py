"""Records that have further keys, known only when they are made."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any, TypeVar, cast

import msgspec

from api.base import Record

R = TypeVar("R", bound=Record)


def extended(record: R, more: Mapping[str, Any], **constants: object) -> R:
    """A copy of the record with these keys after its own; one that it has already gets the new value. `constants` are
    class variables that differ from the record's."""
    values = {**msgspec.structs.asdict(record), **more}
    return cast(R, _type(type(record), tuple(values), tuple(constants.items()))(**values))


def converted(values: Mapping[str, Any], kind: type[R], without: Collection[str] = ()) -> R:
    """Plain JSON values as a record of this kind, with the keys that it does not have as further ones, but those
    `without`. Raises msgspec.ValidationError."""
    record = msgspec.convert(values, kind, strict=False)
    names = (*kind.__struct_fields__, "event", *without)
    more = {key: value for key, value in values.items() if key not in names}
    return extended(record, more) if more else record


@lru_cache(maxsize=256)
def _type(base: type[Record], keys: tuple[str, ...], constants: tuple[tuple[str, object], ...]) -> type[msgspec.Struct]:
    further = [(key, Any) for key in keys if key not in base.__struct_fields__]
    return msgspec.defstruct(
        base.__name__, further, bases=(base,), namespace=dict(constants), frozen=True, kw_only=True,
        tag=base.__struct_config__.tag,
    )
