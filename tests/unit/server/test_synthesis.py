"""A synthesis is asked for at the leader, whoever that is by then, or at a named node; and told to users."""

from __future__ import annotations

import asyncio

import pytest

from kvstore.conversation import SYNTHESIS
from kvstore.operations import (
    Candidate,
    Choose,
    Create,
    Delete,
    Query,
    Retry,
    StartPoll,
    StoreOperation,
    Synthesize,
    Synthesized,
)
from llm.provider import ProviderError
from server.progress_hints import Hint
from tests.unit.llm.llm_tools import until
from tests.unit.server.session_tools import Prompt, at_a_prompt
from tests.unit.server.test_responder import ME, BusyLlm, FakeNode, run


def candidate(node: int, text: str | None = "so") -> Candidate:
    return Candidate("c", 1, node, text, None if text else "no key")


ANSWERED = (Create("c"), Query("c", "why?"), candidate(ME, "mine"), candidate(3, "theirs"))


async def nothing_is_asked(node: FakeNode) -> None:
    await asyncio.sleep(0)
    metering = node.responder.scheduler.metering
    assert metering.waiting + metering.in_flight == 0 and not node.submitted


@pytest.mark.parametrize("leads_before", [True, False])
def test_the_leader_is_asked(leads_before: bool) -> None:
    async def scenario(node: FakeNode) -> None:
        await node.turn(*ANSWERED, Synthesize("c"))
        if not leads_before:
            await nothing_is_asked(node)
            node.responder.see(ME, [1, 3, 4, 5])
            await node.caught_up()
        said = await node.next()
        assert isinstance(said, Synthesized)
        assert (said.turn, said.node, said.round, said.text, said.error) == (1, ME, 1, "fine", None)
        assert node.conditions == [1], "of this conversation alone"
        (asked,) = node.llm.asked
        assert "mine" in asked.messages[-1].text and "theirs" in asked.messages[-1].text
        await node.turn(said)
        node.responder.see(ME, [1, 3, 4])
        await nothing_is_asked(node)
        await node.turn(Synthesize("c"))
        again = await node.next()
        assert isinstance(again, Synthesized) and again.round == 2 and len(node.llm.asked) == 2

    run(scenario, leader=ME if leads_before else 4)


def test_a_named_node_is_asked_although_another_leads() -> None:
    async def scenario(node: FakeNode) -> None:
        await node.turn(*ANSWERED, Synthesize("c", node=ME))
        assert isinstance(await node.next(), Synthesized)

    run(scenario)


def test_what_fails_is_told_and_not_tried_again() -> None:
    async def scenario(node: FakeNode) -> None:
        node.llm.says = ProviderError("no key")
        await node.turn(*ANSWERED, Synthesize("c"))
        said = await node.next()
        assert isinstance(said, Synthesized) and (said.text, said.error) == (None, "no key")
        await node.turn(said)
        await nothing_is_asked(node)

    run(scenario, leader=ME)


@pytest.mark.parametrize("first", [Choose("c", 3), StartPoll("c"), Retry("c", node=3), Delete("c")], ids=repr)
def test_the_llm_is_called_off(first: StoreOperation) -> None:
    async def scenario(node: FakeNode) -> None:
        node.llm = llm = BusyLlm()
        await node.turn(*ANSWERED, Synthesize("c"))
        await until(lambda: len(llm.asked) == 1)
        await node.turn(first)
        llm.gate.set()
        await until(lambda: node.responder.scheduler.metering.in_flight == 0)
        assert not any(isinstance(said, Synthesized) for said in node.submitted)

    run(scenario, leader=ME)


def test_the_leader_ends_one_that_is_awaited_from_a_node_which_is_not_there() -> None:
    async def scenario(node: FakeNode) -> None:
        await node.turn(*ANSWERED, Synthesize("c", node=5))
        await nothing_is_asked(node)
        node.responder.see(ME, [1, 3, 4])
        said = await node.next()
        assert isinstance(said, Synthesized) and (said.node, said.round, said.text) == (5, 1, None)
        assert said.error == f"node 5 is not there, as the leader, node {ME}, sees it"
        node.responder.see(ME, [1, 3])
        await nothing_is_asked(node)
        await node.turn(said, Synthesize("c", node=5))
        again = await node.next()
        assert isinstance(again, Synthesized) and again.round == 2, "and each time that it is asked for"
        node.apply(again, Delete("c"), *ANSWERED, Synthesize("c", node=5))
        assert isinstance(await node.next(), Synthesized), "also in a later one of the same name"

    run(scenario, leader=ME)


def test_another_leader_leaves_that_to_the_leader() -> None:
    async def scenario(node: FakeNode) -> None:
        await node.turn(*ANSWERED, Synthesize("c", node=5))
        node.responder.see(4, [1, 4])
        await nothing_is_asked(node)
        node.responder.see(ME, [1, 4])
        await node.caught_up()
        assert isinstance(await node.next(), Synthesized), "it leads now"

    run(scenario)


async def answered(user: Prompt) -> None:
    await user.do("create c1")
    await user.do("query c1 why?")
    for node, text in ((3, "one"), (5, "other")):
        user.engine.apply(Candidate("c1", 1, node, text, None, "m"), node)


def synthesized(text: str | None, number: int) -> Synthesized:
    error = None if text else "no key"
    return Synthesized("c1", 1, 4, text, error, "m", 2.0, round=number, tokens_in=30, tokens_out=7)


def test_at_a_prompt() -> None:
    async def scenario(user: Prompt) -> None:
        await answered(user)
        asked = await user.do("choose synth")
        assert asked == {"ok": True, "context": "c1", "turn": 1, "synth": True}
        assert " ".join(asked.shown.split()) == "c1: the leader is asked for one answer out of those to question 1"
        seen = await user.do("view c1")
        assert seen["turns"][0]["synthesis"] == {"by": None, "out_of": [3, 5]}
        assert "choose c1 N picks one; the leader is asked for one out of [3], [5]" in seen.shown.replace("\n    ", " ")
        refused = await user.do("choose c1 synth")
        assert refused["synth"] is True and "already asked for a synthesis in 'c1'" in refused["error"]
        user.session.on_progress(4, Hint("c1", 1, 9, True))
        assert user.events[-1] == {
            "event": "progress", "context": "c1", "turn": 1, "node": 4, "state": "writing", "tokens": 9, "synth": True,
        }
        assert user.executor.progress_line() == "c1: LLMs at work: 2 of 5 done; synthesis: 9 tokens"
        user.engine.apply(synthesized("both", 1), 4)
        event = user.events[-1]
        assert (event["event"], event["by"], event["out_of"], event["text"]) == ("synthesis", 4, [3, 5], "both")
        assert user.shown[-1].split("\n")[1:] == [
            "    [0] synth, by node 4, out of [3], [5]: m 2.0 s  7 tokens", "    (3.5/s)", "        both",
            "choose c1 0 picks it",
        ]
        assert user.executor.progress_line() == ""
        seen = await user.do("view c1")
        said = seen["turns"][0]["candidates"]["0"]
        assert (said["by"], said["out_of"], said["text"]) == (4, [3, 5], "both") and "synthesis" not in seen["turns"][0]
        assert seen["usage"]["4"]["tokens_out"] == 7 and "0" not in seen["usage"]
        assert (await user.do("choose c1 0")).shown == "c1: the synthesis chosen"
        assert "synthesis" in (await user.do("viewall")).shown

    at_a_prompt(scenario)


def test_what_others_do_is_told() -> None:
    async def scenario(user: Prompt) -> None:
        await answered(user)
        user.engine.apply(Synthesize("c1", None, 4), 5)
        assert user.events[-1] == {"event": "synth", "context": "c1", "turn": 1, "origin": 5, "by": 4, "out_of": [3, 5]}
        assert user.shown[-1] == "c1: node 5 asks node 4 for one answer out of the others"
        user.engine.apply(synthesized(None, 1), 4)
        assert user.events[-1]["error"] == "no key"
        assert user.shown[-1] == "c1: node 4 has no answer out of the others: no key"
        assert SYNTHESIS not in user.session.conversations["c1"].turns[0].candidates

    at_a_prompt(scenario)


@pytest.mark.parametrize(("typed", "error"), [
    ("choose c1 synth 9", "there is no node 9: the nodes are 1, 2, 3, 4, 5"),
    ("choose c1 synth 0", "there is no node 0"), ("choose c1 synth two", "'two' is not the number of a node"),
    ("choose c1 3 4", "not understood"), ("choose c1 synth 3 4", "not understood"),
    ("choose c1 synth --cut", "not understood"), ("choose c1 0", "there is no synthesis in turn 1"),
])
def test_what_cannot_be_is_refused(typed: str, error: str) -> None:
    async def scenario(user: Prompt) -> None:
        await answered(user)
        assert error in (await user.do(typed))["error"]

    at_a_prompt(scenario)


def test_the_conversation_may_be_left_out() -> None:
    async def scenario(user: Prompt) -> None:
        await answered(user)
        asked = await user.do("choose synth 4")
        assert (asked["context"], asked["by"]) == ("c1", 4)
        await user.do("choose c1 3")
        await user.do("create synth")
        await user.do("query synth why?")
        user.engine.apply(Candidate("synth", 1, 4, "so", None), 4)
        chosen = await user.do("choose synth 4")
        assert (chosen["context"], chosen["node"]) == ("synth", 4), "a conversation of that name is meant"

    at_a_prompt(scenario)
