"""`members` at a node's prompt."""

from __future__ import annotations

import asyncio

import pytest

from engine.interface import MemberChange
from tests.unit.server.session_tools import MEMBERS, Prompt


def test_it_shows_who_belongs_to_the_cluster() -> None:
    async def scenario() -> None:
        shown = await Prompt().do("members")
        assert shown["cluster"] == "00c1" and shown["number"] == 3
        assert [member["node"] for member in shown["members"]] == sorted(MEMBERS)
        assert shown.shown == "cluster 00c1, configuration 3: nodes 1, 2, 3, 4, 5"

    asyncio.run(scenario())


@pytest.mark.parametrize(("line", "error"), [
    ("members add 3", "node 3 is a member already"), ("members remove 9", "node 9 is no member"),
    ("members replace 9", "node 9 is no member"),
])
def test_what_makes_no_sense_is_refused_at_once(line: str, error: str) -> None:
    async def scenario() -> None:
        assert error in (await Prompt().do(line))["error"]

    asyncio.run(scenario())


def test_a_change_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        prompt = Prompt()
        asked: list[tuple[str, int]] = []
        changing: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def change_members(change: MemberChange, node: int) -> asyncio.Future[None]:
            asked.append((change, node))
            return changing

        monkeypatch.setattr(prompt.engine, "change_members", change_members)
        typed = prompt.type("members remove 3")
        await asyncio.sleep(0.01)
        assert asked == [("remove", 3)] and not typed.done()
        changing.set_result(None)
        assert (await typed)["ok"]

    asyncio.run(scenario())
