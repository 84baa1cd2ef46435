"""A value of any type of the schema, with text in it that a terminal would take for more than text."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import inspect

HIDDEN = "\x1b[8m"
"""A colour sequence that no view uses."""
HOSTILE = f"a\x1b]0;title\x07b{HIDDEN}c\r\x9b2J\u202ed\n# e\u2066|`f`\x00"
NAMES = ("context", "cluster")
"""Fields whose text is checked when it is made."""


def sample(kind: Any, text: str = HOSTILE) -> Any:
    """As plain JSON values. Of a union, the first that holds most."""
    return _sample(inspect.type_info(kind), text, 0)


def _sample(info: inspect.Type, text: str, depth: int) -> Any:
    match info:
        case inspect.StructType():
            fields = {
                field.encode_name: "c1" if field.name in NAMES else _sample(field.type, text, depth + 1)
                for field in info.fields if depth < 8 or field.required
            }
            return fields if info.tag_field is None else {info.tag_field: info.tag, **fields}
        case inspect.UnionType():
            empty = (inspect.NoneType, inspect.CustomType)
            return _sample(next(each for each in info.types if not isinstance(each, empty)), text, depth)
        case inspect.ListType() | inspect.VarTupleType() | inspect.SetType():
            return [_sample(info.item_type, text, depth)] * 2
        case inspect.TupleType():
            return [_sample(each, text, depth) for each in info.item_types]
        case inspect.DictType():
            return {str(_sample(info.key_type, text, depth)): _sample(info.value_type, text, depth)}
        case inspect.LiteralType():
            return info.values[0]
        case inspect.BoolType():
            return True
        case inspect.IntType():
            return 1
        case inspect.FloatType():
            return 1.5
        case _:
            return text


def of_json(kind: Any, value: Any) -> Any:
    """The record in plain JSON values. Raises ValueError."""
    try:
        return msgspec.convert(value, kind, strict=False)
    except (msgspec.MsgspecError, UnicodeError, OverflowError, RecursionError) as error:
        raise ValueError(str(error)) from error
