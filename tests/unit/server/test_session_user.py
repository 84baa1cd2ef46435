"""Convenience features of a node's prompt: current conversation, log, explanations, files, verbosity."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from console import UsageError
from kvstore.operations import Candidate, Choose, Create, IfCreatedAt, Query
from paxos.ballot import ballot
from server.event_feed import Level
from server.explain_text import Phase, Sentence
from tests.unit.server.session_tools import ME, Prompt, at_a_prompt


async def two_conversations(user: Prompt) -> None:
    await user.do("create c1")
    await user.do("create c2")


def test_the_conversation_that_is_meant_may_be_left_out() -> None:
    async def scenario(user: Prompt) -> None:
        await two_conversations(user)
        assert user.executor.prompt() == ""
        assert await user.do("use c1") == {"ok": True, "context": "c1"}
        assert user.executor.prompt() == " c1"
        assert await user.do("query hello   world") == {"ok": True, "context": "c1", "turn": 1, "created": 1}
        assert user.engine.store.conversations["c1"].turns[0].text == "hello   world", "verbatim"
        user.candidates("c1", 1, 3)
        assert (await user.do("choose 3"))["context"] == "c1"
        assert [turn["query"] for turn in (await user.do("view"))["turns"]] == ["hello   world"]
        assert (await user.do("view --all-candidates"))["context"] == "c1"
        assert (await user.do("query c2 hello"))["context"] == "c2", "the first word is a conversation"
        assert (await user.do("view c2"))["context"] == "c2"
        assert "no conversation 'c9'" in (await user.do("view c9"))["error"]
        with pytest.raises(UsageError, match="too few words: type query C TEXT"):
            user.type("query c1")
        assert (await user.do("ask what?"))["context"] == "c1"
        assert (await user.do("cancel"))["context"] == "c1"
        assert await user.do("use") == {"ok": True, "context": None}
        with pytest.raises(UsageError, match="too few words"):
            user.type("view")
        assert (await user.do("query hello world"))["error"] == "no conversation 'hello': use create hello"

    at_a_prompt(scenario)


def test_use_counts_for_the_lines_that_follow_at_once() -> None:
    async def scenario(user: Prompt) -> None:
        typed = ("create c1", "use c1", "query hello world", "create c2", "query c2 again")
        results = [user.type(text) for text in typed]
        while user.engine.waiting:
            user.engine.decide()
        answers = [await result for result in results]
        assert all(answer["ok"] for answer in answers)
        assert [answer["context"] for answer in answers] == ["c1", "c1", "c1", "c2", "c2"]
        refused = await user.do("use nowhere")
        assert not refused["ok"] and "no conversation 'nowhere'" in refused["error"]
        assert user.executor.prompt() == " c1", "as before"

    at_a_prompt(scenario)


def test_a_number_is_enough_when_one_conversation_waits_for_a_choice() -> None:
    async def scenario(user: Prompt) -> None:
        await two_conversations(user)
        with pytest.raises(UsageError, match="too few words: type choose C N"):
            user.type("choose 3")
        await user.do("query c1 why?")
        user.candidates("c1", 1, 3)
        assert user.type("choose 3") and user.engine.waiting[0][0] == IfCreatedAt(1, Choose("c1", 3, 1))
        await user.do("ask c2 who?")
        await user.do("query c1 again")
        user.candidates("c1", 2, 4)
        assert (await user.do("choose 4"))["context"] == "c1", "an `ask` waits for no choice"
        await user.do("cancel c2")
        await user.do("query c1 a")
        await user.do("query c2 b")
        with pytest.raises(UsageError, match="which conversation\\? c1, c2 await a choice: type choose C N"):
            user.type("choose 3")
        with pytest.raises(UsageError, match="too few words"):
            user.type("choose c1")

    at_a_prompt(scenario)


def test_the_log() -> None:
    async def scenario(user: Prompt) -> None:
        assert (await user.do("log")).shown == "nothing has been applied yet"
        await user.do("create c1")
        user.engine.apply(Query("c1", "why\nthen?"), 3)
        await user.do("choose c1 9")
        result = await user.do("log")
        assert result["kept"] == 1000 and [entry["position"] for entry in result["log"]] == [1, 2, 3]
        assert result["log"][1] == {
            "position": 2, "ballot": [4, 4, 2], "origin": 3, "incarnation": 1, "number": 2, "at": 1_700_000_000.0,
            "command": "query", "context": "c1", "turn": 1, "node": None, "text": "why\nthen?", "error": None,
        }
        assert "nothing to choose from" in result["log"][2]["error"]
        assert "<4,4,2>" in result.shown and "why then?" in result.shown and "refused" in result.shown
        assert [entry["position"] for entry in (await user.do("log 1"))["log"]] == [3]
        for wrong in ("log x", "log -1"):
            assert "number of operations; type log [N]" in (await user.do(wrong))["error"]

    at_a_prompt(scenario)


def test_explanations() -> None:
    async def scenario(user: Prompt) -> None:
        assert (await user.do("explain ON")) == {"ok": True, "explain": True}
        assert user.listening is not None
        user.listening([Sentence(Phase.PREPARE, ballot((4, 2), 17), "I campaign")])
        assert user.events[-1] == {
            "event": "explain", "phase": "prepare", "ballot": [4, 2, 17], "text": "I campaign"
        }
        assert user.shown[-1] == "· I campaign"
        assert (await user.do("explain off")) == {"ok": True, "explain": False} and user.listening is None
        assert "neither on nor off" in (await user.do("explain maybe"))["error"]
        await user.do("explain on")
        user.session.close()
        assert user.listening is None, "who has gone does not listen"

    at_a_prompt(scenario)


def test_who_comes_from_elsewhere_has_the_node_explain_at_its_own_prompt() -> None:
    async def scenario(user: Prompt) -> None:
        assert "in the background" in (await user.do("explain on pane"))["error"] and user.listening is None
        prompt = user.session
        for on in (True, False):
            user.open(at_prompt=lambda: [prompt])
            assert (await user.do(f"explain {'on' if on else 'off'} pane")) == {"ok": True, "explain": on}
            user.session.close()
            assert user.listening == (prompt._feed.on_explained if on else None), "who asked for it has gone"
            assert user.events[-1] == {"event": "explaining", "on": on}
        assert "`explain off` ends it" in user.shown[-2] and user.shown[-1] == "no more explanations"
        assert "explain on all is typed at the network" in (await user.do("explain on all"))["error"]

    at_a_prompt(scenario)


def test_quiet_and_verbose() -> None:
    async def elsewhere(user: Prompt) -> list[str]:
        """What is shown of activity on other nodes."""
        said, events = len(user.shown), len(user.events)
        name = f"x{user.engine.position}"
        user.engine.apply(Create(name), 3)
        user.engine.apply(Query(name, "why?"), 3)
        user.candidates(name, 1, 1, 2, 3, 4, 5)
        user.engine.apply(Choose(name, 9), 3)
        quiet = user.session.level is Level.QUIET
        assert len(user.events) - events == 0 if quiet else len(user.events) - events >= 7
        return user.shown[said:]

    async def scenario(user: Prompt) -> None:
        assert len(await elsewhere(user)) == 3
        assert await user.do("quiet") == {"ok": True, "level": "quiet"}
        assert await elsewhere(user) == []
        await user.do("create c1")
        await user.do("query c1 mine?")
        user.candidates("c1", 1, 1, 2, 3, 4, 5)
        assert len(user.shown) == 4 and "choose c1 N" in user.shown[-1], "the answers to one's own question"
        await user.do("verbose")
        loud = await elsewhere(user)
        assert len(loud) == 8 and "(2 of 5): answer of 2" in loud[3] and "choose from node 3 refused" in loud[-1]
        await user.do("normal")
        assert len(await elsewhere(user)) == 3

    at_a_prompt(scenario)


def test_where_nobody_sits_only_the_leader_is_told_until_somebody_asks_for_more() -> None:
    async def scenario(user: Prompt) -> None:
        user.session.level = Level.CALM
        user.session.on_leader(4)
        user.engine.apply(Create("x"), 3)
        user.engine.apply(Query("x", "why?"), 3)
        user.candidates("x", 1, 1, 2, 3, 4, 5)
        user.engine.apply(Choose("x", 3), 3)
        assert user.shown == ["leader: node 4"]
        await user.do("create c1")
        await user.do("query c1 mine?")
        user.candidates("c1", 1, 1, 2, 3, 4, 5)
        assert "choose c1 N" in user.shown[-1], "the answers to one's own question"
        await user.do("normal")
        user.engine.apply(Create("y"), 3)
        assert user.shown[-1] == "y: created"

    at_a_prompt(scenario)


def test_another_session_of_this_node_is_somebody_else() -> None:
    async def scenario(user: Prompt) -> None:
        user.engine.apply(Create("c1"), ME)
        assert user.shown == ["c1: created"]
        await user.do("create c2")
        assert user.shown == ["c1: created"], "the result says it"

    at_a_prompt(scenario)


def test_a_conversation_leaves_and_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    async def scenario(user: Prompt) -> None:
        await user.do("create c1")
        await user.do("query c1 why?")
        user.candidates("c1", 1, 1, 2)
        await user.do("choose c1 2")
        await user.do("query c1 and?")
        user.engine.apply(Candidate("c1", 2, 1, None, "timeout", "m", 1), 1)
        exported = await user.do("export c1 my talk.json")
        path = str(tmp_path / "my talk.json")
        assert exported == {"ok": True, "context": "c1", "file": path, "turns": 2, "stale": False}
        (tmp_path / "my talk.json").rename("talk.json")
        importing = user.type("import talk.json c3")
        viewing = user.type("query c3 next?")
        while not viewing.done():
            await user.step()
        assert await importing == {"ok": True, "context": "c3", "turns": 2, "given_up": [2]}
        assert (await viewing)["turn"] == 3, "what follows is about what the file brings"
        before, after = (await user.do("view c1"))["turns"], (await user.do("view c3"))["turns"]
        assert after[0] == before[0] and after[1] == {**before[1], "cancelled": True}
        restored = [event for event in user.events if event["event"] == "restored"]
        assert [(event["context"], event["turn"], event["origin"]) for event in restored] == [("c3", 2, ME)]
        taken = await user.do("import talk.json")
        assert not taken["ok"] and "conversation 'c1' already exists" in taken["error"]
        assert "cannot read" in (await user.do("import nothing.json"))["error"]
        (tmp_path / "talk.json").write_text(json.dumps({"format": "x"}))
        assert "not a conversation exported by" in (await user.do("import talk.json c4"))["error"]
        assert "no conversation 'c9'" in (await user.do("export c9 x.md"))["error"]

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

    async def scenario(user: Prompt) -> None:
        result = await user.do("import talk.json")
        assert not result["ok"] and "talk.json" in result["error"]
        assert user.engine.position == 0, "nothing was proposed"

    at_a_prompt(scenario)


def test_an_import_is_one_operation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    said = {str(node): {"text": f"answer of {node}", "model": "m", "seconds": 1} for node in range(1, 6)}
    turns = [{"query": "why?", "chosen": 4, "candidates": said}] * 9
    talk = {"format": "consensusllm-conversation", "version": 1, "context": "c1", "turns": turns}
    (tmp_path / "talk.json").write_text(json.dumps(talk))

    async def scenario(user: Prompt) -> None:
        assert (await user.do("import talk.json"))["turns"] == 9
        assert user.engine.position == 1
        assert (await user.do("import talk.json c2 --chosen"))["turns"] == 9
        (turn, *_) = (await user.do("view c2"))["turns"]
        assert list(turn["candidates"]) == ["4"] and turn["chosen"] == 4
        assert (await user.do("import talk.json c3 c4"))["kind"] == "usage"
        user.engine.apply(Create("c5"), 3)
        late = await user.do("import talk.json c5")
        assert late == {"ok": False, "context": "c5", "error": "conversation 'c5' already exists"}

    at_a_prompt(scenario)



def test_only_nodes_that_there_are_can_be_asked_again() -> None:
    async def scenario(user: Prompt) -> None:
        await user.do("create c1")
        await user.do("query c1 why?")
        result = await user.type("retry c1 7")
        assert not result["ok"] and "there is no node 7" in result["error"]
        assert (await user.do("retry c1 3"))["node"] == 3

    at_a_prompt(scenario)


def test_the_last_question_alone() -> None:
    async def scenario(user: Prompt) -> None:
        await user.do("create c1")
        assert await user.do("last c1") == {
            "ok": True, "context": "c1", "turn": 0, "last": None, "stale": False, "created": 1
        }
        assert (await user.do("last c1")).shown == "no questions yet"
        for question in ("why?", "and then?"):
            await user.do(f"query c1 {question}")
            user.candidates("c1", len(user.session.conversations["c1"].turns), 3)
            await user.do("choose c1 3")
        await user.do("use c1")
        answered = await user.do("last")
        assert (answered["turn"], answered["last"]) == (2, (await user.do("view"))["turns"][1])
        assert answered.shown == "2.  and then?\n    [3] model-3 1.2 s  chosen\n        answer of 3"
        user.engine.majority = False
        assert (await user.do("last")).shown.endswith("(possibly stale: no majority reachable)")
        assert (await user.do("last c9"))["error"] == "no conversation 'c9': viewall shows all"

    at_a_prompt(scenario)


def test_a_log_of_nothing_is_a_mistake() -> None:
    async def scenario(user: Prompt) -> None:
        assert "N must be at least 1" in (await user.type("log 0"))["error"]

    at_a_prompt(scenario)


def test_a_node_that_has_come_to_join_does_not_say_which_nodes_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """It knows only those of its file; where it is decided, the retry is right."""
    async def scenario(user: Prompt) -> None:
        monkeypatch.setattr(user.engine, "membership", lambda: None)
        user.open()
        await user.do("create c1")
        await user.do("query c1 why?")
        assert "there is no node 7" in (await user.type("retry c1 7"))["error"]
        joining = msgspec.structs.replace(user.engine.status(), node=9)
        monkeypatch.setattr(user.engine, "status", lambda: joining)
        assert (await user.do("retry c1 7"))["ok"]

    at_a_prompt(scenario)
