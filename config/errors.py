"""What is wrong with a value in a configuration file: the key, its value, and what is allowed, in one sentence."""

from __future__ import annotations

import difflib
import re
from typing import Any

import msgspec
from msgspec import inspect

from config.json_text import shown

SECRETS = ("secret", "api_key", "keys", "key")
"""Keys whose values are never shown: errors end up on screens and in logs."""

_NAMES = {
    "int": "a whole number", "float": "a number", "str": "a string", "array": "a list", "object": "an object",
    "bool": "true or false",
}
"""What msgspec's messages call the types of JSON, in plain words."""


def explain(error: msgspec.ValidationError, target: type, where: str, raw: Any) -> str:
    """One sentence about `raw`, which is not a `target`. `where` is its key in the file, "" for the whole file."""
    problem, _, path = str(error).rpartition(" - at `$")
    path = path.rstrip("`").removeprefix(".") if problem else ""
    problem = problem or str(error)
    key = ".".join(part for part in (where, path) if part)
    value, wanted = _at(path, raw, inspect.type_info(target))
    if problem.startswith("Object contains unknown field"):
        return f"{key or 'the file'} has {_unknown(problem.partition('`')[2][:-1], wanted)}"
    if problem.startswith("Object missing required field"):
        return f"{key or 'the file'} lacks the key \"{problem.partition('`')[2][:-1]}\""
    return f"{key} is {_masked(key, value)}; it must be {_expected(problem, wanted)}"


def _at(path: str, value: Any, wanted: inspect.Type) -> tuple[Any, inspect.Type]:
    """The value at a path like `nodes[0].id`, and the type that it should have."""
    for name, index in re.findall(r"([^.\[\]]+)|\[(\d+)\]", path):
        value, wanted = value[name or int(index)], _container(wanted, value)
        if isinstance(wanted, inspect.StructType):
            wanted = next(field.type for field in wanted.fields if field.encode_name == name)
        elif isinstance(wanted, inspect.ListType | inspect.VarTupleType):
            wanted = wanted.item_type
    return value, _container(wanted, value)


def _container(wanted: inspect.Type, value: Any) -> inspect.Type:
    """Of a union, what a section or a list is meant to be."""
    if not isinstance(wanted, inspect.UnionType) or not isinstance(value, dict | list):
        return wanted
    kinds = inspect.StructType if isinstance(value, dict) else inspect.ListType | inspect.VarTupleType
    return next((option for option in wanted.types if isinstance(option, kinds)), wanted)


def _unknown(name: str, section: inspect.Type) -> str:
    known = [field.encode_name for field in section.fields] if isinstance(section, inspect.StructType) else []
    near = difflib.get_close_matches(name[:100], known, n=1)
    hint = f"did you mean {shown(near[0])}?" if near else f"allowed keys: {', '.join(known)}"
    return f"the unknown key {shown(name)}; {hint}"


def _masked(key: str, value: Any) -> str:
    if re.sub(r"\[\d+\]", "", key).rpartition(".")[2] not in SECRETS:
        return shown(value)
    return f"{len(value)} characters long" if isinstance(value, str) else "not a string"


def _expected(problem: str, wanted: inspect.Type) -> str:
    """From msgspec's "Expected `int | null`, got `str`"; of a number always the whole range."""
    kinds, _, bound = problem.removeprefix("Expected `").partition("`")
    ranges: dict[str, str] = {}
    for option in wanted.types if isinstance(wanted, inspect.UnionType) else (wanted,):
        if isinstance(option, inspect.IntType | inspect.FloatType):
            limits = ((">=", option.ge), (">", option.gt), ("<=", option.le), ("<", option.lt))
            within = " and".join(f" {sign} {limit:.15g}" for sign, limit in limits if limit is not None)
            ranges["int" if isinstance(option, inspect.IntType) else "float"] = within
    words = " or ".join(_NAMES.get(kind, kind) + ranges.get(kind, "") for kind in kinds.split(" | "))
    return words if ranges else words + bound.partition(", got ")[0]
