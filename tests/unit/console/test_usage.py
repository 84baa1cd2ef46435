"""How a typed line becomes a command."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.base import Failure
from console.usage import Usage, UsageError
from tests.unit.console.console_tools import table


async def nothing(name: str, words: list[str]) -> dict[str, Any]:
    return {}


TABLE = table(
    [
        Usage("create", "C", "begin", "create c1", 1, 1),
        Usage("query", "C TEXT", "ask", "query c1 What?", 2, 2, text=True),
        Usage("failLink", "A B [--oneway]", "cut", "failLink 1 2", 2, 3),
        Usage("viewall", "", "all"),
    ],
    nothing,
)


def parse(line: int, text: str) -> tuple[int, str, list[str]]:
    typed = TABLE.parse(line, text)
    words: list[str] = getattr(typed.command, "words")  # noqa: B009 - every command of this table has them
    return typed.line, typed.name, words


@pytest.mark.parametrize(
    ("line", "name", "args"),
    [
        ("create c1", "create", ["c1"]),
        ("  CREATE \t c1  ", "create", ["c1"]),
        ("faillink 1 2", "failLink", ["1", "2"]),
        ("FAILLINK 1 2 --oneway", "failLink", ["1", "2", "--oneway"]),
        ("query c1  a  'b'  \"c\\n\" # d ", "query", ["c1", "a  'b'  \"c\\n\" # d"]),
        ('query c1 "quoted"', "query", ["c1", '"quoted"']),
        ("query c1 two\nlines", "query", ["c1", "two\nlines"]),
        ("query c1 a\x00b", "query", ["c1", "a\x00b"]),
        ("viewall", "viewall", []),
    ],
)
def test_parse(line: str, name: str, args: list[str]) -> None:
    assert parse(7, line) == (7, name, args)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("creat c1", "did you mean create?"),
        ("faillnk 1 2", "did you mean failLink?"),
        ("xyzzy", "help lists"),
        ("create", "type create C, for example: create c1"),
        ("create a b", "too many words"),
        ("query c1", "type query C TEXT"),
        ("failLink 1", "too few words"),
        ("viewall c1", "type viewall"),
        ("x" * 100_000, "unknown command"),
    ],
)
def test_refused(line: str, said: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse(1, line)
    assert said in str(refused.value)
    assert len(str(refused.value)) < 200


@given(st.text(min_size=1).filter(lambda text: text.strip() != ""))
def test_text_is_verbatim(text: str) -> None:
    assert parse(1, f"query c1 {text}".strip()) == (1, "query", ["c1", text.strip()])


@given(st.text(min_size=1).filter(lambda text: text.strip() != ""))
def test_any_line_is_a_command_or_refused(text: str) -> None:
    try:
        parse(1, text.strip())
    except UsageError as error:
        assert str(error)


def test_help() -> None:
    everything, only, unknown = TABLE.help(), TABLE.help("QUERY"), TABLE.help("qery")
    assert not isinstance(everything, Failure) and not isinstance(only, Failure)
    assert [command.name for command in everything.commands] == list(TABLE.entries)
    assert only.commands[0].example == "query c1 What?"
    assert isinstance(unknown, Failure) and "did you mean query" in unknown.error
