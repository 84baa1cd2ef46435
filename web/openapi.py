"""docs/openapi.json, made from the structs that requests and responses are: python -m web.openapi [--write]"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from api.base import Command, Failure, name_of, result_type
from api.schema import meaning
from server.commands import COMMANDS
from web.commands import READING, role_for
from web.errors import ErrorBody
from web.keys import Role

FILE = Path(__file__).resolve().parents[1] / "docs" / "openapi.json"
VERSION = "0.2.0"

_REF = "#/components/schemas/{name}"
_HEAD = "One node of ConsensusLLM. docs/http.md is about keys, roles, addresses and retries."


def document() -> dict[str, Any]:
    results = [result_type(kind) for kind in COMMANDS]
    kinds = list(dict.fromkeys([*COMMANDS, *results, Failure, ErrorBody]))
    references, components = msgspec.json.schema_components(kinds, ref_template=_REF)
    refs = dict(zip(kinds, references, strict=True))
    for kind in COMMANDS:  # the address says which command it is
        schema = components[kind.__name__]
        schema["properties"].pop("command")
        schema["required"] = [name for name in schema["required"] if name != "command"]
    errors = _answers(refs)
    paths: dict[str, Any] = {}
    for kind in COMMANDS:
        paths[f"/api/{name_of(kind)}"] = _command(kind, refs, components, errors)
    paths["/api/events"] = {"get": _events(errors)}
    for path, summary in (("/healthz", "The process runs."), ("/readyz", "It is level and reaches a majority.")):
        paths[path] = {"get": {"summary": summary, "security": [], "responses": {
            "200": {"description": "It is so."}, "503": {"description": "It is not; `reason` says why."},
        }}}
    paths["/metrics"] = {"get": {
        "summary": "For Prometheus.", "responses": {"200": {"description": "Text."}, **errors},
    }}
    return {
        "openapi": "3.1.0", "info": {"title": "ConsensusLLM", "version": VERSION, "description": _HEAD},
        "servers": [{"url": "http://127.0.0.1:7481", "description": "node 1"}],
        "security": [{"key": []}], "paths": paths,
        "components": {"schemas": components, "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}},
    }


def _command(
    kind: type[Command[Any]], refs: dict[Any, Any], components: dict[str, Any], errors: dict[str, Any]
) -> dict[str, Any]:
    content = {"application/json": {"schema": refs[result_type(kind)]}}
    failure = {"description": "Refused; `error` says why.", "content": {"application/json": {"schema": refs[Failure]}}}
    responses = {
        "200": {"description": "Done.", "content": content}, **errors, "400": failure, "404": failure, "409": failure,
    }
    about = {
        "summary": meaning(kind), "description": f"Needs a key that allows to {role_for(kind).name.lower()}.",
        "responses": responses,
    }
    wait = {"name": "wait", "in": "query", "description": "Seconds until an answer.", "schema": {"type": "number"}}
    body = {"content": {"application/json": {"schema": refs[kind]}}}
    schema = components[kind.__name__]
    if kind not in READING:
        return {"post": {**about, "parameters": [wait], "requestBody": body}}
    fields = [
        {"name": name, "in": "query", "required": name in schema["required"], "schema": field}
        for name, field in schema["properties"].items()
    ]
    return {
        "get": {**about, "parameters": [*fields, wait]}, "post": {**about, "parameters": [wait], "requestBody": body},
    }


def _events(errors: dict[str, Any]) -> dict[str, Any]:
    last = {
        "name": "Last-Event-ID", "in": "header", "schema": {"type": "integer"},
        "description": "The id of the last event seen, from any node: the stream goes on after that one.",
    }
    return {
        "summary": "What happens in the cluster, as server-sent events; docs/api.md lists them.",
        "description": f"Needs a key that allows to {Role.READ.name.lower()}.", "parameters": [last],
        "responses": {"200": {"description": "A stream.", "content": {"text/event-stream": {}}}, **errors},
    }


def _answers(refs: dict[Any, Any]) -> dict[str, Any]:
    content = {"application/json": {"schema": refs[ErrorBody]}}
    words = {
        "401": "No key, or a wrong one.", "403": "The key, the host or the origin does not allow it.",
        "503": "The node is busy, or leaves: try another one.", "504": "Not decided in time; it may still take effect.",
    }
    return {status: {"description": said, "content": content} for status, said in words.items()}


def text() -> str:
    return json.dumps(document(), indent=1) + "\n"


def main(arguments: Iterable[str]) -> None:
    if "--write" in arguments:
        FILE.write_text(text(), "utf-8")
    else:
        print(text(), end="")


if __name__ == "__main__":
    main(sys.argv[1:])
