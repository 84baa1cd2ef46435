"""The documents say what the structs say."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from api import node_commands, node_results
from api.base import Command, Event, Failure, Result, name_of, result_type
from api.schema import documents, json_schema, kinds, page


@pytest.mark.parametrize("which", [0, 1])
def test_the_documents_are_up_to_date(which: int) -> None:
    path, content = list(documents())[which]
    assert path.read_text("utf-8") == content, "python -m api.schema --write"


def test_every_command_and_every_event_is_there_with_its_fields() -> None:
    shown = page()
    sections: dict[str, str] = {}
    for part in shown.split("### "):  # a node and the network have commands and events of the same names
        title = part.split("\n", 1)[0]
        sections[title] = sections.get(title, "") + part
    for kind in kinds():
        title = kind.__name__
        if issubclass(kind, Command):
            title = name_of(kind)
        elif issubclass(kind, Event):
            title = f"event {name_of(kind)}"
        elif issubclass(kind, Result) and not issubclass(kind, Failure):
            continue
        for field in msgspec.structs.fields(kind):
            assert field.name == "ok" or f"`{field.encode_name}`" in sections[title], (title, field.name)


def test_meanings_stand_below_the_fields() -> None:
    assert "| `seconds` | float | How long the LLM took. |" in page()
    assert "| `candidates` | dict[int, [Response](#response)] | By the node that answers; " in page()
    assert "| `node`? | int | The node that is asked again; all are if it is omitted. |" in page()


def test_the_json_schema_tells_what_answers_a_command() -> None:
    schema: dict[str, Any] = json.loads(json.dumps(json_schema()))
    assert schema["answers"]["node"]["view"] == {"$ref": "#/$defs/ViewResult"}
    assert {"$ref": "#/$defs/ViewCommand"} in schema["commands"]["node"]
    view = schema["$defs"]["ViewResult"]
    assert view["required"] == ["context", "turns", "stale"] and next(iter(view["properties"])) == "ok"
    for ref in [ref for refs in schema["commands"].values() for ref in refs]:
        assert ref["$ref"].removeprefix("#/$defs/") in schema["$defs"]


def test_results_begin_with_ok_and_commands_know_their_answers() -> None:
    for kind in kinds():
        if issubclass(kind, Result):
            assert kind.__struct_fields__[0] == "ok", kind
        if issubclass(kind, Command):
            answer: type[Result] = result_type(kind)
            assert issubclass(answer, Result) and not issubclass(answer, Failure), kind
    assert result_type(node_commands.ChooseCommand) is node_results.ChooseResult
