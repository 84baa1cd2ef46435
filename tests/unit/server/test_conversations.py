"""Commands about conversations as a whole, as the user of a prompt meets them."""

from __future__ import annotations

from pathlib import Path

import pytest

from kvstore.operations import (
    Answer,
    Candidate,
    ChooseAuto,
    Create,
    Delete,
    Fork,
    Query,
    Rename,
    Retry,
    SetAuto,
    SetSystem,
    SetTitle,
    Undelete,
)
from tests.unit.server.session_tools import Prompt, at_a_prompt


def test_another_name_and_a_fork() -> None:
    async def scenario(user: Prompt) -> None:
        await user.do("create c1")
        await user.do("query c1 why?")
        user.candidates("c1", 1, 1)
        assert "open question" in (await user.do("rename c1 c2"))["error"]
        await user.do("choose c1 1")
        renamed, forked = await user.do("rename c1 c2"), await user.do("fork c2 c3 1")
        assert renamed == {"ok": True, "context": "c1", "name": "c2"} and renamed.shown == "c1: called c2 from now on"
        assert forked == {"ok": True, "context": "c2", "name": "c3", "turns": 1}
        assert forked.shown == "c3: forked from c2, 1 question"
        views = [(await user.do(f"view {context}"))["turns"] for context in ("c2", "c3")]
        assert views[0] == views[1] and views[0][0]["chosen"] == 1
        refused = await user.do("fork c2 c3")
        assert refused["context"] == "c2" and refused["error"] == "conversation 'c3' already exists"
        assert "not the number of a question" in str(await user.do("fork c2 c4 all"))

    at_a_prompt(scenario)


def test_the_current_conversation_stays_the_current_one() -> None:
    async def scenario(user: Prompt) -> None:
        await user.do("create c1")
        await user.do("use c1")
        renaming, asking = user.type("rename c2"), user.type("query why?")
        while not asking.done():
            await user.step()
        assert (await renaming)["name"] == (await asking)["context"] == "c2"
        assert not (await user.do("rename c3"))["ok"] and user.executor.current.context == "c2"
        await user.do("cancel")
        assert (await user.do("fork c4 1"))["turns"] == 1 and (await user.do("fork c5"))["context"] == "c2"

    at_a_prompt(scenario)


@pytest.mark.parametrize(("typed", "current"), [
    (["rename c d", "use nowhere"], "c"), (["rename c d", "use d"], "d"), (["use nowhere", "use nobody"], "c"),
    (["rename c e", "use nowhere"], "e"), (["use d", "rename d e", "use nowhere"], "e"), (["use d", "rename c"], "d"),
])
def test_only_what_was_answered_well_is_gone_back_to(typed: list[str], current: str) -> None:
    """All lines are typed before the first is answered."""
    async def scenario(user: Prompt) -> None:
        for context in ("c", "d"):
            await user.do(f"create {context}")
        await user.do("use c")
        answers = [user.type(line) for line in typed]
        while user.engine.waiting:
            user.engine.decide()
        for answer in answers:
            await answer
        assert user.executor.current.context == current

    at_a_prompt(scenario)


def test_another_conversation_with_a_former_name_is_not_theirs() -> None:
    async def scenario(user: Prompt) -> None:
        await user.do("quiet")
        await user.do("create k")
        await user.do("ask k why?")
        user.engine.apply(Answer("k", 1, 4, "so", None), 4)
        await user.do("regenerate k")
        user.events.clear()
        for operation in (Rename("k", "l"), Create("k"), Query("k", "what?"), Candidate("k", 1, 4, "that", None)):
            user.engine.apply(operation, 3)
        assert user.events == []

    at_a_prompt(scenario)


def test_others_are_told() -> None:
    async def scenario(user: Prompt) -> None:
        for operation in (Create("c1"), Rename("c1", "c2"), Fork("c3", "c2")):
            user.engine.apply(operation, 3)
        assert user.events[-2:] == [
            {"event": "renamed", "context": "c1", "name": "c2", "origin": 3},
            {"event": "forked", "context": "c3", "source": "c2", "turn": None, "origin": 3},
        ]
        assert user.shown[-2:] == [
            "c1: called c2 from now on (renamed at node 3)", "c3: forked from c2 at node 3, 0 questions"
        ]

    at_a_prompt(scenario)


def test_a_system_prompt(tmp_path: Path) -> None:
    async def scenario(user: Prompt) -> None:
        await user.do("create c1")
        none = await user.do("system c1")
        assert none == {"ok": True, "context": "c1", "system": None, "stale": False}
        assert none.shown == "c1: LLMs are told: what each node tells its own"
        await user.do("use c1")
        setting, asking = user.type("system Answer in  French."), user.type("query why?")
        while not asking.done():
            await user.step()
        told = await setting
        assert told["system"] == "Answer in  French." and (await asking)["ok"]
        assert told.shown == "c1: LLMs are told:\n    Answer in  French."
        assert (await user.do("system"))["system"] == (await user.do("view"))["system"] == "Answer in  French."
        user.engine.apply(SetTitle("c1", "Why"), 3)
        await user.do("cancel")
        exported = tmp_path / "c1.json"
        await user.do(f"export c1 {exported}")
        importing = user.type(f"import {exported} c2")
        while not importing.done():
            await user.step()
        seen = await user.do("view c2")
        assert (seen["title"], seen["system"]) == ("Why", "Answer in  French.")
        assert "LLMs are told: Answer in  French." in seen.shown and "Why" in seen.shown
        await user.do(f"export c1 {tmp_path / 'c1.md'}")
        assert "**Why**\n\n> Answer in  French.\n\n## 1. why?" in (tmp_path / "c1.md").read_text()
        assert (await user.do("system c1 -"))["system"] is None and "system" not in await user.do("view c1")
        await user.do("use")
        assert "no conversation 'c9'" in (await user.do("system c9"))["error"]
        assert "no conversation 'c9'" in (await user.do("system c9 x"))["error"]
        user.engine.majority = False
        assert "possibly stale" in (await user.do("system c2")).shown
        user.engine.apply(SetSystem("c1", "Be\nbrief."), 3)
        assert user.events[-1] == {"event": "system", "context": "c1", "text": "Be\nbrief.", "origin": 3}
        assert user.shown[-1] == "c1: LLMs are told (node 3): Be brief."

    at_a_prompt(scenario)


def test_the_nodes_choose_by_themselves() -> None:
    async def scenario(user: Prompt) -> None:
        await user.do("create c1")
        off = await user.do("auto c1")
        assert off == {"ok": True, "context": "c1", "auto": False, "stale": False}
        assert off.shown == "c1: a user chooses" and "auto" not in await user.do("view c1")
        await user.do("use c1")
        for typed in ("auto on", "auto ON c1", "auto c1 on"):
            on = await user.do(typed)
            assert on == {"ok": True, "context": "c1", "auto": True, "stale": False}
        assert on.shown == "c1: the nodes choose by themselves when all answers are in"
        seen = await user.do("view")
        assert seen["auto"] is True and "choose by themselves (auto)" in seen.shown
        assert (await user.do("viewall"))["conversations"][0]["auto"] is True and (await user.do("auto"))["auto"]
        await user.do("query why?")
        for node in (1, 3):
            user.engine.apply(Candidate("c1", 1, node, f"of {node}", None), node)
        user.engine.apply(ChooseAuto("c1", 1, 1), 4)
        assert user.events[-1] == {"event": "poll", "context": "c1", "turn": 1, "origin": 4}
        assert user.shown[-1] == "c1: the nodes rank the answers"
        user.engine.apply(Retry("c1"), 4)
        user.engine.apply(Candidate("c1", 1, 3, "alone", None, round=1), 3)
        user.engine.apply(ChooseAuto("c1", 1, 2), 4)
        assert user.events[-1] == {"event": "chosen", "context": "c1", "turn": 1, "origin": 4, "node": 3}
        assert user.shown[-1] == "c1: node 3's answer chosen"
        user.engine.apply(SetAuto("c1", False), 3)
        assert user.events[-1] == {"event": "auto", "context": "c1", "on": False, "origin": 3}
        assert user.shown[-1] == "c1: a user chooses from now on (node 3)"
        await user.do("use")
        assert "'maybe' is neither on nor off" in (await user.do("auto c1 maybe"))["error"]
        for unknown in ("auto c9", "auto c9 on"):
            assert "no conversation 'c9'" in (await user.do(unknown))["error"]
        user.engine.majority = False
        assert "possibly stale" in (await user.do("auto c1")).shown

    at_a_prompt(scenario)


def test_a_deletion_and_its_undoing() -> None:
    async def scenario(user: Prompt) -> None:
        await user.do("create c1")
        await user.do("query c1 why?")
        deleted = await user.do("delete c1")
        assert deleted == {"ok": True, "context": "c1", "kept": True}
        assert deleted.shown == "c1: deleted (undelete c1 brings it back)"
        await user.do("create c1")
        assert "rename c1 NEW first" in (await user.do("undelete c1"))["error"]
        await user.do("rename c1 c2")
        back = await user.do("undelete c1")
        assert back == {"ok": True, "context": "c1", "turns": 1} and back.shown == "c1: brought back, 1 question"
        assert [one["context"] for one in (await user.do("viewall"))["conversations"]] == ["c1", "c2"]
        user.engine.apply(Delete("c1"), 3)
        user.engine.apply(Undelete("c1"), 3)
        assert user.events[-1] == {"event": "undeleted", "context": "c1", "origin": 3}
        assert user.shown[-2:] == ["c1: deleted at node 3", "c1: brought back at node 3"]

    at_a_prompt(scenario)


def test_a_title() -> None:
    async def scenario(user: Prompt) -> None:
        await user.do("create c1")
        await user.do("create c2")
        assert "last question" in (await user.do("viewall")).shown
        given = await user.do("title c1 Why majorities?")
        assert given == {"ok": True, "context": "c1", "title": "Why majorities?", "stale": False}
        assert given.shown == (await user.do("title c1")).shown == "c1: Why majorities?"
        listed = await user.do("viewall")
        assert [one.get("title") for one in listed["conversations"]] == ["Why majorities?", None]
        assert "title or last" in listed.shown and "majorities?" in listed.shown
        assert "a title is one line" in str(await user.do('{"command":"title","context":"c1","text":"a\\nb"}'))
        assert (await user.do("title c1 -")).shown == "c1: no title"
        for title in ("Why?", ""):
            user.engine.apply(SetTitle("c2", title), 3)
        assert [event["title"] for event in user.events[-2:]] == ["Why?", ""]
        assert user.shown[-2:] == ["c2: titled Why? (node 3)", "c2: without a title (node 3)"]

    at_a_prompt(scenario)
