"""Lines typed at both prompts: a command, or an error that says what is expected; and what completes them."""

from __future__ import annotations

import functools
from collections.abc import Iterator

from api.base import encode
from console.command_table import CommandTable
from console.lines import Line, LineSplitter, typed_line
from console.node.table import NODE_TABLE
from console.operator.table import OPERATOR_TABLE
from console.usage import UsageError
from tests.fuzz.target import Form, Target

_TABLES = (NODE_TABLE, OPERATOR_TABLE)


def check(data: bytes) -> None:
    whole = list(_split(data, len(data) + 1))
    assert whole == list(_split(data, 3))
    for table in _TABLES:
        for line in whole:
            assert line.error is None or line.error.isprintable()
            _parse(table, typed_line(line.number, line.text))


def _split(data: bytes, size: int) -> Iterator[Line]:
    splitter = LineSplitter()
    for begin in range(0, len(data), size):
        yield from splitter.feed(data[begin : begin + size])
    yield from splitter.finish()


def _parse(table: CommandTable, line: Line) -> None:  # type: ignore[type-arg]
    text = line.text.strip()
    if line.error is not None or not text:
        return
    try:
        typed = table.parse(line.number, text)
    except UsageError as error:
        assert str(error) and len(str(error)) < 1000
        return
    assert typed.command is not None and typed.name in table.entries
    table.help(typed.first or None)
    try:
        again = table.parse(line.number, encode(typed.command).decode())
    except UsageError:
        return  # the schema knows which numbers a node may have; who types words is told when the command is checked
    assert again.command == typed.command, "the same command, written as JSON, is another one"


@functools.cache
def seeds() -> list[bytes]:
    examples = [entry.usage.example for table in _TABLES for entry in table.entries.values() if entry.usage.example]
    lines = [example.encode() for example in examples]
    as_json = [
        encode(typed.command) for table in _TABLES for entry in table.entries.values()
        if entry.usage.example and (typed := table.parse(1, entry.usage.example)).command is not None
    ]
    return [*lines, *as_json, b"\n".join(lines), b"\xef\xbb\xbf" + lines[0]]


TARGET = Target("lines of both prompts", check, seeds, Form.LINES, examples=250)
