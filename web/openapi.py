"""docs/openapi.json and docs/openapi-network.json, made from the structs that requests and responses are:
python -m web.openapi [--write]"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

import api.operator_commands
from api.base import Command, Failure, name_of, result_type
from api.schema import meaning
from server.commands import COMMANDS
from web import operator_commands
from web.chat import ChatRequest
from web.commands import READING, role_for
from web.conversations import CreateRequest, UpdateRequest
from web.errors import ErrorBody
from web.keys import Role
from web.operator_commands import WITHOUT
from web.responses import ChooseRequest, ResponseRequest

DOCS = Path(__file__).resolve().parents[1] / "docs"
FILE = DOCS / "openapi.json"
NETWORK_FILE = DOCS / "openapi-network.json"
VERSION = "0.2.0"

OPENAI: tuple[tuple[str, str, str, type | None], ...] = (
    ("get", "/v1/models", "Who can answer: all nodes, the leader, or one node.", None),
    ("get", "/v1/models/{model}", "One of them.", None),
    ("post", "/v1/chat/completions", "An answer, or several nodes' answers as choices.", ChatRequest),
    ("get", "/v1/conversations", "All that last.", None),
    ("post", "/v1/conversations", "Begins a conversation.", CreateRequest),
    ("get", "/v1/conversations/{conversation}", "One of them, by its id or its context id.", None),
    ("post", "/v1/conversations/{conversation}", "Changes its title.", UpdateRequest),
    ("delete", "/v1/conversations/{conversation}", "Deletes it, at every node.", None),
    ("get", "/v1/conversations/{conversation}/items", "Its questions and chosen answers.", None),
    ("post", "/v1/responses", "A question whose answer the cluster chooses.", ResponseRequest),
    ("get", "/v1/responses/{response}", "What has become of it.", None),
    ("post", "/v1/responses/{response}/choose", "Chooses a node's answer, or has the nodes choose.", ChooseRequest),
    ("post", "/v1/responses/{response}/cancel", "Gives up the question.", None),
)
"""What OpenAI's clients know: (method, path, summary, body)."""

_REF = "#/components/schemas/{name}"
_NETWORK_HEAD = "The network orchestrator of ConsensusLLM: faults, step by step, scripts. docs/http.md is about keys."
_HEAD = "One node of ConsensusLLM. docs/http.md is about keys, roles, addresses and retries."


def document() -> dict[str, Any]:
    results = [result_type(kind) for kind in COMMANDS]
    bodies = [body for *_, body in OPENAI if body is not None]
    kinds = list(dict.fromkeys([*COMMANDS, *results, Failure, ErrorBody, *bodies]))
    references, components = msgspec.json.schema_components(kinds, ref_template=_REF)
    refs = dict(zip(kinds, references, strict=True))
    for kind in COMMANDS:
        _leave_command_out(components[kind.__name__])
    errors = _answers(refs)
    paths: dict[str, Any] = {}
    for kind in COMMANDS:
        paths[f"/api/{name_of(kind)}"] = _command(kind, refs, components, errors, READING)
    for method, path, summary, body in OPENAI:
        paths.setdefault(path, {})[method] = _openai(path, summary, body, refs, errors)
    paths["/api/events"] = {"get": _events(errors)}
    for path, summary in (("/healthz", "The process runs."), ("/readyz", "It is level and reaches a majority.")):
        paths[path] = {"get": {"summary": summary, "security": [], "responses": {
            "200": {"description": "It is so."}, "503": {"description": "It is not; `reason` says why."},
        }}}
    paths["/metrics"] = {"get": {
        "summary": "For Prometheus.", "responses": {"200": {"description": "Text."}, **errors},
    }}
    return _document(_HEAD, "http://127.0.0.1:7481", "node 1", paths, components)


def network_document() -> dict[str, Any]:
    """The orchestrator's."""
    kinds = [kind for kind in _kinds_of_operator() if kind not in WITHOUT]
    results = [result_type(kind) for kind in kinds]
    shown = list(dict.fromkeys([*kinds, *results, Failure, ErrorBody]))
    references, components = msgspec.json.schema_components(shown, ref_template=_REF)
    refs = dict(zip(shown, references, strict=True))
    for kind in kinds:
        _leave_command_out(components[kind.__name__])
    errors = _answers(refs)
    paths: dict[str, Any] = {
        f"/api/{name_of(kind)}": _command(kind, refs, components, errors, operator_commands.READING) for kind in kinds
    }
    paths["/api/events"] = {"get": _events(errors)}
    for path, summary in (
        ("/api/page", "What the live page has to know: cluster, ports, and what the key allows."),
        ("/api/stories", "The scenarios, with their lines."), ("/api/glossary", "Words of the field, explained."),
    ):
        paths[path] = {"get": {"summary": summary, "responses": {"200": {"description": "It."}, **errors}}}
    paths["/healthz"] = {"get": {
        "summary": "The process runs.", "security": [], "responses": {"200": {"description": "It is so."}},
    }}
    return _document(_NETWORK_HEAD, "http://127.0.0.1:7480", "the network orchestrator", paths, components)


def _kinds_of_operator() -> list[type[Command[Any]]]:
    found = (kind for kind in vars(api.operator_commands).values() if isinstance(kind, type))
    return [kind for kind in found if issubclass(kind, Command) and isinstance(kind.__struct_config__.tag, str)]


def _document(
    head: str, address: str, whose: str, paths: dict[str, Any], components: dict[str, Any]
) -> dict[str, Any]:
    return {
        "openapi": "3.1.0", "info": {"title": "ConsensusLLM", "version": VERSION, "description": head},
        "servers": [{"url": address, "description": whose}], "security": [{"key": []}], "paths": paths,
        "components": {"schemas": components, "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}},
    }


def _leave_command_out(schema: dict[str, Any]) -> None:
    """The address says which command it is."""
    schema["properties"].pop("command")
    schema["required"] = [name for name in schema["required"] if name != "command"]


def _command(
    kind: type[Command[Any]], refs: dict[Any, Any], components: dict[str, Any], errors: dict[str, Any],
    reading: tuple[type[Command[Any]], ...],
) -> dict[str, Any]:
    role = role_for(kind) if reading is READING else operator_commands.role_for(kind)
    content = {"application/json": {"schema": refs[result_type(kind)]}}
    failure = {"description": "Refused; `error` says why.", "content": {"application/json": {"schema": refs[Failure]}}}
    responses = {
        "200": {"description": "Done.", "content": content}, **errors, "400": failure, "404": failure, "409": failure,
    }
    about = {
        "summary": meaning(kind), "description": f"Needs a key that allows to {role.name.lower()}.",
        "responses": responses,
    }
    wait = {"name": "wait", "in": "query", "description": "Seconds until an answer.", "schema": {"type": "number"}}
    body = {"content": {"application/json": {"schema": refs[kind]}}}
    schema = components[kind.__name__]
    if kind not in reading:
        return {"post": {**about, "parameters": [wait], "requestBody": body}}
    fields = [
        {"name": name, "in": "query", "required": name in schema["required"], "schema": field}
        for name, field in schema["properties"].items()
    ]
    return {
        "get": {**about, "parameters": [*fields, wait]}, "post": {**about, "parameters": [wait], "requestBody": body},
    }


def _openai(
    path: str, summary: str, body: type | None, refs: dict[Any, Any], errors: dict[str, Any]
) -> dict[str, Any]:
    failure = errors["401"]["content"]
    named = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    parameters = [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in named]
    if body is not None:
        parameters.append({
            "name": "Idempotency-Key", "in": "header", "schema": {"type": "string"},
            "description": "A request that is repeated with its key, at whatever node, gets the same answer.",
        })
    statuses = {"400": "Not understood.", "404": "There is none.", "409": "Refused.", "502": "No LLM has an answer."}
    answers = {status: {"description": said, "content": failure} for status, said in statuses.items()}
    content: dict[str, Any] = {} if body is None else {"content": {"application/json": {"schema": refs[body]}}}
    return {
        "summary": summary, "parameters": parameters, **({"requestBody": content} if content else {}),
        "responses": {
            "200": {"description": "As OpenAI's API has it; docs/http.md tells what differs."}, **answers, **errors,
        },
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


def network_text() -> str:
    return json.dumps(network_document(), indent=1) + "\n"


def main(arguments: Iterable[str]) -> None:
    if "--write" in arguments:
        FILE.write_text(text(), "utf-8")
        NETWORK_FILE.write_text(network_text(), "utf-8")
    else:
        print(text(), end="")


if __name__ == "__main__":
    main(sys.argv[1:])
