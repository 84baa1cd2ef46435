"""What makes a node's prompt comfortable: a current conversation, the log, explanations, files, how much is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from console import UsageError
from kvstore.operations import Candidate, Choose, Create, Query
from paxos.ballot import ballot
from server.event_feed import Level
from server.explain_text import Phase, Sentence
from tests.unit.server.session_tools import ME, Prompt, at_a_prompt


async def two_conversations(b: Prompt) -> None:
    await b.do("create c1")
    await b.do("create c2")


def test_the_conversation_that_is_meant_may_be_left_out() -> None:
    async def scenario(b: Prompt) -> None:
        await two_conversations(b)
        assert b.executor.prompt() == ""
        assert await b.do("use c1") == {"ok": True, "context": "c1"}
        assert b.executor.prompt() == " c1"
        assert await b.do("query hello   world") == {"ok": True, "context": "c1", "turn": 1}
        assert b.engine.store.conversations["c1"].turns[0].text == "hello   world", "verbatim"
        b.candidates("c1", 1, 3)
        assert (await b.do("choose 3"))["context"] == "c1"
        assert [turn["query"] for turn in (await b.do("view"))["turns"]] == ["hello   world"]
        assert (await b.do("view --all-candidates"))["context"] == "c1"
        assert (await b.do("query c2 hello"))["context"] == "c2", "the first word is a conversation"
        assert (await b.do("view c2"))["context"] == "c2"
        assert "no conversation 'c9'" in (await b.do("view c9"))["error"]
        with pytest.raises(UsageError, match="too few words: type query C TEXT"):
            b.type("query c1")
        assert (await b.do("ask what?"))["context"] == "c1"
        assert (await b.do("cancel"))["context"] == "c1"
        assert await b.do("use") == {"ok": True, "context": None}
        with pytest.raises(UsageError, match="too few words"):
            b.type("view")
        assert (await b.do("query hello world"))["error"] == "no conversation 'hello': create hello makes it"

    at_a_prompt(scenario)


def test_use_counts_for_the_lines_that_follow_at_once() -> None:
    async def scenario(b: Prompt) -> None:
        results = [b.type(text) for text in ("create c1", "use c1", "query hello world", "create c2", "query c2 again")]
        while b.engine.waiting:
            b.engine.decide()
        answers = [await result for result in results]
        assert all(answer["ok"] for answer in answers)
        assert [answer["context"] for answer in answers] == ["c1", "c1", "c1", "c2", "c2"]
        refused = await b.do("use nowhere")
        assert not refused["ok"] and "no conversation 'nowhere'" in refused["error"]
        assert b.executor.prompt() == " c1", "as before"

    at_a_prompt(scenario)


def test_a_number_is_enough_when_one_conversation_waits_for_a_choice() -> None:
    async def scenario(b: Prompt) -> None:
        await two_conversations(b)
        with pytest.raises(UsageError, match="too few words: type choose C N"):
            b.type("choose 3")
        await b.do("query c1 why?")
        b.candidates("c1", 1, 3)
        assert b.type("choose 3") and b.engine.waiting[0][0] == Choose("c1", 3, 1)
        await b.do("ask c2 who?")
        await b.do("query c1 again")
        b.candidates("c1", 2, 4)
        assert (await b.do("choose 4"))["context"] == "c1", "an `ask` waits for no choice"
        await b.do("cancel c2")
        await b.do("query c1 a")
        await b.do("query c2 b")
        with pytest.raises(UsageError, match="which conversation\\? Waiting for a choice are c1, c2: type choose C N"):
            b.type("choose 3")
        with pytest.raises(UsageError, match="too few words"):
            b.type("choose c1")

    at_a_prompt(scenario)


def test_the_log() -> None:
    async def scenario(b: Prompt) -> None:
        assert (await b.do("log")).shown == "nothing has been applied here yet"
        await b.do("create c1")
        b.engine.apply(Query("c1", "why\nthen?"), 3)
        await b.do("choose c1 9")
        result = await b.do("log")
        assert result["kept"] == 1000 and [entry["position"] for entry in result["log"]] == [1, 2, 3]
        assert result["log"][1] == {
            "position": 2, "ballot": [4, 4, 2], "origin": 3, "incarnation": 1, "number": 2, "at": 1_700_000_000.0,
            "command": "query", "context": "c1", "turn": 1, "node": None, "text": "why\nthen?", "error": None,
        }
        assert "nothing to choose from" in result["log"][2]["error"]
        assert "<4,4,2>" in result.shown and "why then?" in result.shown and "refused" in result.shown
        assert [entry["position"] for entry in (await b.do("log 1"))["log"]] == [3]
        for wrong in ("log x", "log -1"):
            assert "number of operations; type log [N]" in (await b.do(wrong))["error"]

    at_a_prompt(scenario)


def test_explanations() -> None:
    async def scenario(b: Prompt) -> None:
        assert (await b.do("explain ON")) == {"ok": True, "explain": True}
        assert b.listening is not None
        b.listening([Sentence(Phase.PREPARE, ballot((4, 2), 17), "I stand for leader")])
        assert b.events[-1] == {
            "event": "explain", "phase": "prepare", "ballot": [4, 2, 17], "text": "I stand for leader"
        }
        assert b.shown[-1] == "· I stand for leader"
        assert (await b.do("explain off")) == {"ok": True, "explain": False} and b.listening is None
        assert "neither on nor off" in (await b.do("explain maybe"))["error"]
        await b.do("explain on")
        b.session.close()
        assert b.listening is None, "who has gone does not listen"

    at_a_prompt(scenario)


def test_quiet_and_verbose() -> None:
    async def elsewhere(b: Prompt) -> list[str]:
        """What is said of things that happen elsewhere."""
        said, events = len(b.shown), len(b.events)
        name = f"x{b.engine.position}"
        b.engine.apply(Create(name), 3)
        b.engine.apply(Query(name, "why?"), 3)
        b.candidates(name, 1, 1, 2, 3, 4, 5)
        b.engine.apply(Choose(name, 9), 3)
        quiet = b.session.level is Level.QUIET
        assert len(b.events) - events == 0 if quiet else len(b.events) - events >= 7
        return b.shown[said:]

    async def scenario(b: Prompt) -> None:
        assert len(await elsewhere(b)) == 3
        assert await b.do("quiet") == {"ok": True, "level": "quiet"}
        assert await elsewhere(b) == []
        await b.do("create c1")
        await b.do("query c1 mine?")
        b.candidates("c1", 1, 1, 2, 3, 4, 5)
        assert len(b.shown) == 4 and "choose c1 N" in b.shown[-1], "the answers to one's own question"
        await b.do("verbose")
        loud = await elsewhere(b)
        assert len(loud) == 8 and "(2 of 5): answer of 2" in loud[3] and "choose from node 3 refused" in loud[-1]
        await b.do("normal")
        assert len(await elsewhere(b)) == 3

    at_a_prompt(scenario)


def test_where_nobody_sits_only_the_leader_is_told_until_somebody_asks_for_more() -> None:
    async def scenario(b: Prompt) -> None:
        b.session.level = Level.CALM
        b.session.on_leader(4)
        b.engine.apply(Create("x"), 3)
        b.engine.apply(Query("x", "why?"), 3)
        b.candidates("x", 1, 1, 2, 3, 4, 5)
        b.engine.apply(Choose("x", 3), 3)
        assert b.shown == ["leader: node 4"]
        await b.do("create c1")
        await b.do("query c1 mine?")
        b.candidates("c1", 1, 1, 2, 3, 4, 5)
        assert "choose c1 N" in b.shown[-1], "the answers to one's own question"
        await b.do("normal")
        b.engine.apply(Create("y"), 3)
        assert b.shown[-1] == "y: created"

    at_a_prompt(scenario)


def test_another_session_of_this_node_is_somebody_else() -> None:
    async def scenario(b: Prompt) -> None:
        b.engine.apply(Create("c1"), ME)
        assert b.shown == ["c1: created"]
        await b.do("create c2")
        assert b.shown == ["c1: created"], "the result says it"

    at_a_prompt(scenario)


def test_a_conversation_leaves_and_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    async def scenario(b: Prompt) -> None:
        await b.do("create c1")
        await b.do("query c1 why?")
        b.candidates("c1", 1, 1, 2)
        await b.do("choose c1 2")
        await b.do("query c1 and?")
        b.engine.apply(Candidate("c1", 2, 1, None, "timeout", "m", 1), 1)
        exported = await b.do("export c1 my talk.json")
        path = str(tmp_path / "my talk.json")
        assert exported == {"ok": True, "context": "c1", "file": path, "turns": 2, "stale": False}
        (tmp_path / "my talk.json").rename("talk.json")
        importing = b.type("import talk.json c3")
        viewing = b.type("query c3 next?")
        while not viewing.done():
            await b.step()
        assert await importing == {"ok": True, "context": "c3", "turns": 2, "given_up": [2]}
        assert (await viewing)["turn"] == 3, "what follows is about what the file brings"
        before, after = (await b.do("view c1"))["turns"], (await b.do("view c3"))["turns"]
        assert after[0] == before[0] and after[1] == {**before[1], "cancelled": True}
        restored = [event for event in b.events if event["event"] == "restored"]
        assert [(event["context"], event["turn"], event["origin"]) for event in restored] == [("c3", 2, ME)]
        taken = await b.do("import talk.json")
        assert not taken["ok"] and "a conversation 'c1' already" in taken["error"]
        assert "cannot read" in (await b.do("import nothing.json"))["error"]
        (tmp_path / "talk.json").write_text(json.dumps({"format": "x"}))
        assert "no conversation that" in (await b.do("import talk.json c4"))["error"]
        assert "no conversation 'c9'" in (await b.do("export c9 x.md"))["error"]

    at_a_prompt(scenario)


@pytest.mark.parametrize("damage", [
    {"chosen": 7}, {"query": " "}, {"candidates": {"1": {"text": None}}}, {"candidates": {"x": {"text": "a"}}},
])
def test_damage_half_way_leaves_no_half_of_a_conversation(
    damage: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    turns: list[dict[str, Any]] = [{"query": "why?", "cancelled": True} for _ in range(9)]
    turns[5].update(damage)
    talk = {"format": "consensusllm-conversation", "version": 1, "context": "c1", "turns": turns}
    (tmp_path / "talk.json").write_text(json.dumps(talk))

    async def scenario(b: Prompt) -> None:
        result = await b.do("import talk.json")
        assert not result["ok"] and "talk.json" in result["error"]
        assert b.engine.position == 0, "nothing was proposed"

    at_a_prompt(scenario)


def test_an_import_is_one_operation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    said = {str(node): {"text": f"answer of {node}", "model": "m", "seconds": 1} for node in range(1, 6)}
    turns = [{"query": "why?", "chosen": 4, "candidates": said}] * 9
    talk = {"format": "consensusllm-conversation", "version": 1, "context": "c1", "turns": turns}
    (tmp_path / "talk.json").write_text(json.dumps(talk))

    async def scenario(b: Prompt) -> None:
        assert (await b.do("import talk.json"))["turns"] == 9
        assert b.engine.position == 1
        assert (await b.do("import talk.json c2 --chosen"))["turns"] == 9
        (turn, *_) = (await b.do("view c2"))["turns"]
        assert list(turn["candidates"]) == ["4"] and turn["chosen"] == 4
        assert (await b.do("import talk.json c3 c4"))["kind"] == "usage"
        b.engine.apply(Create("c5"), 3)
        late = await b.do("import talk.json c5")
        assert late == {"ok": False, "context": "c5", "error": "there is a conversation 'c5' already"}

    at_a_prompt(scenario)



def test_only_nodes_that_there_are_can_be_asked_again() -> None:
    async def scenario(b: Prompt) -> None:
        await b.do("create c1")
        await b.do("query c1 why?")
        result = await b.type("retry c1 7")
        assert not result["ok"] and "there is no node 7" in result["error"]
        assert (await b.do("retry c1 3"))["node"] == 3

    at_a_prompt(scenario)


def test_a_log_of_nothing_is_a_mistake() -> None:
    async def scenario(b: Prompt) -> None:
        assert "0 operations are none" in (await b.type("log 0"))["error"]

    at_a_prompt(scenario)
