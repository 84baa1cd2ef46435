"""A user who asks again, lets the nodes choose, and asks more than an LLM can take."""

from __future__ import annotations

import pytest

from console.usage import parse
from kvstore.operations import Answer, Candidate, Create, Elect, Query, Ranking
from server.event_feed import Level
from server.session import COMMANDS, Session
from tests.unit.server.session_tools import ME, PAPER, Bench, bench


async def asked(b: Bench, *nodes: int) -> None:
    await b.do("create c1")
    await b.do("query c1 why?")
    b.candidates("c1", 1, *nodes)


def test_retry_asks_again_and_says_so() -> None:
    async def scenario(b: Bench) -> None:
        await asked(b, 3, 4)
        assert await b.do("retry c1 3") == {"ok": True, "context": "c1", "turn": 1, "node": 3}
        assert list(b.node.store.conversations["c1"].turns[0].candidates) == [4]
        assert await b.do("retry c1") == {"ok": True, "context": "c1", "turn": 1}
        assert b.node.store.conversations["c1"].turns[0].candidates == {}
        assert [event["node"] for event in b.events if event["event"] == "retried"] == [3, None]
        await b.do("use c1")
        assert (await b.do("retry"))["ok"] and (await b.do("retry 5"))["node"] == 5
        for wrong in ("retry c1 x", "retry c1 0"):
            assert not (await b.do(wrong))["ok"]
        await b.do("cancel")
        assert "no open question" in (await b.do("retry c1"))["error"]

    bench(scenario)


def test_an_open_question_is_refused_with_all_ways_out() -> None:
    async def scenario(b: Bench) -> None:
        await asked(b, 3)
        error = (await b.do("query c1 and?"))["error"]
        assert all(hint in error for hint in ("choose c1 N", "retry c1", "cancel c1"))

    bench(scenario)


def test_what_comes_after_the_end_is_no_news() -> None:
    async def scenario(b: Bench) -> None:
        await asked(b, 1)
        await b.do("cancel c1")
        b.events.clear()
        b.node.apply(Candidate("c1", 1, 2, "late", None), 2)
        assert b.events == []

    bench(scenario)


def test_the_nodes_choose_and_the_votes_can_be_seen() -> None:
    async def scenario(b: Bench) -> None:
        await asked(b, 3, 4)
        assert await b.do("choose c1 auto") == {"ok": True, "context": "c1", "turn": 1, "auto": True}
        b.node.apply(Ranking("c1", 1, 3, 1, [4, 3], None, "m3"), 3)
        b.node.apply(Ranking("c1", 1, 5, 1, [], "its ranking cannot be read", "m5"), 5)
        b.node.apply(Elect("c1", 1, 1), 4)
        chosen = b.events[-1]
        assert (chosen["event"], chosen["node"], chosen["poll"]["points"]) == ("chosen", 4, {"3": 0, "4": 1})
        assert "the nodes chose node 4's answer" in b.shown[-1] and "answer of 4" in b.shown[-1]
        viewed = await b.do("view c1 --votes")
        (turn,) = viewed["turns"]
        assert turn["chosen"] == 4
        assert turn["poll"]["votes"] == {
            "3": {"order": [4, 3], "model": "m3"}, "5": {"error": "its ranking cannot be read", "model": "m5"},
        }
        shown = _shown(b.session, "view c1 --votes", viewed)
        assert "[3] m3: 4 > 3" in shown and "[5] m5: abstains: its ranking cannot be read" in shown
        assert "node 4: 1, node 3: 0" in shown
        assert "abstains" not in _shown(b.session, "view c1", viewed)

    bench(scenario)


@pytest.mark.parametrize("level", [Level.CALM, Level.QUIET])
def test_who_has_the_nodes_choose_is_told_what_came_of_it(level: Level) -> None:
    """Even if the question was not typed here, and nothing else is told."""

    async def scenario(b: Bench) -> None:
        b.node.apply(Create("c1"), 3)
        b.node.apply(Query("c1", "why?"), 3)
        b.candidates("c1", 1, 3, 4)
        b.session._news.level = level
        shown = len(b.shown)
        await b.do("choose c1 auto")
        b.node.apply(Ranking("c1", 1, 3, 1, [4, 3], None, "m3"), 3)
        b.node.apply(Elect("c1", 1, 1), 4)
        assert len(b.shown) == shown + 1 and "the nodes chose node 4's answer" in b.shown[-1]

    bench(scenario)


def test_without_votes_nobody_is_chosen() -> None:
    async def scenario(b: Bench) -> None:
        await asked(b, 3, 4)
        await b.do("choose c1 AUTO")
        b.node.apply(Ranking("c1", 1, ME, 1, [], "cannot be read", "m"), ME)
        assert "node 2 abstains" in b.shown[-1]
        b.node.apply(Elect("c1", 1, 1), 4)
        assert b.events[-1]["event"] == "no_choice" and "choose c1 N" in b.shown[-1]
        assert (await b.do("choose c1 3"))["ok"]

    bench(scenario)


def test_when_every_llm_has_failed_the_way_out_is_told() -> None:
    async def scenario(b: Bench) -> None:
        await b.do("create c1")
        await b.do("ask c1 why?")
        for node in range(1, 6):
            b.node.apply(Answer("c1", 1, node, None, "no key"), node)
        assert b.shown[-1] == "c1: node 5 has no answer: no key; retry c1 asks them again"

    bench(scenario)


def test_what_the_model_saw_is_shown() -> None:
    async def scenario(b: Bench) -> None:
        await asked(b)
        b.node.apply(Candidate("c1", 1, 3, "yes", None, "m", 1.0, 0, 12, 40), 3)
        viewed = await b.do("view c1")
        assert viewed["turns"][0]["candidates"]["3"]["seen"] == 12
        assert "the model saw the last 12 of 40 turns" in " ".join(_shown(b.session, "view c1", viewed).split())

    bench(scenario)


def test_a_question_that_is_too_long_is_not_proposed() -> None:
    async def scenario(b: Bench) -> None:
        b.session = Session(
            b.node, b.emit, journal=b.node.journal, node_id=ME, nodes=5,
            too_long=lambda text: "too long" if len(text) > 9 else None,
        )
        b.node.session = b.session
        await b.do("create c1")
        for name in ("query", "ask"):
            result = await b.do(f"{name} c1 0123456789")
            assert result == {"ok": False, "context": "c1", "error": "too long"}
        assert b.node.store.conversations["c1"].turns == []
        assert (await b.do("query c1 012345678"))["ok"]

    bench(scenario)


def _shown(session: Session, text: str, result: dict[str, object]) -> str:
    return session.show(parse(1, text, COMMANDS), result, PAPER)
