"""Hints: to the right node, seldom, and small."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from console import progress_report as progress
from console.progress_report import Progress
from kvstore.conversation import Kind, Response, Turn
from kvstore.operations import Cancel, Query, Retry, StoreOperation
from kvstore.store import Outcome
from llm.requests import Request
from server.progress_hints import EVERY_S, Hint, Hints, decode
from tests.unit.server.session_tools import Bench, bench


class CommandPipeline:
    """A node 2's hints, a clock that stands still, and what was sent and told."""

    def __init__(self) -> None:
        self.now = 0.0
        self.sent: list[tuple[int, bytes]] = []
        self.told: list[tuple[int, Hint]] = []
        self.hints = Hints(
            2, lambda node, payload: self.sent.append((node, payload)), lambda *told: self.told.append(told),
            lambda: self.now,
        )

    def asked(self, origin: int, command: StoreOperation | None = None, turn: int = 1) -> None:
        command = command or Query("c", "why?")
        self.hints.on_applied(Outcome(command, True, None, command.context, turn), origin)

    def progress(self, pieces: int, context: str = "c", turn: int = 1) -> None:
        self.hints.on_progress(Request(context, turn, "candidate", list), pieces)


def test_a_hint_goes_to_where_the_question_was_typed() -> None:
    desk = CommandPipeline()
    desk.asked(5)
    desk.progress(0)
    ((node, payload),) = desk.sent
    assert node == 5 and len(payload) < 20
    other = CommandPipeline()
    other.hints.on_message(2, payload)
    assert other.told == [(2, Hint("c", 1, 0))]
    desk.asked(2, Retry("c"))
    desk.progress(3)
    assert desk.told == [(2, Hint("c", 1, 3))] and len(desk.sent) == 1
    desk.asked(5, Cancel("c"), turn=2)
    desk.progress(0, turn=2)
    desk.progress(0, context="before the start")
    assert len(desk.sent) == 1


def test_hints_are_rare() -> None:
    desk = CommandPipeline()
    desk.asked(5)
    for pieces in range(1000):
        desk.progress(pieces)
        desk.now += EVERY_S / 100
    assert 10 <= len(desk.sent) <= 11


def test_what_is_remembered_is_bounded() -> None:
    desk = CommandPipeline()
    for number in range(2000):
        desk.asked(5, Query(f"c{number}", "why?"))
        desk.progress(0, f"c{number}")
    assert len(desk.hints._asked_at) == len(desk.hints._sent) == 256


@given(st.binary(max_size=2000))
def test_nonsense_is_no_hint(noise: bytes) -> None:
    decode(noise)
    CommandPipeline().hints.on_message(3, noise)


def test_only_who_asked_sees_progress() -> None:
    async def scenario(b: Bench) -> None:
        await b.do("create c1")
        b.session.on_progress(4, "c1", 1, 0)
        await b.do("query c1 why?")
        b.events.clear()
        b.session.on_progress(4, "c1", 1, 0)
        b.session.on_progress(4, "c1", 1, 120)
        b.session.on_progress(4, "c1", 2, 120)
        b.session.on_progress(4, "nowhere", 1, 120)
        assert b.events == [
            {"event": "progress", "context": "c1", "turn": 1, "node": 4, "state": "thinking"},
            {"event": "progress", "context": "c1", "turn": 1, "node": 4, "state": "writing", "tokens": 120},
        ]
        await b.do("cancel c1")
        b.events.clear()
        b.session.on_progress(4, "c1", 1, 140)
        assert b.events == []

    bench(scenario)


def test_a_report_now_and_then_with_a_line_for_each_node() -> None:
    now = 0.0
    board = Progress(lambda: now)
    turn = Turn(Kind.QUERY, "why?", {3: Response("x", None, "m", 1), 5: Response(None, "no key", "m", 1)})
    board.begin("c", 1)
    board.note("c", 1, 1, 0)
    board.note("c", 1, 2, 120)
    assert board.due("c", 1, turn) is None
    now += progress.EVERY_S
    report = board.due("c", 1, turn)
    assert report is not None and [line.strip() for line in report.split("\n")[1:]] == [
        "node 1: thinking", "node 2: 120 tokens", "node 3: done", "node 5: failed: no key",
    ]
    assert board.due("c", 1, turn) is None
    board.end("c")
    assert not board._pieces and not board._shown
