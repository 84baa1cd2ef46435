"""docs/api.md and docs/api.json, made from the structs of this package: python -m api.schema [--write]"""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import pkgutil
import re
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

import api
from api.base import Command, Event, Failure, Record, Result, name_of, result_type

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGE = DOCS / "api.md"
JSON_SCHEMA = DOCS / "api.json"

SIDES = {"prompt": "every prompt", "node": "a node", "operator": "the network"}
"""Modules are called after whom they are about."""

Kind = type[Record]

HEAD = """\
# The API

<!-- Made by `python -m api.schema --write`; a test keeps it so. -->

What `node.py --json`, `network_server.py --json` and a node's control socket (`data/node-N.sock`, mode 600) understand
and say, and the network's (`data/network.sock`). [api.json](api.json) has the same as a JSON schema, `api/client.py` is
a client, `ctl.py` its command line: `ctl.py --node N|leader|any COMMAND`, `ctl.py --network COMMAND`. With `--wait` it
waits for the answers to `ask`, `query`, `regenerate` and `choose C auto`, with `--choose N|auto` it chooses, too, and
prints the answer that stands; with `--json` as the keys of `last`. After `choose C synth` it waits for the synthesis,
and prints that. It exits with 0 if there is an answer, with 1 if there is none.

**In** goes one command a line: as users type it (see [commands.md](commands.md)), or as a JSON object with a `command`
and the fields listed here, for example `{"command":"create","context":"c1"}`. The control socket also takes a line as
a JSON string, so that text may contain line feeds.

**Out** come lines of JSON, in ASCII, each an object with an `event`. Every command is answered by exactly one:

    {"event":"result","command":"create","line":1,"ok":true,"context":"c1"}

`line` counts the lines that came in. Results come in the order of their lines, but for those of commands that answer
at once (`status`, `help`). If `ok` is false there is an `error`, a sentence; with `"kind":"usage"` it was no valid
command. All other lines are events. Keys come in the order listed here; an optional one is marked with `?`.
New keys may be added at any time.
"""


@cache
def kinds() -> dict[Kind, str]:
    """All records of the schema, each with the name of its module."""
    found: dict[Kind, str] = {}
    for module in pkgutil.iter_modules(api.__path__):
        if module.name in ("client", "schema"):
            continue
        members = vars(importlib.import_module(f"api.{module.name}")).values()
        for kind in members:
            if isinstance(kind, type) and issubclass(kind, Record) and kind.__module__ == f"api.{module.name}":
                found[kind] = module.name
    return {kind: module for kind, module in found.items() if kind is Failure or not _is_base(kind, module)}


def _is_base(kind: Kind, module: str) -> bool:
    """Never a line by itself."""
    unnamed = issubclass(kind, (Command, Event)) and kind.__struct_config__.tag is None
    generic = bool(getattr(kind, "__parameters__", ()))
    return module == "base" or unnamed or generic or kind.__name__.startswith("_")


def json_schema() -> dict[str, Any]:
    """All commands, events and results as a JSON schema; `answers` says what answers each command, if it is no
    failure."""
    shown = list(kinds())
    references, components = msgspec.json.schema_components(shown, ref_template="#/$defs/{name}")
    refs = dict(zip(shown, references, strict=True))
    commands = [kind for kind in shown if issubclass(kind, Command)]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "ConsensusLLM",
        "commands": {side: [refs[k] for k in commands if _side(k) == side] for side in SIDES},
        "events": {side: [refs[k] for k in shown if issubclass(k, Event) and _side(k) == side] for side in SIDES},
        "answers": {side: {_tag(k): refs[result_type(k)] for k in commands if _side(k) == side} for side in SIDES},
        "failures": [refs[kind] for kind in shown if issubclass(kind, Failure)],
        "$defs": components,
    }


def page() -> str:
    """docs/api.md"""
    sections = [HEAD]
    for side, whose in SIDES.items():
        commands = [kind for kind in kinds() if issubclass(kind, Command) and _side(kind) == side]
        sections += [f"## Commands of {whose}\n", *map(_command, commands)] if commands else []
    sections += ["## Failures\n", *(_described(kind) for kind in kinds() if issubclass(kind, Failure))]
    for side, whose in SIDES.items():
        events = [kind for kind in kinds() if issubclass(kind, Event) and _side(kind) == side]
        sections += [f"## Events of {whose}\n", *map(_event, events)] if events else []
    plain = [kind for kind in kinds() if not issubclass(kind, (Command, Event, Result))]
    return "\n".join([*sections, "## Records\n", *map(_described, plain)])


def _side(kind: Kind) -> str:
    return kinds()[kind].split("_")[0]


def _tag(kind: type[Command[Any]] | type[Event]) -> str:
    return name_of(kind)


def _command(kind: type[Command[Any]]) -> str:
    answer: type[Result] = result_type(kind)
    answered = f"Answer: {_text(answer.__doc__)}" if answer.__doc__ and answer is not Result else "Answer:"
    parts = [f"### {_tag(kind)}\n", f"{_text(kind.__doc__)}\n", _table(kind), f"{answered}\n", _table(answer)]
    return "\n".join(part for part in parts if part)


def _event(kind: type[Event]) -> str:
    return _section(f"event {_tag(kind)}", kind)


def _described(kind: Kind) -> str:
    return _section(kind.__name__, kind)


def _section(title: str, kind: Kind) -> str:
    said = _text(kind.__doc__)
    return "\n".join(part for part in (f"### {title}\n", f"{said}\n" if said else "", _table(kind)) if part)


def _table(kind: Kind) -> str:
    rows = [f"| `{name}`{optional} | {shown} | {meaning} |" for name, optional, shown, meaning in _fields(kind)]
    return "\n".join(["| key | type | |", "| --- | --- | --- |", *rows]) + "\n" if rows else ""


def _fields(kind: Kind) -> Iterator[tuple[str, str, str, str]]:
    """(key, "?" if it is optional, type, meaning) of each field."""
    annotations = {name: note for base in reversed(kind.__mro__) for name, note in vars(base).get(
        "__annotations__", {}).items()}
    for field in msgspec.structs.fields(kind):
        if field.name == "ok":
            continue  # of every result
        note = _spelled_out(str(annotations[field.name]), kind.__module__)
        optional = "UnsetType" in note or (issubclass(kind, Command) and not field.required)
        yield field.encode_name, "?" if optional else "", _shown_type(note), _meaning(kind, field.name)


def _spelled_out(note: str, module: str) -> str:
    """An annotation without the module's aliases; api.json has the bounds of numbers."""
    for alias, meaning in _aliases(module).items():
        note = re.sub(rf"\b{alias}\b", meaning, note)
    return re.sub(r"Annotated\[(\w+), Meta\(.*?\)\]", r"\1", note)


@cache
def _aliases(module: str) -> dict[str, str]:
    """What the names stand for that this module, or one of the schema that it imports from, gives to types. Those that
    mention others come first."""
    found: dict[str, str] = {}
    for statement in ast.parse(inspect.getsource(importlib.import_module(module))).body:
        if isinstance(statement, ast.ImportFrom) and (statement.module or "").startswith("api."):
            found.update(_aliases(str(statement.module)))
        elif (
            isinstance(statement, ast.AnnAssign) and ast.unparse(statement.annotation) == "TypeAlias"
            and isinstance(statement.target, ast.Name) and statement.value is not None
        ):
            found = {statement.target.id: ast.unparse(statement.value), **found}
    return found


def _shown_type(note: str) -> str:
    """An annotation in the words of JSON, with links to records."""
    note = re.sub(r" \| UnsetType|UnsetType \| ", "", note).replace("None", "null")
    note = re.sub(r"Literal\[(.*?)\]", lambda match: match.group(1).replace(", ", " | ").replace("True", "true"), note)
    note = re.sub(r"\bstr\b", "string", note)
    linked = re.sub(r"\b([A-Z]\w+)\b", lambda match: f"[{match.group(1)}](#{match.group(1).lower()})", note)
    return linked.replace("|", "\\|")


def _meaning(kind: Kind, field: str) -> str:
    for base in kind.__mro__:
        if field in vars(base).get("__annotations__", {}):
            return _text(_field_docs(base).get(field))
    return ""


@cache
def _field_docs(kind: type) -> dict[str, str]:
    """The strings that stand below the fields in the source."""
    body = ast.parse(inspect.getsource(kind)).body[0]
    assert isinstance(body, ast.ClassDef)
    docs: dict[str, str] = {}
    for field, below in zip(body.body, body.body[1:], strict=False):
        if (
            isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(below, ast.Expr)
            and isinstance(below.value, ast.Constant) and isinstance(below.value.value, str)
        ):
            docs[field.target.id] = below.value.value
    return docs


def meaning(kind: Kind) -> str:
    """What a record is, in words."""
    return _text(kind.__doc__)


def _text(doc: str | None) -> str:
    return " ".join((doc or "").split())


def documents() -> Iterable[tuple[Path, str]]:
    """(file, what belongs into it)"""
    yield PAGE, page()
    yield JSON_SCHEMA, json.dumps(json_schema(), indent=1) + "\n"


def main() -> None:
    for path, content in documents():
        if "--write" in sys.argv[1:]:
            path.write_text(content, "utf-8")
        else:
            print(content, end="")


if __name__ == "__main__":
    main()
