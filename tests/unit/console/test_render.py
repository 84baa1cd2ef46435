"""What humans read."""

from __future__ import annotations

import re
import time
from typing import Any, TypeAlias

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.base import Failure, Result
from api.conversation import Turn
from api.node_events import ConnectedEvent, DisconnectedEvent, RefusedEvent
from api.node_results import LogEntry, LogResult, NodeStatus, NotFoundResult, ViewallResult, ViewResult
from api.prompt import ExitCommand
from api.safe_text import coloured, visible
from console import Layout, chat, render
from console.basic_views import error, sentence
from console.cells import width
from console.chat import moment
from console.node.event_views import node_event_text
from tests.unit.console.console_tools import TextResult

Values: TypeAlias = dict[str, Any]

VIEW: Values = {
    "ok": True, "context": "c1", "stale": False,
    "turns": [
        {
            "query": "What is Paxos?", "kind": "query", "chosen": 2, "cancelled": False,
            "candidates": {
                "1": {"text": "A\nprotocol.", "model": "m", "seconds": 0.5},
                "2": {"text": "An island.\n\nIn Greece.", "model": "m", "seconds": 1.0},
                "3": {"error": "timeout", "model": "", "seconds": 30.0},
            },
        },
        {"query": "Sure?", "kind": "query", "chosen": None, "cancelled": True, "candidates": {}},
        {"query": "And\nnow?", "kind": "ask", "chosen": None, "cancelled": False, "candidates": {}},
    ],
}
SHOWN = """\
c1  3 questions
1.  What is Paxos?
    [2] m 1.0 s  chosen
        An island.

        In Greece.
    other answers of 1; failures of 3
2.  Sure?
    cancelled
3.  And
    now?
    waiting for the leader's answer"""


def view(values: Values, layout: Layout, all_candidates: bool = False) -> str:
    return chat.view(msgspec.convert({"stale": False, **values}, ViewResult, strict=False), layout, all_candidates)


def viewall(values: Values, layout: Layout, full: bool = False) -> str:
    result = msgspec.convert({"changed": {}, "stale": False, **values}, ViewallResult, strict=False)
    return chat.viewall(result, layout, full)


def choices(candidates: Values, layout: Layout) -> str:
    turn = {"query": "?", "kind": "query", "chosen": None, "cancelled": False, "candidates": candidates}
    return chat.choices("c1", msgspec.convert(turn, Turn, strict=False), layout)


def test_view() -> None:
    assert view(VIEW, Layout(60)) == SHOWN
    assert view({**VIEW, "stale": True}, Layout(60)) == SHOWN + "\n(possibly stale: no majority reachable)"


def test_an_open_turn_says_what_to_type() -> None:
    turn: dict[str, Any] = {**VIEW["turns"][0], "chosen": None}
    shown = view({**VIEW, "turns": [turn]}, Layout(60)).splitlines()
    assert shown[-1] == "    open: choose c1 N picks one"
    assert shown[2:5] == ["    [1] m 0.5 s", "        A", "        protocol."]
    assert view({**VIEW, "turns": [{**turn, "candidates": {}}]}, Layout(60)).endswith("waiting for answers")


def test_what_answers_took_is_shown_as_far_as_it_was_counted() -> None:
    said: Values = {"text": "A protocol.", "model": "m", "seconds": 2.0, "tokens_in": 90, "tokens_out": 25}
    quick: Values = {"text": "So.", "model": "m", "seconds": 0.01, "tokens_out": 1}
    turn = {**VIEW["turns"][0], "candidates": {"1": said, "2": quick, "3": {"error": "no", "model": "", "seconds": 9}}}
    used = {"responses": 1, "seconds": 2.0, "tokens_in": 1090, "tokens_out": 25}
    shown = view({"context": "c", "turns": [turn], "usage": {"1": used}}, Layout(None, False), True)
    assert "[1] m 2.0 s  25 tokens (12.5/s)\n" in shown and "[2] m 0.0 s  chosen  1 token\n" in shown
    assert shown.endswith("\nall answers: 1,090 tokens read, 25 written, 2.0 s")
    other = {**used, "tokens_in": 0, "tokens_out": 0, "cost": 0.001}
    costs = {"1": {**used, "cost": 0.0024}, "2": other}
    priced = view({"context": "c", "turns": [turn], "usage": costs}, Layout(None, False))
    assert priced.endswith(", 25 written, 4.0 s, cost 0.0034")
    assert "all answers" not in view({"context": "c", "turns": [turn], "usage": {"2": other}}, Layout(None, False))


def test_viewall() -> None:
    assert viewall({"ok": True, "conversations": [], "stale": False}, Layout()) == (
        "no conversations yet: try create c1"
    )
    answered = {**VIEW, "context": "c3", "turns": [{**VIEW["turns"][0], "query": "long " * 50}]}
    empty = {"context": "c2", "turns": []}
    result = {
        "ok": True, "conversations": [VIEW, empty, answered], "stale": True,
        "changed": {"c1": None, "c2": 1_700_000_000.0, "c3": time.time()},
    }
    head, first, second, third, stale = viewall(result, Layout()).splitlines()
    assert head.split() == ["conversation", "turns", "last", "question", "state", "changed"]
    assert first.split() == ["c1", "3", "And", "now?", "open,", "0", "answers", "-"]
    assert second.split()[:4] == ["c2", "0", "-", "empty"] and second.split()[4].startswith("2023-11-1")
    assert "node 2 chosen" in third and "long…" in third and re.search(r" \d\d:\d\d:\d\d$", third)
    assert stale == "(possibly stale: no majority reachable)"
    assert re.sub(r"\d\d:\d\d:\d\d", "TIME", viewall(result, Layout(59))).splitlines() == [
        "c1  3 questions, open, 0 answers", "    -  And now?",
        "c2  no questions yet", f"    {moment(1_700_000_000.0)[:10]} TIME",
        "c3  1 question, node 2 chosen", "    TIME  long long long long long long long long …",
        "(possibly stale: no majority reachable)",
    ], "a narrow window has no room for a table"
    full = viewall({**result, "conversations": [VIEW, empty]}, Layout(60), full=True)
    assert full == view(VIEW, Layout(60), all_candidates=True) + "\n\nc2  no questions yet\n" + stale


def test_all_candidates_are_shown_on_demand() -> None:
    shown = view(VIEW, Layout(60), all_candidates=True)
    assert "    [1] m 0.5 s\n        A\n        protocol.\n    [2] m 1.0 s  chosen\n        An island." in shown
    assert "    [3] 30.0 s\n        no answer: timeout\n2." in shown and "other answers" not in shown


def test_choices_are_shortened() -> None:
    long = {"text": "word " * 100, "model": "m", "seconds": 1}
    failed = {"error": "timeout", "model": "m", "seconds": 1}
    shown = choices({"1": long, "2": failed}, Layout(40))
    assert shown.count("word") < 40 and "…" in shown
    assert "[2] m 1.0 s\n        no answer: timeout" in shown
    assert shown.endswith("choose c1 N picks one, view c1 shows\nthem in full")


@pytest.mark.parametrize(("height", "lines"), [(15, 12), (12, 7), (40, 27), (4, 7)])
def test_choices_fit_on_the_screen(height: int, lines: int) -> None:
    """With the prompt and the status line; if it is very small, a line each."""
    said = {str(node): {"text": "word\n\n" * 50, "model": "m", "seconds": 1} for node in range(1, 6)}
    shown = choices(said, Layout(60, height=height)).split("\n")
    assert len(shown) == lines and shown[0] == "c1: all answers are in"
    assert sum(line.strip().startswith("[") for line in shown) == 5 and "…" in shown[-2]
    assert (height < 16) == ("word word" in shown[2]), "a single line is filled"


STATUS = NodeStatus(
    node=1, role="follower", leader=None, ballot=(0, 0, 9), decided=4, applied=4, queued=0, standing="voter",
    links=(2, 3),
)


def test_without_a_leader_there_is_no_ballot_to_show() -> None:
    assert "<" not in render.status_line(STATUS, 3, None)
    assert "<4,2,9>" in render.status_line(msgspec.structs.replace(STATUS, leader=2, ballot=(4, 2, 9)), 3, None)


def test_status_is_aligned() -> None:
    shown = {"node": 1, "leader": None, "links": [2, 3], "ballot": {"seq_num": 4, "pid": 2}}
    assert render.pairs(shown, Layout(60)) == "node    1\nleader  -\nlinks   2, 3\nballot  seq_num: 4, pid: 2"
    lines = render.status(STATUS, Layout(60)).splitlines()
    assert lines[:4] == ["node      1", "role      follower", "leader    -", "ballot    -"] and "ok" not in lines[0]


def test_plain_results() -> None:
    command = ExitCommand()
    assert sentence(command, Result(), Layout()) == "ok"
    assert sentence(command, TextResult(text="cut"), Layout()) == "cut"
    assert error(Failure(error="no\x07"), Layout()) == "error: no^G"
    assert error(NotFoundResult(error="no", context="c1", stale=True), Layout()).endswith("no majority reachable)")


words = st.text(max_size=60) | st.text(st.sampled_from("ab \n\t\x1b世"), max_size=60)
origin = {"model": words, "seconds": st.floats(0, 1e6)}
candidate = st.fixed_dictionaries({"text": words, **origin}) | st.fixed_dictionaries({"error": words, **origin})
turn = st.fixed_dictionaries(
    {
        "query": words, "kind": st.sampled_from(["query", "ask"]), "cancelled": st.booleans(),
        "chosen": st.sampled_from([None, 1]), "candidates": st.dictionaries(st.just("1"), candidate),
    }
)
conversation = st.fixed_dictionaries({"context": words, "turns": st.lists(turn, max_size=3), "stale": st.booleans()})


ODD = [
    "x" * 500, "世界" * 100, "👩‍👩‍👧‍👦" * 60, "🇺🇳" * 80, "👍🏽 " * 80, "❤️" * 80,
    "- **👍🏽👍🏽** " + "🇩🇪 " * 60, "שלום עולם " * 30, "مرحبا" * 50, "a" + "\u0301" * 200,
    "\t" * 40, "\x1b]0;title\x07\x1b[2J\x1b[1;1H", "\u202etxt.exe\u2066", "\x9b31m" * 30, "\U000e0041" * 50,
]


@pytest.mark.parametrize("text", ODD)
@pytest.mark.parametrize("colour", [False, True])
def test_odd_text_keeps_the_layout(text: str, colour: bool) -> None:
    """Very long words, wide characters, emoji, right-to-left scripts, towers of marks, sequences for terminals."""
    turn = {**VIEW["turns"][0], "query": text, "candidates": {"2": {"text": text, "model": "m", "seconds": 1}}}
    talk = {**VIEW, "turns": [turn]}
    entry = LogEntry(
        position=1, ballot=(4, 2, 1), origin=3, incarnation=1, number=1, at=None, command="query", context="c1",
        turn=None, node=None, text=text, error=None,
    )
    log = LogResult(log=[entry], kept=1)
    layout = Layout(50, colour)
    pages = (
        view(talk, layout), viewall({"conversations": [talk]}, layout), render.log(log, layout),
        error(Failure(error=text), layout),
    )
    for page in pages:
        assert (coloured if colour else visible)(page) == page
        bare = re.sub(r"\x1b\[[0-9;]*m", "", page)
        assert bare.isprintable() or set(filter(lambda c: not c.isprintable(), bare)) <= {"\n", "\u200d"}
        assert max(width(line) for line in bare.split("\n")) <= 50
    assert view(talk, layout).count("\u0301") <= 2 * 8


@given(conversation, st.booleans())
def test_whatever_it_holds_a_view_is_safe(shown: Values, colour: bool) -> None:
    layout = Layout(50, colour)
    for text in (view(shown, layout), viewall({"conversations": [shown, shown]}, layout)):
        assert (coloured if colour else visible)(text) == text, "the last gate finds nothing left to do"


@given(conversation)
def test_wrapped_text_keeps_to_the_width(shown: Values) -> None:
    open_turns = [{**turn, "chosen": None, "cancelled": False} for turn in shown["turns"]]
    lines = view({**shown, "context": "c1", "turns": open_turns}, Layout(50)).splitlines()
    assert all(width(line) <= 50 for line in lines[1:]), lines


def test_what_a_node_runs_on_is_called_by_its_name() -> None:
    assert node_event_text(ConnectedEvent()) == "connected to the network"
    assert node_event_text(ConnectedEvent("etcd")) == "connected to etcd"
    assert node_event_text(DisconnectedEvent("it is silent")) == "network lost (it is silent); reconnecting"
    assert node_event_text(DisconnectedEvent("it is silent", "etcd")) == "etcd lost (it is silent); reconnecting"
    assert node_event_text(DisconnectedEvent("it is\nsilent")) == "network lost (it is silent); reconnecting"
    assert node_event_text(RefusedEvent("#17\nnode 1: \x1b[1mrun")) == (
        "the orchestrator refuses this node: #17 node 1: ^[[1mrun")
