"""The words of the field: explained by `help`, and hinted at when they are new on a screen."""

from __future__ import annotations

import re
from typing import Any

import pytest
from msgspec import UNSET

from api import glossary
from api.prompt import HelpCommand, HelpResult
from console.command_table import CommandTable, Executor
from console.hints import Hints
from console.layout import Layout
from console.lines import pasted
from console.node.table import NODE_TABLE
from console.operator.table import OPERATOR_TABLE
from console.times import beside, with_time
from console.usage import UsageError


def test_each_word_is_hinted_at_once() -> None:
    hints = Hints()
    assert hints.first("leader: node 1") is None, "plain enough"
    said = hints.first("follower, ballot <2,1,15>, decided 15, applied 15, digest 12ab")
    assert said == "(new here: follower, ballot, decided, applied, digest; help follower explains it)"
    assert hints.first("<3,2,16> decided") is None
    assert hints.first("Promises of learners, predecided") == "(new here: Promise, learner; help Promise explains it)"


def found(table: CommandTable[Any], about: str) -> HelpResult:
    said = table.help(about)
    assert isinstance(said, HelpResult)
    return said


@pytest.mark.parametrize("table", [NODE_TABLE, OPERATOR_TABLE], ids=["node", "network"])
def test_help_explains_words(table: CommandTable[Any]) -> None:
    every = found(table, "words")
    assert every.words == glossary.WORDS and not every.commands
    for asked in ("ballot", "Ballots", "<2,1,15>"):
        assert list(found(table, asked).words or ()) == ["ballot"]
    both = found(table, "log")
    assert both.commands[0].name == "log" and list(both.words or ()) == ["log"], "a command, and a word"
    assert found(table, "status").words is UNSET and not table.help("balot").ok
    help_entry = table.entries["help"]
    shown = help_entry.view(HelpCommand(), every, Layout(80))
    assert "learner" in shown and "leadership 2 of node 1" in " ".join(shown.split())
    assert "words" in list(help_entry.complete(Executor(), []))


def test_commands_of_the_other_prompt_are_recognised() -> None:
    for table, word, said in (
        (NODE_TABLE, "failnode 3", "failNode is typed at the network"),
        (OPERATOR_TABLE, "create c1", "create is typed at a node; here: node N: COMMAND"),
    ):
        with pytest.raises(UsageError, match=said):
            table.parse(1, word)
    assert NODE_TABLE.parse(1, "log").name == OPERATOR_TABLE.parse(1, "log").name == "log"


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("create c1\nquery c1 Why?\n\nview c1\n", ["create c1", "query c1 Why?", "view c1"]),
        ("query c1 Explain this:\n\nview c1\nexit", ["query c1 Explain this:\n\nview c1\nexit"]),
        ("create c1\nask c1 Explain:\na line\nview the code\nview c1",
         ["create c1", "ask c1 Explain:\na line\nview the code", "view c1"]),
        ("export c1 a.md\nview c1", ["export c1 a.md", "view c1"]),
        ("nonsense\nmore", ["nonsense", "more"]), ("view c1", ["view c1"]), ("\n\n", ["\n\n"]),
    ],
)
def test_what_is_pasted_at_once(text: str, lines: list[str]) -> None:
    assert pasted(text, NODE_TABLE.is_question, NODE_TABLE.is_command) == lines
    assert not OPERATOR_TABLE.is_question("script tour") and OPERATOR_TABLE.is_command("hold")


def test_the_time_stands_at_the_left_where_there_is_room() -> None:
    wide, narrow = Layout(60), Layout(39)
    assert beside(wide).width == 51 and beside(narrow) is narrow
    first, second = with_time("one\ntwo", wide).split("\n")
    assert re.fullmatch(r"\d\d:\d\d:\d\d one", first) and second == "         two"
    assert with_time("one\ntwo", narrow) == "one\ntwo" and not with_time("", wide)
