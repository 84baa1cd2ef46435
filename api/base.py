"""What all records of the schema have in common, and how they become lines of JSON.

A record's fields are its keys, in this order; an UNSET field is omitted. Lines are ASCII, without spaces.
"""

from __future__ import annotations

import json
from functools import cache
from types import ModuleType
from typing import Any, ClassVar, Generic, Literal, TypeVar, get_args

import msgspec
from msgspec import UNSET, UnsetType


class Record(msgspec.Struct, frozen=True):
    """Base of everything that is JSON outside."""


class Event(Record, frozen=True, tag_field="event"):
    """Base of all events; the tag is the event's name."""


class Result(Record, frozen=True):
    """Base of what commands answer. Fields of subclasses are kw_only, so that `ok` comes first."""

    ok: bool = True

    replies_to: ClassVar[str | None] = None
    """The name of the command that the result's line gives, if not that of the command that was typed."""


class _NotOk(Result, frozen=True):
    ok: bool = False


class Failure(_NotOk, frozen=True, kw_only=True):
    """The command changed nothing, or it is not known whether it did; `error` is a sentence for users. `kind` is
    "usage" if it was no valid command. Fields of subclasses come before `error`, unless they are kw_only."""

    error: str
    kind: Literal["usage"] | UnsetType = UNSET


R_co = TypeVar("R_co", bound=Result, covariant=True)


class Command(Record, Generic[R_co], frozen=True, tag_field="command", forbid_unknown_fields=True):
    """Base of all commands; the tag is the name that users type. A `Command[R]` is answered by an R, or a Failure."""


def name_of(kind: type[Command[Any]] | type[Event]) -> str:
    """The tag of a command or an event."""
    tag = kind.__struct_config__.tag
    assert isinstance(tag, str)
    return tag


def names_in(module: ModuleType) -> list[str]:
    """The names of the commands that a module of the schema has."""
    return sorted(
        name_of(kind) for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, Command) and isinstance(kind.__struct_config__.tag, str)
        and kind.__module__ == module.__name__
    )


@cache
def result_type(kind: type[Command[R_co]]) -> type[R_co]:
    """What answers commands of this type when all goes well."""
    for base in getattr(kind, "__orig_bases__", ()):
        for argument in get_args(base):
            found: type[R_co] = argument
            return found
    raise TypeError(f"{kind.__name__} does not say what answers it")


_ENCODER = msgspec.json.Encoder()
_ASCII = json.JSONEncoder(separators=(",", ":"))


def encode(record: Record) -> bytes:
    """The record as JSON, in ASCII. Nearly every record is ASCII already, and msgspec writes the same at a tenth of
    the cost; other characters, lone surrogates among them, are escaped."""
    try:
        quick = _ENCODER.encode(record)
    except UnicodeEncodeError:  # half a character, which only an escape can show
        quick = b"\xff"
    return quick if quick.isascii() else _ASCII.encode(builtins(record)).encode()


def encode_gently(record: Record) -> bytes:
    """As `encode`, in many small steps, so that a thread that does this does not hold up the others."""
    return "".join(_GENTLE.iterencode(record)).encode()


def keys(record: Record) -> dict[str, Any]:
    """The record's keys and what is under them, one level deep; without its tag."""
    pairs = zip(record.__struct_encode_fields__, msgspec.structs.astuple(record), strict=True)
    return {key: value for key, value in pairs if value is not UNSET}


def builtins(record: Record) -> dict[str, Any]:
    """The record as plain JSON values, its keys in order."""
    plain: dict[str, Any] = msgspec.to_builtins(record, str_keys=True)
    return plain


class _ResultHead(Record, frozen=True, tag_field="event", tag="result"):
    """How each line with a result begins."""

    command: str
    line: int


def result_line(name: str, line: int, encoded: bytes) -> bytes:
    """The line that answers the command `name` of input line `line`; `encoded` is its result, from `encode`."""
    return b"%b,%b\n" % (encode(_ResultHead(name, line))[:-1], encoded[1:])


def _fields(record: object) -> dict[str, Any]:
    """One level of a record, for the encoder that goes in small steps."""
    if not isinstance(record, Record):
        raise TypeError(f"{type(record).__name__} is not a record")
    config = record.__struct_config__
    tag = {} if config.tag_field is None or config.tag is None else {config.tag_field: config.tag}
    return {**tag, **keys(record)}


_GENTLE = json.JSONEncoder(separators=(",", ":"), default=_fields)
