"""Hints: to the right node, seldom, and small."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.node.event_views import session_event_text
from console.progress_report import progress_report
from engine.interface import AppliedOperation, OperationId
from kvstore.conversation import Kind, Response, Turn
from kvstore.operations import Cancel, Candidate, Create, Query, Retry, Unconditional
from kvstore.store import Outcome
from llm.requests import Request
from server.event_feed import REPORT_EVERY_S, SessionEvent
from server.progress_hints import EVERY_S, Hint, ProgressHints, decode
from tests.unit.server.session_tools import Prompt, at_a_prompt


class Hints:
    """A node 2's hints, a clock that is set by hand, and what was sent and told."""

    def __init__(self) -> None:
        self.now = 0.0
        self.sent: list[tuple[int, bytes]] = []
        self.told: list[tuple[int, Hint]] = []
        self.hints = ProgressHints(
            2, lambda node, payload: self.sent.append((node, payload)), lambda *told: self.told.append(told),
            lambda: self.now,
        )

    def asked(self, origin: int, command: Unconditional | None = None, turn: int = 1) -> None:
        command = command or Query("c", "why?")
        outcome = Outcome(command, True, None, command.context, turn)
        self.hints.on_applied(AppliedOperation(1, OperationId(origin, 1, 1), None, outcome, 0, True))

    def progress(self, pieces: int, context: str = "c", turn: int = 1) -> None:
        self.hints.on_progress(Request(context, turn, "candidate", list), pieces)


def test_a_hint_goes_to_where_the_question_was_typed() -> None:
    node_2 = Hints()
    node_2.asked(5)
    node_2.progress(0)
    ((node, payload),) = node_2.sent
    assert node == 5 and len(payload) < 20
    other = Hints()
    other.hints.on_hint(2, payload)
    assert other.told == [(2, Hint("c", 1, 0))]
    node_2.asked(2, Retry("c"))
    node_2.progress(3)
    assert node_2.told == [(2, Hint("c", 1, 3))] and len(node_2.sent) == 1
    node_2.asked(5, Cancel("c"), turn=2)
    node_2.progress(0, turn=2)
    node_2.progress(0, context="before the start")
    assert len(node_2.sent) == 1


def test_hints_are_rare() -> None:
    node_2 = Hints()
    node_2.asked(5)
    for pieces in range(1000):
        node_2.progress(pieces)
        node_2.now += EVERY_S / 100
    assert 10 <= len(node_2.sent) <= 11


def test_what_is_remembered_is_bounded() -> None:
    node_2 = Hints()
    for number in range(2000):
        node_2.asked(5, Query(f"c{number}", "why?"))
        node_2.progress(0, f"c{number}")
    assert len(node_2.hints._asked_at) == len(node_2.hints._sent) == 256


@given(st.binary(max_size=2000))
def test_nonsense_is_no_hint(noise: bytes) -> None:
    decode(noise)
    Hints().hints.on_hint(3, noise)


def test_only_who_asked_sees_progress() -> None:
    async def scenario(user: Prompt) -> None:
        await user.do("create c1")
        user.session.on_progress(4, Hint("c1", 1, 0))
        await user.do("query c1 why?")
        user.events.clear()
        user.session.on_progress(4, Hint("c1", 1, 0))
        user.session.on_progress(4, Hint("c1", 1, 120))
        user.session.on_progress(4, Hint("c1", 2, 120))
        user.session.on_progress(4, Hint("nowhere", 1, 120))
        assert user.events == [
            {"event": "progress", "context": "c1", "turn": 1, "node": 4, "state": "thinking"},
            {"event": "progress", "context": "c1", "turn": 1, "node": 4, "state": "writing", "tokens": 120},
        ]
        await user.do("cancel c1")
        user.events.clear()
        user.session.on_progress(4, Hint("c1", 1, 140))
        assert user.events == []

    at_a_prompt(scenario)


def test_a_report_now_and_then_with_a_line_for_each_node(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(user: Prompt) -> None:
        now = 0.0
        monkeypatch.setattr(user.session._feed, "_clock", lambda: now)
        await user.do("create c1")
        await user.do("query c1 why?")
        user.session.on_progress(1, Hint("c1", 1, 0))
        user.engine.apply(Candidate("c1", 1, 3, "x", None), 3)
        user.engine.apply(Candidate("c1", 1, 5, None, "no key"), 5)
        said = len(user.shown)
        user.session.on_progress(2, Hint("c1", 1, 90))
        assert len(user.shown) == said
        now += REPORT_EVERY_S
        user.session.on_progress(2, Hint("c1", 1, 120))
        assert [line.strip() for line in user.shown[-1].split("\n")[1:]] == [
            "node 1: thinking", "node 2: 120 tokens", "node 3: done", "node 5: failed: no key",
        ]
        user.session.on_progress(2, Hint("c1", 1, 130))
        assert len(user.shown) == said + 1
        await user.do("cancel c1")
        assert not user.session._feed._questions

    at_a_prompt(scenario)


def test_in_a_terminal_one_line_says_who_is_at_work() -> None:
    async def scenario(user: Prompt) -> None:
        def line(width: int | None = None) -> str:
            return user.executor.progress_line(width)

        await user.do("create c1")
        await user.do("query c1 why?")
        assert line() == ""
        user.session.on_progress(1, Hint("c1", 1, 0))
        user.session.on_progress(5, Hint("c1", 1, 7))
        assert line() == "c1: LLMs at work: 0 of 5 done; node 5: 7 tokens; node 1: thinking"
        assert len(line(40)) < 40 and line(40).endswith("…")
        told: list[SessionEvent] = []
        user.session._tell_user = told.append
        user.engine.apply(Candidate("c1", 1, 5, "x", None), 5)
        texts = [session_event_text(told[-1], drawn=drawn) for drawn in (False, True)]
        assert texts == ["c1: 1 of 5 answers in", None], "the line says it"
        assert line() == "c1: LLMs at work: 1 of 5 done; node 1: thinking"
        await user.do("create c2")
        await user.do("ask c2 who?")
        user.session.on_progress(4, Hint("c2", 1, 1))
        assert line() == "c2 (+1): LLMs at work: node 4: 1 token"
        await user.do("cancel c2")
        user.engine.links = (4, 5)
        assert line() == "", "node 1 is not there any more"

    at_a_prompt(scenario)


def test_who_only_has_the_nodes_choose_gets_events_and_no_reports() -> None:
    async def scenario(user: Prompt) -> None:
        user.engine.apply(Create("c1"), 3)
        user.engine.apply(Query("c1", "why?"), 3)
        user.candidates("c1", 1, 3, 4)
        await user.do("choose c1 auto")
        said = len(user.shown)
        user.session.on_progress(5, Hint("c1", 1, 100))
        assert user.events[-1]["event"] == "progress" and len(user.shown) == said

    at_a_prompt(scenario)


def test_only_nodes_that_are_known_of_are_reported() -> None:
    turn = Turn(Kind.QUERY, "why?", {3: Response("x", None, "m", 1)})
    assert progress_report("c", turn, {}) == "c: the LLMs are working\n    node 3: done"


@pytest.mark.parametrize("odd", [
    b"\x94\xa1c\x01\x01" + b"\x91" * 1_000, b"\x91" * 1_000, b"\x93\xa1c\x01\xcf" + b"\xff" * 8, b"\x93\xa1c\x00\x01",
    b"\x93\xa1c\xff\x01", b"\x93\xa1\x1b\x01\x01", b"\x93\xa0\x01\x01", b"\x93\xd9\x41" + b"c" * 65 + b"\x01\x01",
])
def test_odd_hints_are_none(odd: bytes) -> None:
    assert decode(b"\x93\xa1c\x01\x01") == Hint("c", 1, 1)
    assert decode(odd) is None
