"""Events and results as lines of JSON: ASCII only, no spaces."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from console.commands import Command, Result

_ENCODER = json.JSONEncoder(separators=(",", ":"), default=str)


def encode(record: Mapping[str, Any]) -> str:
    return _ENCODER.encode(record)


def encode_gently(record: Mapping[str, Any]) -> str:
    """Like `encode`, in many small steps, so that a thread that does this does not hold up the others."""
    return "".join(_ENCODER.iterencode(record))


def result_record(command: Command, result: Result) -> dict[str, Any]:
    return {"event": "result", "command": command.name, "line": command.line, **result}


def waiting_record(command: Command, reason: str) -> dict[str, Any]:
    return {"event": "waiting", "command": command.name, "line": command.line, "reason": reason}
