"""Records that have further keys, known only when they are made."""

from __future__ import annotations

from collections.abc import Mapping
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


@lru_cache(maxsize=256)
def _type(base: type[Record], keys: tuple[str, ...], constants: tuple[tuple[str, object], ...]) -> type[msgspec.Struct]:
    further = [(key, Any) for key in keys if key not in base.__struct_fields__]
    return msgspec.defstruct(
        base.__name__, further, bases=(base,), namespace=dict(constants), frozen=True, kw_only=True,
        tag=base.__struct_config__.tag,
    )
