"""The words of the field: explained by `help`, and hinted at when they are new on a screen."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import UNSET

from api import glossary
from api.prompt import HelpCommand, HelpResult
from console.command_table import CommandTable, Executor
from console.hints import Hints
from console.layout import Layout
from console.node.table import NODE_TABLE
from console.operator.table import OPERATOR_TABLE


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
