"""Thoughts are kept beside an answer and shown on request; an answer that was cut is marked wherever it appears."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec

from config.llm_settings import LlmSettings
from engine.interface import understood
from kvstore.conversation import Conversation, Cut, Kind, Poll, Response, Turn
from kvstore.operations import (
    Answer,
    AnswerInFull,
    Ask,
    Candidate,
    CandidateInFull,
    Create,
    IfCreatedAt,
    Query,
    StoreOperation,
)
from kvstore.payloads import encode
from kvstore.rows import value
from kvstore.store import Store
from llm.provider import Progress, Prompt, Reply
from llm.ranking import ranking_ballot
from llm.request_scheduler import RequestScheduler
from llm.requests import chat
from server.records import conversation_record
from server.responder import Responder
from server.transfer import parse, to_json, to_markdown
from tests.unit.llm.llm_tools import until
from tests.unit.server.session_tools import FakeEngine, at_a_prompt, shown
from tests.unit.server.session_tools import Prompt as User


def in_full(node: int = 3, **more: Any) -> CandidateInFull:
    return CandidateInFull("c1", 1, node, "In addition to dogs", None, "m", 30.0, **more)


CUT = in_full(cut=Cut.TIME, cut_at=30.0)


def decide(store: Store, *operations: StoreOperation) -> None:
    for position, operation in enumerate(operations, 1):
        assert store.apply(position, encode(operation)).ok


async def asked(user: User, *responses: StoreOperation) -> None:
    await user.do("create c1")
    await user.do("query c1 which?")
    for response in responses:
        user.engine.apply(response, 3)


def test_thoughts_are_shown_on_request_only() -> None:
    async def scenario(user: User) -> None:
        await asked(user, in_full(thoughts="Cats, maybe?"))
        plain = await user.do("view c1")
        assert "thoughts" not in plain["turns"][0]["candidates"]["3"]
        full = await user.do("view c1 --thoughts")
        assert full["turns"][0]["candidates"]["3"]["thoughts"] == "Cats, maybe?"
        assert "thought: Cats, maybe?" in shown("view c1 --thoughts", full)
        assert "Cats" not in json.dumps(user.events)

    at_a_prompt(scenario)


def test_a_cut_answer_is_marked_and_chosen_only_explicitly() -> None:
    async def scenario(user: User) -> None:
        await asked(user, CUT, Candidate("c1", 1, 4, "Cats.", None))
        event = next(event for event in user.events if event["event"] == "candidate")
        assert (event["cut"], event["cut_at"]) == ("time", 30.0)
        viewed = await user.do("view c1")
        assert viewed["turns"][0]["candidates"]["3"]["cut"] == "time"
        assert "(cut at 30 s)" in shown("view c1", viewed)
        refused = await user.do("choose c1 3")
        assert not refused["ok"] and "cut at 30 s" in refused["error"] and "--cut" in refused["error"]
        assert (await user.do("choose 3 --cut"))["ok"], "the conversation may be left out here, too"
        assert user.engine.store.conversations["c1"].turns[0].chosen == 3

    at_a_prompt(scenario)


def test_what_a_bound_on_tokens_cut_is_marked_and_can_be_chosen() -> None:
    async def scenario(user: User) -> None:
        await asked(user, in_full(cut=Cut.TOKENS, cut_at=60.0))
        assert "(cut at 60 tokens)" in shown("view c1", await user.do("view c1"))
        assert (await user.do("choose c1 3"))["ok"]

    at_a_prompt(scenario)


def talk(*responses: Response) -> Conversation:
    turn = Turn(Kind.QUERY, "which?", dict(enumerate(responses, 1)), chosen=1)
    return Conversation("c1", 1, 1, [turn, Turn(Kind.QUERY, "and?", dict(enumerate(responses, 1)))])


def test_exports_ballots_and_prompts() -> None:
    conversation = talk(
        Response("In addition to", None, "m", 30.0, thoughts="hm", cut=Cut.TIME, cut_at=30.0),
        Response("<think>hm</think>Cats.", None, "m", 1.0),
    )
    record = conversation_record(conversation)
    assert "In addition to *(cut at 30 s)*" in to_markdown(record)
    exported = json.loads(to_json(record))
    assert exported["turns"][0]["candidates"]["1"]["cut"] == "time" and "hm" not in to_json(record).split("<think>")[0]
    assert parse(to_json(record).encode()).turns == 2
    ballot = ranking_ballot(conversation, 2, Poll(1, [1, 2]), 1)[1]
    assert sorted(ballot.answers) == ["Cats.", "In addition to (cut off: time ran out)"]
    old = msgspec.structs.replace(conversation.turns[0], chosen=2)
    assert [said.text for said in chat(Conversation("c1", 1, 1, [old, conversation.turns[1]]), 2)][1] == "Cats."


def test_a_plain_response_is_stored_as_in_release_0_1_0() -> None:
    plain, full = Store(), Store()
    decide(plain, Create("c1"), Query("c1", "?"), Candidate("c1", 1, 3, "x", None, at=5))
    decide(full, Create("c1"), Query("c1", "?"), CandidateInFull("c1", 1, 3, "x", None, at=5))
    assert plain.digest() == full.digest()
    row = value((1, 1, 3), plain.conversations["c1"])
    assert row is not None and len(msgspec.msgpack.decode(row)) == 7
    loaded = Store()
    marked = Store()
    decide(marked, Create("c1"), Query("c1", "?"), in_full(thoughts="hm", cut=Cut.TOKENS))
    loaded.load(marked.snapshot())
    assert loaded.conversations == marked.conversations


class Thinker:
    """Thinks, and is cut."""

    name, model, parallel = "thinker", "m", 1

    async def ask(self, prompt: Prompt, on_progress: Progress | None = None) -> Reply:
        return Reply("In addition to", "m", 30.0, complete=False, cut_s=30.0, thoughts="hm")

    async def close(self) -> None:
        """There is nothing to close."""


def test_what_some_member_does_not_know_is_left_out() -> None:
    async def main() -> None:
        engine = FakeEngine()
        responder = Responder(2, engine, lambda done: RequestScheduler(LlmSettings(), Thinker, done), poll_s=1000)
        responder.see(4, [1, 3, 4, 5])
        await responder.run()
        decide(engine.store, Create("c1"), Query("c1", "which?"))
        responder.review()
        await until(lambda: bool(engine.waiting))
        said = CandidateInFull(
            "c1", 1, 2, "In addition to", None, "m", 30.0, thoughts="hm", cut=Cut.TIME, cut_at=30.0
        )
        assert engine.waiting[0][0] == IfCreatedAt(1, said) == understood(IfCreatedAt(1, said), lambda: {1: 2, 2: 2})
        assert understood(IfCreatedAt(1, said), lambda: {1: 2, 2: 1}) == Candidate(
            "c1", 1, 2, "In addition to", None, "m", 30.0
        )
        await responder.close()

    asyncio.run(main())


def test_an_ask_keeps_its_thoughts_too() -> None:
    store = Store()
    said = AnswerInFull("c1", 1, 2, "Cats.", None, "m", 1.0, thoughts="hm")
    decide(store, Create("c1"), Ask("c1", "which?"), said)
    answer = store.conversations["c1"].turns[0].answer
    assert answer is not None and answer.thoughts == "hm" and not answer.is_plain
    assert not store.apply(4, encode(Answer("c1", 1, 3, "x", None))).ok
