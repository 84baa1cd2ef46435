"""Commands about conversations as a whole, as the user of a prompt meets them."""

from __future__ import annotations

from kvstore.operations import Create, Fork, Rename
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
