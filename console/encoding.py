"""Events and results as lines of JSON: ASCII only, no spaces."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from console.usage import Command, Result

_ENCODER = json.JSONEncoder(separators=(",", ":"), default=str)


_QUICK = msgspec.json.Encoder(enc_hook=str)


def encode(record: Mapping[str, Any]) -> str:
    return encode_line(record)[:-1].decode()


def encode_line(record: Mapping[str, Any]) -> bytes:
    """With its line feed, as it is sent. Nearly every record is ASCII, and then msgspec writes the same, at a tenth of
    the cost."""
    try:
        quick = _QUICK.encode(record)
    except (TypeError, UnicodeEncodeError):  # half characters, or keys that are no strings
        quick = b"\xff"
    return (quick if quick.isascii() else _ENCODER.encode(record).encode()) + b"\n"


def encode_gently(record: Mapping[str, Any]) -> str:
    """Like `encode`, in many small steps, so that a thread that does this does not hold up the others."""
    return "".join(_ENCODER.iterencode(record))


def result_record(command: Command, result: Result) -> dict[str, Any]:
    return {"event": "result", "command": command.name, "line": command.line, **result}


def waiting_record(command: Command, reason: str) -> dict[str, Any]:
    return {"event": "waiting", "command": command.name, "line": command.line, "reason": reason}
