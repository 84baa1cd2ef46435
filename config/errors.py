"""What is wrong with a value in a configuration file, in words for people: the key, its value, what it may be."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import inspect

SECRETS = ("secret", "api_key")
"""Keys whose values are not shown: errors end up on screens and in logs."""

_AT = re.compile(r" - at `\$\.?(.*)`$", re.DOTALL)
_UNKNOWN = re.compile(r"^Object contains unknown field `(.*)`$", re.DOTALL)
_MISSING = re.compile(r"^Object missing required field `(.*)`$")
_STEP = re.compile(r"([^.\[\]]+)|\[(\d+)\]")

_NO_MORE = inspect.AnyType()


def explain(error: msgspec.ValidationError, target: type, where: str, raw: Any) -> str:
    """One sentence about `raw`, which is no `target`. `where` is its key in the file, "" for the whole file."""
    problem = str(error)
    located = _AT.search(problem)
    inner = located.group(1) if located else ""
    problem = _AT.sub("", problem)
    key = ".".join(part for part in (where, inner) if part)
    wanted = _wanted(inspect.type_info(target), inner)
    if unknown := _UNKNOWN.match(problem):
        return _unknown(unknown.group(1), key or "the file", wanted)
    if missing := _MISSING.match(problem):
        return f'{key or "the file"} lacks the key "{missing.group(1)}"'
    value = _value(raw, inner)
    if key.rpartition(".")[2] in SECRETS:
        is_now = f"{len(value)} characters long" if isinstance(value, str) else "no text"
    else:
        is_now = shown(value)
    return f"{key} is {is_now}; it must be {_words(wanted)}"


def shown(value: Any) -> str:
    """As in the file, shortened, with control characters escaped; not what is inside of sections: it may be secret."""
    if isinstance(value, dict | list) and value:
        return "{...}" if isinstance(value, dict) else "[...]"
    text = json.dumps(value, ensure_ascii=True)
    return text if len(text) <= 80 else text[:77] + "..."


def _unknown(name: str, section: str, wanted: inspect.Type) -> str:
    known = [field.encode_name for field in wanted.fields] if isinstance(wanted, inspect.StructType) else []
    near = difflib.get_close_matches(name, known, n=1)
    hint = f'did you mean "{near[0]}"?' if near else f"allowed are {', '.join(known)}"
    return f"{section} has the unknown key {shown(name)}; {hint}"


def _steps(inner: str) -> Iterable[str | int]:
    """A path as msgspec writes it, `nodes[0].id`, step by step."""
    for name, index in _STEP.findall(inner):
        yield name or int(index)


def _value(raw: Any, inner: str) -> Any:
    """The value at a path; of a path that leads nowhere, the last that was there."""
    for step in _steps(inner):
        try:
            raw = raw[step]
        except (KeyError, IndexError, TypeError):
            break
    return raw


def _wanted(target: inspect.Type, inner: str) -> inspect.Type:
    """The type of the value at a path."""
    for step in _steps(inner):
        if isinstance(target, inspect.StructType):
            target = next((field.type for field in target.fields if field.encode_name == step), _NO_MORE)
        elif isinstance(target, inspect.ListType):
            target = target.item_type
        else:
            return _NO_MORE
    return target


def _words(wanted: inspect.Type) -> str:
    match wanted:
        case inspect.UnionType(types=types):
            return " or ".join(_words(each) for each in types)
        case inspect.LiteralType(values=values):
            return "one of " + ", ".join(shown(value) for value in values)
        case inspect.IntType():
            return "a whole number" + _range(wanted)
        case inspect.FloatType():
            return "a number" + _range(wanted)
        case inspect.StrType(pattern=str()):
            return "1 to 64 letters, digits, dots, dashes or underscores, a letter or digit first"
        case inspect.StrType(min_length=int(least)) if least > 1:
            return f"a text of at least {least} characters"
        case inspect.StrType(min_length=int()):
            return "a text that is not empty"
        case inspect.StrType():
            return "a text"
        case inspect.NoneType():
            return "null"
        case inspect.ListType(min_length=int(least)):
            return f"a list with at least {least} entry" + ("" if least == 1 else "s")
        case inspect.StructType(fields=fields):
            return "an object with keys out of " + ", ".join(field.encode_name for field in fields)
        case inspect.DictType():
            return 'an object like {"key": value}'
    return "something else"


def _range(number: inspect.IntType | inspect.FloatType) -> str:
    upper = "up to" if number.ge is None else "to"
    bounds = ((number.ge, "from"), (number.gt, "above"), (number.le, upper), (number.lt, "below"))
    return "".join(f" {words} {bound:.15g}" for bound, words in bounds if bound is not None)
