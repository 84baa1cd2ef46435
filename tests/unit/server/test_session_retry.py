"""A user who asks again, lets the nodes choose, and asks too long a question for an LLM."""

from __future__ import annotations

import pytest

from kvstore.operations import Answer, Candidate, Create, Elect, Query, Ranking
from server.event_feed import Level
from tests.unit.server.session_tools import ME, Prompt, at_a_prompt, shown


async def asked(user: Prompt, *nodes: int) -> None:
    await user.do("create c1")
    await user.do("query c1 why?")
    user.candidates("c1", 1, *nodes)


def test_retry_asks_again_and_says_so() -> None:
    async def scenario(user: Prompt) -> None:
        await asked(user, 3, 4)
        assert await user.do("retry c1 3") == {"ok": True, "context": "c1", "turn": 1, "node": 3}
        assert list(user.engine.store.conversations["c1"].turns[0].candidates) == [4]
        assert await user.do("retry c1") == {"ok": True, "context": "c1", "turn": 1}
        assert user.engine.store.conversations["c1"].turns[0].candidates == {}
        assert [event["node"] for event in user.events if event["event"] == "retried"] == [3, None]
        await user.do("use c1")
        assert (await user.do("retry"))["ok"] and (await user.do("retry 5"))["node"] == 5
        for wrong in ("retry c1 x", "retry c1 0"):
            assert not (await user.do(wrong))["ok"]
        await user.do("cancel")
        assert "no open question" in (await user.do("retry c1"))["error"]

    at_a_prompt(scenario)


def test_an_open_question_is_refused_with_all_ways_out() -> None:
    async def scenario(user: Prompt) -> None:
        await asked(user, 3)
        error = (await user.do("query c1 and?"))["error"]
        assert all(hint in error for hint in ("choose c1 N", "retry c1", "cancel c1"))

    at_a_prompt(scenario)


def test_what_comes_after_the_end_is_no_news() -> None:
    async def scenario(user: Prompt) -> None:
        await asked(user, 1)
        await user.do("cancel c1")
        user.events.clear()
        user.engine.apply(Candidate("c1", 1, 2, "late", None), 2)
        assert user.events == []

    at_a_prompt(scenario)


def test_the_nodes_choose_and_the_votes_can_be_seen() -> None:
    async def scenario(user: Prompt) -> None:
        await asked(user, 3, 4)
        assert await user.do("choose c1 auto") == {"ok": True, "context": "c1", "turn": 1, "auto": True}
        user.engine.apply(Ranking("c1", 1, 3, 1, [4, 3], None, "m3"), 3)
        user.engine.apply(Ranking("c1", 1, 5, 1, [], "its ranking cannot be parsed", "m5"), 5)
        user.engine.apply(Elect("c1", 1, 1), 4)
        chosen = user.events[-1]
        assert (chosen["event"], chosen["node"], chosen["poll"]["points"]) == ("chosen", 4, {"3": 0, "4": 1})
        assert "the nodes chose node 4's answer" in user.shown[-1] and "answer of 4" in user.shown[-1]
        viewed = await user.do("view c1 --votes")
        (turn,) = viewed["turns"]
        assert turn["chosen"] == 4
        assert turn["poll"]["votes"] == {
            "3": {"order": [4, 3], "model": "m3"}, "5": {"error": "its ranking cannot be parsed", "model": "m5"},
        }
        votes = shown("view c1 --votes", viewed)
        assert "[3] m3: 4 > 3" in votes and "[5] m5: abstains: its ranking cannot be parsed" in votes
        assert "node 4: 1, node 3: 0" in votes
        assert "abstains" not in shown("view c1", viewed)

    at_a_prompt(scenario)


@pytest.mark.parametrize("level", [Level.CALM, Level.QUIET])
def test_who_has_the_nodes_choose_is_told_what_came_of_it(level: Level) -> None:
    """Even if the question was not typed here, and no other events are shown."""

    async def scenario(user: Prompt) -> None:
        user.engine.apply(Create("c1"), 3)
        user.engine.apply(Query("c1", "why?"), 3)
        user.candidates("c1", 1, 3, 4)
        user.session.level = level
        shown = len(user.shown)
        await user.do("choose c1 auto")
        user.engine.apply(Ranking("c1", 1, 3, 1, [4, 3], None, "m3"), 3)
        user.engine.apply(Elect("c1", 1, 1), 4)
        assert len(user.shown) == shown + 1 and "the nodes chose node 4's answer" in user.shown[-1]

    at_a_prompt(scenario)


def test_without_votes_nobody_is_chosen() -> None:
    async def scenario(user: Prompt) -> None:
        await asked(user, 3, 4)
        await user.do("choose c1 AUTO")
        user.engine.apply(Ranking("c1", 1, ME, 1, [], "cannot be read", "m"), ME)
        assert "node 2 abstains" in user.shown[-1]
        user.engine.apply(Elect("c1", 1, 1), 4)
        assert user.events[-1]["event"] == "no_choice" and "choose c1 N" in user.shown[-1]
        assert (await user.do("choose c1 3"))["ok"]

    at_a_prompt(scenario)


def test_when_every_llm_has_failed_the_way_out_is_told() -> None:
    async def scenario(user: Prompt) -> None:
        await user.do("create c1")
        await user.do("ask c1 why?")
        for node in range(1, 6):
            user.engine.apply(Answer("c1", 1, node, None, "no key"), node)
        assert user.shown[-1] == "c1: node 5 has no answer: no key; retry c1 asks them again"

    at_a_prompt(scenario)


def test_what_the_model_saw_is_shown() -> None:
    async def scenario(user: Prompt) -> None:
        await asked(user)
        user.engine.apply(Candidate("c1", 1, 3, "yes", None, "m", 1.0, 0, 12, 40), 3)
        viewed = await user.do("view c1")
        assert viewed["turns"][0]["candidates"]["3"]["seen"] == 12
        assert "the model saw the last 12 of 40 turns" in " ".join(shown("view c1", viewed).split())

    at_a_prompt(scenario)


def test_a_question_that_is_too_long_is_not_proposed() -> None:
    async def scenario(user: Prompt) -> None:
        user.open(too_long=lambda text: "too long" if len(text) > 9 else None)
        await user.do("create c1")
        for name in ("query", "ask"):
            result = await user.do(f"{name} c1 0123456789")
            assert result == {"ok": False, "context": "c1", "error": "too long"}
        assert user.engine.store.conversations["c1"].turns == []
        assert (await user.do("query c1 012345678"))["ok"]

    at_a_prompt(scenario)
