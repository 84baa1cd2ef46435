"""What all records of the schema have in common, and how they become lines of JSON.

A record's fields are its keys, in this order; an UNSET field is left out. Lines are ASCII, without spaces.
"""

from __future__ import annotations

import json
from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """Base of everything that is JSON outside."""


class Command(Record, frozen=True, tag_field="command"):
    """Base of all commands; the tag is the name that users type."""


class Event(Record, frozen=True, tag_field="event"):
    """Base of all events; the tag is the event's name."""


class Result(Record, frozen=True, kw_only=True):
    """Base of what commands answer."""

    ok: bool = True


class Failure(Result, frozen=True, kw_only=True):
    """The command changed nothing, or it is not known whether it did; `error` is a sentence for users. `kind` is
    "usage" if the line was no valid command."""

    ok: bool = False
    error: str
    kind: Literal["usage"] | UnsetType = UNSET


_ENCODER = msgspec.json.Encoder()
_ASCII = json.JSONEncoder(separators=(",", ":"))


def encode(record: Record) -> bytes:
    """The record as JSON, in ASCII. Nearly every record is ASCII already, and msgspec writes the same at a tenth of
    the cost; other characters, half characters among them, are escaped."""
    try:
        quick = _ENCODER.encode(record)
    except UnicodeEncodeError:  # half a character, which only an escape can show
        quick = b"\xff"
    return quick if quick.isascii() else _ASCII.encode(builtins(record)).encode()


def encode_gently(record: Record) -> bytes:
    """As `encode`, in many small steps, so that a thread that does this does not hold up the others."""
    return "".join(_ASCII.iterencode(builtins(record))).encode()


def builtins(record: Record) -> dict[str, Any]:
    """The record as plain JSON values, its keys in order."""
    plain: dict[str, Any] = msgspec.to_builtins(record, str_keys=True)
    return plain


def result_line(name: str, line: int, encoded: bytes) -> bytes:
    """The line that answers the command `name` of input line `line`; `encoded` is its result, from `encode`."""
    head = _ASCII.encode({"event": "result", "command": name, "line": line})
    return head[:-1].encode() + b"," + encoded[1:] + b"\n"
