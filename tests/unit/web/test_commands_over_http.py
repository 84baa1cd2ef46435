"""/api: commands answer as at a prompt, with a status; events can be followed, also from where a stream broke off."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import web.questions
from api.base import name_of
from api.node_commands import ExplainCommand, NormalCommand, QuietCommand, UseCommand, VerboseCommand
from api.node_events import CreatedEvent
from api.prompt import ExitCommand, HelpCommand
from console.node.table import NODE_TABLE
from kvstore.operations import Answer, Ask, Candidate, Create, Rename, StoreOperation, Synthesized
from server.commands import COMMANDS
from tests.unit.llm.llm_tools import until
from tests.unit.web.web_tools import KEY, At, serving
from web import openapi
from web.event_log import EventLog, EventReader

ROOT = Path(__file__).resolve().parents[3]
OF_A_PROMPT = {UseCommand, ExplainCommand, QuietCommand, NormalCommand, VerboseCommand, HelpCommand, ExitCommand}


def test_every_command_is_there_but_those_about_the_prompt_itself() -> None:
    assert {entry.command for entry in NODE_TABLE.entries.values()} - OF_A_PROMPT == COMMANDS.keys()
    paths = openapi.document()["paths"]
    assert {f"/api/{name_of(kind)}" for kind in COMMANDS} < paths.keys()
    assert openapi.FILE.read_text("utf-8") == openapi.text(), "python -m web.openapi --write"
    assert openapi.NETWORK_FILE.read_text("utf-8") == openapi.network_text(), "python -m web.openapi --write"


def test_a_conversation_over_http(tmp_path: Path) -> None:
    async def scenario(at: At) -> None:
        assert (await at.post("/api/create", {"context": "c1"})).json() == {"ok": True, "context": "c1"}
        again = await at.post("/api/create", {"context": "c1"})
        assert again.status_code == 409 and "already exists" in again.json()["error"]
        asked = await at.post("/api/query", {"context": "c1", "text": "why?\nreally"})
        created = asked.json()["created"]
        assert asked.json() == {"ok": True, "context": "c1", "turn": 1, "created": created}
        seen = await at.get("/api/view?context=c1&votes=true")
        assert seen.json()["turns"][0]["query"] == "why?\nreally" and seen.json()["created"] == created
        await at.post("/api/create", {"context": "short"})
        renamed = await at.post("/api/rename", {"context": "short", "name": "long"})
        assert renamed.json() == {"ok": True, "context": "short", "name": "long"}
        forked = await at.post("/api/fork", {"context": "long", "name": "c1"})
        assert forked.status_code == 409 and "already exists" in forked.json()["error"]
        await at.post("/api/create", {"context": "empty"})  # an answer may come to the other one meanwhile
        empty = await at.get("/api/view?context=empty&votes=true")
        assert empty.content == (await at.post("/api/view", {"context": "empty"})).content
        missing = await at.get("/api/view?context=c2")
        assert missing.status_code == 404 and "no conversation" in missing.json()["error"]
        for method, path, words in (
            ("GET", "/api/log?count=x", "count"), ("GET", "/api/log?count=0", "0 operations"),
            ("GET", "/api/view", "context"), ("POST", "/api/create?wait=x", "wait"),
        ):
            wrong = await at.call(method, path, {"context": "c3"} if method == "POST" else None)
            assert wrong.status_code == 400 and words in str(wrong.json()["error"]), path
        assert (await at.get("/api/create")).status_code == 405
        assert (await at.get("/api/quiet")).status_code == 404

    serving(tmp_path, scenario)


def test_no_request_gives_a_conversation_a_name_that_commands_misunderstand(tmp_path: Path) -> None:
    async def scenario(at: At) -> None:
        for name in ("auto", "--x"):
            chat = {"model": "consensus", "messages": [{"role": "user", "content": "why?"}], "user": name}
            refused = await at.post("/v1/chat/completions", chat)
            assert refused.status_code == 400 and f"cannot be called '{name}'" in refused.text

    serving(tmp_path, scenario)


@pytest.mark.parametrize("other", [[], [Ask("c", "what?"), Answer("c", 1, 2, "that", None)]])
@pytest.mark.parametrize("followed", [False, True])
def test_an_answer_is_not_lost_with_the_name_of_its_conversation(
    tmp_path: Path, followed: bool, other: list[StoreOperation]
) -> None:
    """Also if all happens before whoever asked hears that the question is in."""
    async def scenario(at: At) -> None:
        engine = at.node.engine
        chat = {"model": "ask", "messages": [{"role": "user", "content": "why?"}], "user": "c"}
        asking = asyncio.create_task(at.post("/v1/chat/completions", chat))
        await until(lambda: bool(engine.waiting))
        engine.decide()
        if followed:
            await until(lambda: "c" in at.server._hub._waiting)
        for operation in (Answer("c", 1, 2, "so", None), Rename("c", "d"), Create("c"), *other):
            engine.apply(operation, 2)
        answered = (await asking).json()
        assert answered["choices"][0]["message"]["content"] == "so"

    serving(tmp_path, scenario, decides=False)


@pytest.mark.parametrize("stream", [False, True])
def test_a_question_whose_client_has_gone_holds_no_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    monkeypatch.setattr(web.questions, "MAX_QUESTIONS", 1)

    def chat(context: str) -> dict[str, Any]:
        return {"model": "ask", "messages": [{"role": "user", "content": "why?"}], "user": context}

    async def scenario(at: At) -> None:
        conversations = at.node.engine.store.conversations
        gone = asyncio.create_task(at.post("/v1/chat/completions", {**chat("c"), "stream": stream}))
        await until(lambda: "c" in conversations)
        answered = await at.post("/v1/chat/completions", chat("d"), **{"Idempotency-Key": "one"})
        assert answered.status_code == 429
        at.node.engine.apply(Answer("d", 1, 2, "so", None), 2)
        gone.cancel()
        for _ in range(400):
            answered = await at.post("/v1/chat/completions", chat("d"), **{"Idempotency-Key": "one"})
            if answered.status_code != 429:
                break
            await asyncio.sleep(0.05)
        assert answered.json()["choices"][0]["message"]["content"] == "so"
        assert not conversations["c"].turns[0].cancelled, "it stays"

    serving(tmp_path, scenario)


def test_a_page_has_a_bound_however_it_is_asked_for(tmp_path: Path) -> None:
    async def scenario(at: At) -> None:
        for limit in ("0", "101", "00100000", "0001" + "9" * 5000):
            assert (await at.get(f"/v1/conversations?limit={limit}")).status_code == 400, limit[:9]
        assert (await at.get("/v1/conversations?limit=100")).json()["has_more"] is False

    serving(tmp_path, scenario)


def test_what_is_meant_for_a_deleted_conversation_does_nothing_to_its_namesake(tmp_path: Path) -> None:
    async def scenario(at: At) -> None:
        created = []
        for question in ("older?", "newer?"):
            for command, more in (("create", {}), ("query", {"text": question})):
                assert (await at.post(f"/api/{command}", {"context": "c", **more})).status_code == 200
            seen, last = (await at.get("/api/view?context=c")).json(), (await at.get("/api/last?context=c")).json()
            assert seen["created"] == last["created"]
            created.append(seen["created"])
            if question == "older?":
                assert (await at.call("DELETE", "/v1/conversations/c")).status_code == 200
        refused: list[tuple[str, dict[str, Any]]] = [
            ("choose", {"node": 2, "turn": 1}), ("choose", {"node": "auto"}), ("retry", {}), ("cancel", {"turn": 1}),
        ]
        for command, more in refused:
            late = await at.post(f"/api/{command}", {"context": "c", "created": created[0], **more})
            assert late.status_code == 409 and "another conversation now" in late.json()["error"], command
        for wrong in (0, -1, 2**53 + 1, 2**70):
            assert (await at.post("/api/cancel", {"context": "c", "created": wrong})).status_code == 400, wrong
        assert (await at.post("/api/cancel", {"context": "c", "created": created[1], "turn": 1})).status_code == 200

    serving(tmp_path, scenario)


def test_a_synthesis_is_asked_for_and_chosen(tmp_path: Path) -> None:
    async def scenario(at: At) -> None:
        asked = (await at.post("/v1/responses", {"input": "why?", "background": True})).json()
        context, choose = asked["metadata"]["context"], f"/v1/responses/{asked['id']}/choose"
        assert (await at.post(choose, {"node": "synth"})).status_code == 409, "there is nothing to make it out of"
        for node, text in ((4, "one"), (5, "other")):
            at.node.engine.apply(Candidate(context, 1, node, text, None, "m"), node)
        (turn,) = at.node.engine.store.conversations[context].turns
        await until(lambda: len(turn.candidates) == 3, 5)  # that of the node itself
        assert (await at.post(choose, {"node": "synth"})).json()["status"] == "in_progress"
        assert (await at.post("/api/choose", {"context": context, "node": "synth"})).status_code == 409, "it is awaited"
        at.node.engine.apply(Synthesized(context, 1, 4, "both", None, "m", 1.0, 1), 4)
        said = (await at.get(f"/v1/responses/{asked['id']}")).json()["candidates"][0]
        assert said == {"node": 0, "text": "both", "model": "m", "seconds": 1.0, "by": 4, "out_of": [2, 4, 5]}
        by_name = await at.post("/api/choose", {"context": context, "node": "synth", "by": 5})
        assert by_name.json() == {"ok": True, "context": context, "turn": 1, "synth": True, "by": 5}
        assert (await at.post("/api/choose", {"context": context, "node": 4, "by": 5})).status_code == 400
        done = (await at.post(choose, {"node": 0})).json()
        assert (done["status"], done["output"][0]["content"][0]["text"], done["chosen"]) == ("completed", "both", 0)

    serving(tmp_path, scenario)


@pytest.mark.parametrize("title", [None, "Why"])
def test_a_conversation_that_is_renamed_at_once_is_the_one_that_was_made(tmp_path: Path, title: str | None) -> None:
    async def scenario(at: At) -> None:
        engine = at.node.engine
        metadata = {"context": "c"} | ({"title": title} if title else {})
        making = asyncio.create_task(at.post("/v1/conversations", {"metadata": metadata}))
        await until(lambda: bool(engine.waiting))
        engine.decide()
        for operation in (Rename("c", "d"), Create("c"), Ask("c", "what?")):
            engine.apply(operation, 2)
        made = await making
        if title:
            assert made.status_code == 404 and not engine.store.conversations["c"].title
        else:
            assert made.json()["metadata"]["context"] == "d" and made.json()["turns"] == 0

    serving(tmp_path, scenario, decides=False)


def test_all_conversations_page_by_page(tmp_path: Path) -> None:
    async def scenario(at: At) -> None:
        for context in ("b", "d", "a", "c"):
            await at.post("/api/create", {"context": context})
        whole = (await at.get("/api/viewall")).json()
        assert [one["context"] for one in whole["conversations"]] == ["b", "d", "a", "c"] and "more" not in whole
        read, after = [], ""
        while True:
            page = (await at.get(f"/api/viewall?limit=3&after={after}")).json()
            read.append([one["context"] for one in page["conversations"]])
            assert list(page["changed"]) == read[-1]
            if not page["more"]:
                break
            after = read[-1][-1]
        assert read == [["a", "b", "c"], ["d"]]
        assert (await at.get("/api/viewall?limit=0")).status_code == 400

    serving(tmp_path, scenario)


def test_what_is_not_decided_in_time_is_said_so_and_still_happens(tmp_path: Path) -> None:
    async def scenario(at: At) -> None:
        at.node.engine.majority = False
        late = await at.post("/api/create?wait=0.05", {"context": "c1"})
        assert late.status_code == 504 and "no majority reachable" in late.json()["error"]["message"]
        ready = await at.get("/readyz", None)
        assert ready.status_code == 503 and ready.json()["reason"] == "no majority reachable"
        at.node.engine.majority = True
        assert (await at.get("/readyz", None)).status_code == 200
        at.node.engine.decide()
        assert "c1" in at.node.engine.store.conversations
        waiting = asyncio.create_task(at.post("/api/create", {"context": "c2"}))
        await until(lambda: bool(at.node.engine.waiting))
        closing = at.close()
        left = await waiting
        assert left.status_code == 503 and "node 2 leaves" in left.json()["error"]["message"]
        await closing

    serving(tmp_path, scenario, decides=False)


async def events_of(stream: httpx.Response) -> AsyncIterator[tuple[int | None, dict[str, Any]]]:
    position: int | None = None
    async for line in stream.aiter_lines():
        if line.startswith("id: "):
            position = int(line[4:])
        elif line.startswith("data: "):
            yield position, json.loads(line[6:])
        elif not line:
            position = None


def test_a_stream_goes_on_where_it_broke_off_and_ends_in_words(tmp_path: Path) -> None:
    async def scenario(at: At) -> None:
        headers = {"Authorization": f"Bearer {KEY}"}
        at.node.engine.apply(Create("before"), 3)
        async with at.client.stream("GET", "/api/events", headers=headers) as stream:
            for name in ("a", "b"):
                at.node.engine.apply(Create(name), 3)
            events = events_of(stream)
            first, second = await anext(events), await anext(events)
            assert first == (9, {"event": "created", "context": "a", "origin": 3}) and second[0] == 10
        at.node.engine.apply(Create("c"), 3)
        async with at.client.stream("GET", "/api/events", headers={**headers, "Last-Event-ID": "9"}) as stream:
            events = events_of(stream)
            assert [(await anext(events))[1]["context"] for _ in range(2)] == ["b", "c"]
            at.node.service.on_installed()
            assert (await anext(events))[1]["event"] == "gap"
            closing = at.close()
            told = [event async for _, event in events]
            assert told == [{"event": "closing", "reason": "node 2 leaves: try again at another node"}]
        await closing

    serving(tmp_path, scenario)


def test_a_reader_gets_each_event_once_or_a_gap() -> None:
    async def scenario() -> None:
        log = EventLog(10, kept=3)
        live, behind, unknown = EventReader(log, None), EventReader(log, 12), EventReader(log, 5)
        assert b'"gap","upto":10' in unknown.take(), "what happened before this node's log began is not known"
        for position in (11, 12, 13):
            log.applied = position
            log.add(CreatedEvent(f"c{position}", 1), position)
        assert live.take().count(b"event: created") == 3 and live.take() == b""
        assert behind.take().count(b"event: created") == 1, "this node was behind the one that told of 12"
        for position in (14, 15, 16, 17):
            log.applied = position
            log.add(CreatedEvent(f"c{position}", 1), position)
        late = live.take()
        assert late.index(b'"gap","upto":14') < late.index(b"c15") and b"c14" not in late
        assert EventReader(log, 13).take().count(b"event: gap") == 1 and b"gap" not in EventReader(log, 14).take()

    asyncio.run(scenario())


def test_metrics_follow_the_guidelines(tmp_path: Path) -> None:
    async def scenario(at: At) -> None:
        await at.post("/api/create", {"context": "c1"})
        at.node.engine.apply(Create("c2"), 3)
        text = (await at.get("/metrics")).text
        assert "consensusllm_commit_duration_seconds_count 1.0" in text, "of those submitted here"
        assert "consensusllm_conversations 2.0" in text and "consensusllm_network_sent_bytes_total 2.0" in text
        names = {line.split("{")[0].split()[0] for line in text.splitlines() if not line.startswith("#")}
        assert all(name.startswith("consensusllm_") and name == name.lower() for name in names)
        shown = set(re.findall(r"consensusllm_\w+", (ROOT / "deploy" / "grafana.json").read_text()))
        # What the LLM does is told by nodes that have one, what the relay does by the orchestrator.
        elsewhere = ("consensusllm_llm_", "consensusllm_relay_")
        unknown = {name for name in shown - names if not name.startswith(elsewhere)}
        assert not unknown, f"the dashboard shows what there is not: {unknown}"

    serving(tmp_path, scenario)
