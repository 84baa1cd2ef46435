"""Another answer to an `ask` is asked for at the leader, whoever that is by then, and told to users."""

from __future__ import annotations

import asyncio

import pytest

from kvstore.operations import Answer, Ask, Candidate, Create, Query, Regenerate
from tests.unit.llm.llm_tools import until
from tests.unit.server.session_tools import Prompt, at_a_prompt
from tests.unit.server.test_responder import ME, BusyLlm, FakeNode, run

ANSWERED = (Create("c"), Ask("c", "why?"), Answer("c", 1, ME, "older", None))


@pytest.mark.parametrize("leads_before", [True, False])
def test_the_leader_is_asked_even_if_its_answer_stands(leads_before: bool) -> None:
    async def scenario(node: FakeNode) -> None:
        await node.turn(*ANSWERED, Regenerate("c"))
        if not leads_before:
            metering = node.responder.scheduler.metering
            assert metering.waiting + metering.in_flight == 0
            node.responder.see(ME, [1, 3, 4, 5])
            await node.caught_up()
        said = await node.next()
        assert isinstance(said, Answer) and (said.turn, said.round, said.error) == (1, 1, None)
        assert len(node.llm.asked) == 1
        await node.turn(said)
        node.responder.see(ME, [1, 3, 4])
        await asyncio.sleep(0)
        assert len(node.llm.asked) == 1 and not node.submitted

    run(scenario, leader=ME if leads_before else 4)


def test_what_is_overtaken_by_a_question_is_called_off() -> None:
    async def scenario(node: FakeNode) -> None:
        node.llm = llm = BusyLlm()
        await node.turn(*ANSWERED, Regenerate("c"))
        await until(lambda: bool(llm.asked))
        await node.turn(Query("c", "and?"))
        await until(lambda: len(llm.asked) == 2)  # it takes one at a time
        llm.gate.set()
        said = await node.next()
        assert isinstance(said, Candidate) and said.turn == 2 and not node.submitted

    run(scenario, leader=ME)


def test_at_a_prompt() -> None:
    async def scenario(user: Prompt) -> None:
        await user.do("create c1")
        await user.do("ask c1 who?")
        assert "has an open question" in (await user.do("regenerate c1"))["error"]
        user.engine.apply(Answer("c1", 1, 3, "older", None), 3)
        await user.do("use c1")
        asked = await user.do("regenerate")
        assert asked == {"ok": True, "context": "c1", "turn": 1}
        assert asked.shown == "c1: the leader is asked for another answer to question 1"
        seen = await user.do("view")
        assert seen["turns"][0]["regenerating"] is True and seen["turns"][0]["chosen"] == 3
        assert "older" in seen.shown and "the leader is asked for another answer" in seen.shown
        user.engine.apply(Answer("c1", 1, 4, None, "no key", round=1), 4)
        assert user.events[-1]["error"] == "no key"
        assert user.shown[-1] == "c1: node 4 has no other answer: no key; the former one stays"
        assert "regenerating" not in (await user.do("view"))["turns"][0]
        user.engine.apply(Regenerate("c1"), 2)
        assert user.events[-1] == {"event": "regenerated", "context": "c1", "turn": 1, "origin": 2}
        assert user.shown[-1] == "c1: node 2 asks the leader for another answer"
        user.engine.apply(Answer("c1", 1, 4, "newer", None, round=2), 4)
        assert user.events[-1]["text"] == "newer"
        assert list((await user.do("view"))["turns"][0]["candidates"]) == ["4"]

    at_a_prompt(scenario)
