"""Search finds what is in the store now, however it came there, and nothing else; its work is bounded."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from kvstore.conversation import PART_BYTES
from kvstore.operations import (
    Candidate,
    Choose,
    Create,
    Delete,
    Fork,
    Query,
    Rename,
    Retry,
    SetTitle,
    StoreOperation,
    Undelete,
)
from kvstore.payloads import encode
from kvstore.store import Store
from server import search
from server.search import SearchError, SearchIndex
from tests.unit.server.session_tools import Prompt, at_a_prompt
from tests.unit.web.web_tools import At, serving


class Searched:
    """A store, and the index beside it."""

    def __init__(self) -> None:
        self.store = Store()
        self.position = 0
        self.index = SearchIndex(lambda: self.store.conversations)

    def __call__(self, *operations: StoreOperation) -> None:
        for operation in operations:
            self.position += 1
            self.index.on_applied(self.store.apply(self.position, encode(operation)))

    async def places(self, words: str) -> set[tuple[str, int, int | None]]:
        found, _ = await self.index.find(words, 100)
        return {(one.context, one.turn, one.node) for one in found}


def searching(scenario: Callable[[Searched], Awaitable[None]]) -> None:
    async def run() -> None:
        searched = Searched()
        try:
            await scenario(searched)
        finally:
            await searched.index.close()

    asyncio.run(run())


def test_what_changes_is_found_as_it_is_now() -> None:
    async def scenario(at: Searched) -> None:
        at(Create("c"), Query("c", "Why a quorum?"), Create("d"), Query("d", "How?"))
        assert await at.places("QUORUM") == {("c", 1, None)}
        at(Candidate("c", 1, 2, "Majorities meet.", None), Candidate("d", 1, 1, "So: majorities meet.", None))
        assert await at.places("majorit meet") == {("c", 1, 2), ("d", 1, 1)}, "beginnings of words, all of them"
        assert await at.places("majorities quorum") == set(), "in one text"
        at(Retry("c"))
        assert await at.places("majorities") == {("d", 1, 1)}
        at(Choose("d", 1), Fork("e", "d"), Rename("d", "f"), SetTitle("f", "Grüße"))
        assert await at.places("majorities") == {("e", 1, 1), ("f", 1, 1)} and await at.places("grusse") == set()
        assert await at.places("gruße") == await at.places("f") == {("f", 0, None)}, "titles and names, without marks"
        at(Delete("f"))
        assert await at.places("majorities") == {("e", 1, 1)}
        at(Undelete("f"))
        assert await at.places("majorities") == {("e", 1, 1), ("f", 1, 1)}
        other = Store()
        other.load(at.store.snapshot())
        at(Delete("e"), Create("g"))
        at.store = other
        at.index.on_installed()
        assert await at.places("majorities") == {("e", 1, 1), ("f", 1, 1)} and await at.places("g") == {("f", 0, None)}

    searching(scenario)


def test_the_best_place_of_each_question_comes_first_with_the_words_marked() -> None:
    async def scenario(at: Searched) -> None:
        at(Create("c"), Query("c", "A long question about many things, and also about paxos, among others."))
        at(Candidate("c", 1, 3, "Paxos \ue000x\ue001 is paxos.", None), Create("d"), Query("d", "paxos"))
        found, more = await at.index.find("paxos", 2)
        assert [(one.context, one.turn, one.node) for one in found] == [("d", 1, None), ("c", 1, 3)] and not more
        assert found[1].parts == ["", "Paxos", " \ufffdx\ufffd is ", "paxos", "."]
        found, more = await at.index.find("paxos", 1)
        assert len(found) == 1 and more

    searching(scenario)


@pytest.mark.parametrize("text", ["cafés", "cafe\u0301s"])
def test_accents_may_be_characters_of_their_own(text: str) -> None:
    async def scenario(at: Searched) -> None:
        at(Create("c"), Query("c", text))
        for words in ("cafés", "cafe\u0301s", "cafes"):
            assert await at.places(words) == {("c", 1, None)}

    searching(scenario)


@pytest.mark.parametrize("words", ["", "  ", "?!", "w " * 33])
def test_what_cannot_be_looked_for_is_said(words: str) -> None:
    with pytest.raises(SearchError, match="words"):
        search.expression(words)


@pytest.mark.parametrize(
    "words", ['"', 'a" OR "b', "NEAR(a b)", "a* - b:c ^d", "text : a", "会話", "x'; DROP TABLE texts; --"]
)
def test_words_are_only_words(words: str) -> None:
    async def scenario(at: Searched) -> None:
        at(Create("c"), Query("c", "a b near c d or drop table texts x 会話 text"))
        try:
            assert await at.places(words) == {("c", 1, None)}
        except SearchError:
            assert words == '"'

    searching(scenario)


def test_the_oldest_are_left_out_where_there_is_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "MAX_INDEXED_BYTES", 10 + 2 * PART_BYTES)
    monkeypatch.setattr(search, "_AT_ONCE", 1)

    async def scenario(at: Searched) -> None:
        for context in "abc":
            at(Create(context), Query(context, "why?"))
        assert {place[0] for place in await at.places("why")} == {"b", "c"} and at.index.left_out == 1
        at(Create("e"), Query("e", "why?"))
        assert {place[0] for place in await at.places("why")} == {"c", "e"} and at.index.left_out == 2
        at(Delete("e"), Delete("c"))
        assert at.index.left_out == 2, "those that were not searched, and none that is gone"
        at(Create("f"))
        assert at.index.left_out == 2, "not what has come since"
        assert {place[0] for place in await at.places("why")} == {"a", "b"} and at.index.left_out == 0

    searching(scenario)


def test_a_search_that_takes_too_long_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "MAX_SECONDS", -1.0)
    monkeypatch.setattr(search, "_STEPS", 1)

    async def scenario(at: Searched) -> None:
        at(Create("c"), Query("c", "why?"))
        with pytest.raises(SearchError, match="more specific words"):
            await at.places("why")

    searching(scenario)


def test_at_a_prompt() -> None:
    async def scenario(user: Prompt) -> None:
        assert "no index" in (await user.do("search why"))["error"]
        index = SearchIndex(lambda: user.engine.store.conversations)
        user.open(search_index=index)
        await user.do("create c1")
        await user.do("query c1 why\tnot?")
        found = await user.do("search WHY")
        assert found == {
            "ok": True, "stale": False, "more": False,
            "found": [{"context": "c1", "turn": 1, "node": None, "excerpt": ["", "why", "\tnot?"]}],
        }
        assert found.shown == "c1  question 1\n    «why» not?"
        assert (await user.do("search x")).shown == "nothing found"
        assert "letters or digits" in (await user.do("search ?"))["error"]
        user.engine.majority = False
        assert (await user.do("search c1"))["stale"]
        await index.close()

    at_a_prompt(scenario)


def test_over_http(tmp_path: Path) -> None:
    async def scenario(at: At) -> None:
        await at.post("/api/create", {"context": "c1"})
        await at.post("/api/query", {"context": "c1", "text": "why?"})
        found = (await at.get("/api/search?words=why&limit=5")).json()["found"]
        assert [(one["context"], one["turn"]) for one in found] == [("c1", 1)]
        assert (await at.get("/api/search?words=%3F")).status_code == 409
        assert (await at.get("/api/search?words=x&limit=101")).status_code == 400

    serving(tmp_path, scenario)
