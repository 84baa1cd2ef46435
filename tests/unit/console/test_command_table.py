"""One table: what is typed becomes a typed command, and everything that lists commands comes from it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.base import Command, Failure, Result
from console.command_table import CommandTable, Entry, Executor, at_once, in_order
from console.layout import Layout
from console.usage import Usage, UsageError


class MovedResult(Result, frozen=True, kw_only=True):
    steps: int


class MoveCommand(Command[MovedResult], frozen=True, tag="move"):
    who: str
    steps: int = 1


class SayCommand(Command[Result], frozen=True, tag="say"):
    who: str
    text: str


class Robots(Executor):
    def __init__(self) -> None:
        self.moved: list[tuple[str, int]] = []

    async def move(self, command: MoveCommand) -> MovedResult | Failure:
        self.moved.append((command.who, command.steps))
        return MovedResult(steps=command.steps) if command.steps else Failure(error="no steps\x1b")

    async def say(self, command: SayCommand) -> Result:
        return Result()


def steps(words: list[str]) -> MoveCommand:
    if not words[1:]:
        return MoveCommand(words[0])
    if not words[1].isdigit():
        raise ValueError(f"'{words[1]}' is no number of steps")
    return MoveCommand(words[0], int(words[1]))


def robots(executor: Robots, words: Sequence[str]) -> list[str]:
    return ["r2", "c3"] if not words else []


TABLE: CommandTable[Robots] = CommandTable(
    [
        Entry[Robots, MoveCommand, MovedResult](
            Usage("move", "WHO [STEPS]", "go ahead", "move r2 3", 1, 2, details="Slowly."), MoveCommand,
            in_order(Robots.move), steps, lambda command, result, layout: f"{command.who} moved {result.steps}", robots,
        ),
        Entry[Robots, SayCommand, Result](
            Usage("say", "WHO TEXT", "say it", "say r2 hello", 2, 2, text=True), SayCommand, at_once(Robots.say)
        ),
    ]
)


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("move r2", MoveCommand("r2")),
        ("MOVE \t r2   7", MoveCommand("r2", 7)),
        ("say r2  a  'b'  \"c\\n\" # d ", SayCommand("r2", "a  'b'  \"c\\n\" # d")),
        ("say r2 two\nlines", SayCommand("r2", "two\nlines")),
        ('{"command":"move","who":"a b","steps":2}', MoveCommand("a b", 2)),
        ('{ "who": "r2", "command": "Move" }', MoveCommand("r2")),
    ],
)
def test_words_and_json_become_typed_commands(line: str, command: Command[Any]) -> None:
    typed = TABLE.parse(7, line)
    assert (typed.line, typed.command) == (7, command)
    assert typed.entry is TABLE.entries[typed.name]
    assert str(typed).split()[:2] == [typed.name, next(iter(typed.first.split()))]


@pytest.mark.parametrize(
    ("line", "said", "name"),
    [
        ("moev r2", "did you mean move?", None),
        ("xyzzy", "help lists", None),
        ("x" * 100_000, "unknown command", None),
        ("move", "too few words: type move WHO [STEPS], for example: move r2 3", None),
        ("say r2", "too few words: type say WHO TEXT", None),
        ("move a 1 2", "too many words", None),
        ("move a b", "'b' is no number of steps; type move WHO [STEPS], for example: move r2 3", "move"),
        ("{", "begins like a JSON object but is not valid JSON", None),
        ('{"who":"r2"}', 'needs a "command"', None),
        ('{"command":["move"]}', 'needs a "command"', None),
        ('{"command":"mvoe"}', "did you mean move?", None),
        ('{"command":"move"}', "move: Object missing required field `who`", "move"),
        ('{"command":"move","who":"r2","stpes":2}', "unknown field `stpes`", "move"),
        ('{"command":"move","who":"r2","steps":"2"}', "Expected `int`, got `str`", "move"),
        ("{" * 100_000, "begins like a JSON object", None),
    ],
)
def test_what_is_no_command_is_refused_in_words(line: str, said: str, name: str | None) -> None:
    with pytest.raises(UsageError) as refused:
        TABLE.parse(1, line)
    assert said in str(refused.value) and len(str(refused.value)) < 200
    assert refused.value.name == name


@given(st.text(min_size=1).filter(lambda text: text.strip() != ""))
def test_any_line_is_a_command_or_refused(text: str) -> None:
    for line in (text.strip(), "{" + text, json.dumps({"command": text}), json.dumps({"command": "move", "who": text})):
        try:
            TABLE.parse(1, line)
        except UsageError as error:
            assert str(error)


def test_what_was_left_out_is_filled_in_words_only() -> None:
    def fill(usage: Usage, rest: str) -> str:
        return f"r2 {rest}"

    assert TABLE.parse(1, "move 3", fill).command == MoveCommand("r2", 3)
    assert TABLE.parse(1, '{"command":"move","who":"c3"}', fill).command == MoveCommand("c3")


def test_results_are_shown_as_the_entry_says() -> None:
    typed = TABLE.parse(1, "move r2")
    assert typed.view(MovedResult(steps=1), Layout()) == "r2 moved 1"
    assert typed.view(Failure(error="no\x07"), Layout()) == "error: no^G"
    assert TABLE.parse(1, "say r2 a").view(Result(), Layout()) == "ok"


def test_in_order_waits_for_the_earlier_ones_and_at_once_does_not() -> None:
    async def scenario() -> None:
        executor, go = Robots(), asyncio.Event()

        async def earlier() -> None:
            await go.wait()

        moving = asyncio.ensure_future(TABLE.entries["move"].run(executor, MoveCommand("r2"), earlier))
        await TABLE.entries["say"].run(executor, SayCommand("r2", "a"), earlier)
        assert executor.moved == []
        go.set()
        assert await moving == MovedResult(steps=1) and executor.moved == [("r2", 1)]

    asyncio.run(scenario())


def test_help_and_completion_come_from_the_table() -> None:
    everything = TABLE.help()
    assert not isinstance(everything, Failure)
    assert [command.name for command in everything.commands] == ["move", "say", "help", "exit"]
    only = TABLE.parse(1, "help MOVE").view(TABLE.help("MOVE"), Layout())
    assert only == "move WHO [STEPS]  go ahead\nfor example: move r2 3\nSlowly."
    assert "help COMMAND shows details" in TABLE.parse(1, "help").view(everything, Layout())
    unknown = TABLE.help("mvoe")
    assert isinstance(unknown, Failure) and "did you mean move?" in unknown.error
    executor = Robots()
    assert list(TABLE.complete(executor, [])) == ["move", "say", "help", "exit"]
    assert list(TABLE.complete(executor, ["MOVE"])) == ["r2", "c3"]
    assert list(TABLE.complete(executor, ["help"])) == ["move", "say", "help", "exit", "words"]
    for words in (["move", "r2"], ["say"], ["help", "move"], ["nonsense"]):
        assert list(TABLE.complete(executor, words)) == []


def test_a_command_has_one_name() -> None:
    with pytest.raises(AssertionError, match="MoveCommand is not called go"):
        CommandTable([Entry(Usage("go", "WHO", ""), MoveCommand, in_order(Robots.move))])
