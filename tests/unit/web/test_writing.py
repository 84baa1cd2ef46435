"""Answers reach clients as they are written; what does not stand in the end is never passed over in silence."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kvstore.operations import Answer, Candidate, Choose, Create, Query
from llm.provider import Progress, Prompt, ProviderError, Reply
from server import own_drafts
from server.draft_messages import Piece
from tests.unit.llm.llm_tools import until
from tests.unit.server.session_tools import ME
from tests.unit.web.web_tools import KEY, At, serving

CHAT, RESPONSES = "/v1/chat/completions", "/v1/responses"


class WritingLlm:
    """Writes what the test says, when it says so."""

    name, model, parallel = "scripted", "m", 9

    def __init__(self) -> None:
        self.report: Progress | None = None
        self._done: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

    async def ask(self, prompt: Prompt, on_progress: Progress | None = None) -> Reply:
        self.report = on_progress
        return await self._done

    async def writes(self, text: str) -> None:
        await until(lambda: self.report is not None, 5)
        assert self.report is not None
        self.report(len(text), lambda: text)

    def ends(self, text: str, *, complete: bool = True) -> None:
        self._done.set_result(Reply(text, "m", 0.1, complete=complete))

    def fails(self) -> None:
        self._done.set_exception(ProviderError("it is out of words"))

    async def close(self) -> None:
        """Nothing is open."""


class Stream:
    """One client's."""

    def __init__(self, lines: AsyncIterator[str]) -> None:
        self._lines = lines
        self.texts: dict[int, str] = {}
        self.ends: dict[int, Any] = {}
        self.records: list[dict[str, Any]] = []

    async def next(self) -> dict[str, Any] | None:
        """None at the end."""
        async for line in self._lines:
            if line.startswith("data: {"):
                record: dict[str, Any] = json.loads(line[6:])
                self.records.append(record)
                for choice in record.get("choices", ()):
                    at = choice["index"]
                    self.texts[at] = self.texts.get(at, "") + choice["delta"].get("content", "")
                    self.ends[at] = choice["finish_reason"] or self.ends.get(at)
                if record.get("type") == "response.output_text.delta":
                    self.texts[0] = self.texts.get(0, "") + record["delta"]
                return record
        return None

    async def until(self, texts: dict[int, str]) -> None:
        while self.texts != texts:
            assert await self.next() is not None, (self.texts, texts)

    async def rest(self) -> list[dict[str, Any]]:
        """All records to the end."""
        while await self.next() is not None:
            pass
        return self.records


Scenario = Callable[[At, WritingLlm], Awaitable[None]]


def run(folder: Path, scenario: Scenario) -> None:
    async def with_llm(at: At) -> None:
        llm = WritingLlm()
        at.node.llm = llm  # type: ignore[assignment]
        at.node.engine.majority = True
        await scenario(at, llm)

    serving(folder, with_llm)


@asynccontextmanager
async def streaming(at: At, path: str = CHAT, **wanted: Any) -> AsyncIterator[Stream]:
    body = {"model": f"node-{ME}", "stream": True, "input" if path == RESPONSES else "messages": [
        {"role": "user", "content": "Why?"}], **wanted}
    head = {"Authorization": f"Bearer {KEY}"}
    async with at.client.stream("POST", path, json=body, headers=head) as response:
        assert response.status_code == 200
        yield Stream(response.aiter_lines())


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_drafts, "EVERY_S", 0.005)


@pytest.mark.parametrize("path", [CHAT, RESPONSES])
def test_one_nodes_answer_comes_as_it_is_written(tmp_path: Path, path: str) -> None:
    async def scenario(at: At, llm: WritingLlm) -> None:
        async with streaming(at, path) as stream:
            await llm.writes("Because")
            await stream.until({0: "Because"})
            await llm.writes("Because of")
            await stream.until({0: "Because of"})
            (conversation,) = at.node.engine.store.conversations.values()
            assert not conversation.turns[0].candidates, "nothing of it was decided yet"
            llm.ends("Because of it.")
            records = await stream.rest()
        assert stream.texts == {0: "Because of it."}
        if path == CHAT:
            assert stream.ends == {0: "stop"} and records[-1]["consensus"]["chosen"] == ME
        else:
            kinds = [record["type"].removeprefix("response.") for record in records]
            assert kinds[:4] == ["created", "in_progress", "output_item.added", "content_part.added"]
            assert kinds[-4:] == ["output_text.done", "content_part.done", "output_item.done", "completed"]
            assert set(kinds[4:-4]) == {"output_text.delta"} and kinds.count("output_text.delta") == 3
            assert [record["sequence_number"] for record in records] == list(range(len(records)))

    run(tmp_path, scenario)


@pytest.mark.parametrize("path", [CHAT, RESPONSES])
@pytest.mark.parametrize("how", ["other", "fails", "another node"])
def test_what_does_not_stand_is_said_to_be_wrong(tmp_path: Path, path: str, how: str) -> None:
    async def scenario(at: At, llm: WritingLlm) -> None:
        async with streaming(at, path) as stream:
            await llm.writes("Because")
            await stream.until({0: "Because"})
            (context,) = at.node.engine.store.conversations
            if how == "fails":
                llm.fails()
            elif how == "other":
                llm.ends("No.")
            else:
                at.node.engine.apply(Candidate(context, 1, 4, "I know.", None, "m"), 4)
                at.node.engine.apply(Choose(context, 4, 1), 4)
            last = (await stream.rest())[-1]
        words = {
            "other": "began again", "fails": "it is out of words", "another node": "node 4 was chosen",
        }[how]
        if path == RESPONSES and how == "fails":
            assert last["type"] == "response.failed" and words in str(last["response"]["error"])
        else:
            error = last.get("error", last)
            assert words in error["message"] and "choices" not in last
        assert stream.texts == {0: "Because"} and not any(stream.ends.values())

    run(tmp_path, scenario)


@pytest.mark.parametrize("path", [CHAT, RESPONSES])
def test_an_answer_that_is_shorter_than_what_was_written_is_said_to_be_cut(tmp_path: Path, path: str) -> None:
    async def scenario(at: At, llm: WritingLlm) -> None:
        async with streaming(at, path) as stream:
            await llm.writes("So it is. Becau")
            await stream.until({0: "So it is. Becau"})
            llm.ends("So it is.")
            records = await stream.rest()
        if path == CHAT:
            last = records[-1]["choices"][0]
            assert (last["finish_reason"], last["kept"]) == ("length", 9)
        else:
            done = next(record for record in records if record["type"] == "response.output_text.done")
            assert done["text"] == "So it is." and records[-1]["type"] == "response.incomplete"
            assert records[-1]["response"]["incomplete_details"] == {"reason": "max_output_tokens"}

    run(tmp_path, scenario)


def test_candidates_come_by_their_index_as_they_are_written(tmp_path: Path) -> None:
    async def scenario(at: At, llm: WritingLlm) -> None:
        def peer(node: int, offset: int, text: str) -> None:
            at.node.listener.on_hint(node, msgspec.msgpack.encode(Piece(context, 1, node, offset, text)))

        async with streaming(at, model="consensus", n=3) as stream:
            await until(lambda: bool(at.node.engine.store.conversations), 5)
            (context,) = at.node.engine.store.conversations
            await llm.writes("I, 2")
            await stream.until({0: "I, 2"})
            peer(4, 0, "I, 4")
            await stream.until({0: "I, 2", 1: "I, 4"})
            peer(4, 4, " am")
            peer(5, 0, "I, 5")
            peer(1, 0, "I, 1")
            await stream.until({0: "I, 2", 1: "I, 4 am", 2: "I, 5"})
            at.node.engine.apply(Candidate(context, 1, 4, "I, 4 am it", None, "m"), 4)
            at.node.engine.apply(Candidate(context, 1, 5, None, "no key", "m"), 5)
            at.node.engine.apply(Candidate(context, 1, 1, "I, 1", None, "m"), 1)
            await stream.until({0: "I, 2", 1: "I, 4 am it", 2: "I, 5"})
            assert any(hint for node, hint in at.node.engine.hints if node == 4), "others are asked for theirs"
            at.node.engine.apply(Choose(context, 1, 1), 4)
            records = await stream.rest()
        assert stream.ends == {0: "error", 1: "stop", 2: "error"}
        errors = {choice["index"]: choice["error"]["message"] for record in records for choice in record["choices"]
                  if "error" in choice}
        assert "no key" in errors[2] and "node 1 was chosen" in errors[0]
        roles = [choice for record in records for choice in record["choices"] if "role" in choice["delta"]]
        assert sorted(choice["index"] for choice in roles) == [0, 1, 2], "each choice has its role once"

    run(tmp_path, scenario)


def test_what_the_cluster_will_choose_is_not_shown_before(tmp_path: Path) -> None:
    async def scenario(at: At, llm: WritingLlm) -> None:
        async with streaming(at, model="consensus") as stream:
            await llm.writes("Because")
            (context,) = at.node.engine.store.conversations
            at.node.engine.apply(Candidate(context, 1, 4, "I know.", None, "m"), 4)
            at.node.engine.apply(Choose(context, 4, 1), 4)
            await stream.rest()
        assert stream.texts == {0: "I know."} and stream.ends == {0: "stop"}

    run(tmp_path, scenario)


def test_the_leaders_answer_comes_from_whoever_writes_it(tmp_path: Path) -> None:
    """One that failed before it wrote anything leaves the place to the next."""

    async def scenario(at: At, llm: WritingLlm) -> None:
        async with streaming(at, model="ask") as stream:
            await until(lambda: bool(at.node.engine.store.conversations), 5)
            (context,) = at.node.engine.store.conversations
            at.node.listener.on_hint(4, msgspec.msgpack.encode(Piece(context, 1, 9, 0, "")))
            at.node.engine.apply(Answer(context, 1, 4, None, "no key", "m"), 4)
            at.node.listener.on_hint(1, msgspec.msgpack.encode(Piece(context, 1, 9, 0, "Because")))
            await stream.until({0: "Because"})
            at.node.engine.apply(Answer(context, 1, 1, "Because!", None, "m"), 1)
            await stream.rest()
        assert stream.texts == {0: "Because!"} and stream.ends == {0: "stop"}

    run(tmp_path, scenario)


def test_event_streams_bring_it_to_those_who_ask_for_it(tmp_path: Path) -> None:
    async def scenario(at: At, llm: WritingLlm) -> None:
        for odd in ("writing=a%20b", "&".join(f"writing=c{number}" for number in range(17))):
            assert (await at.get(f"/api/events?{odd}")).status_code == 400
        at.node.engine.apply(Create("c"), 4)
        at.node.engine.apply(Query("c", "Why?"), 4)
        head = {"Authorization": f"Bearer {KEY}"}
        async with (
            at.client.stream("GET", "/api/events", headers=head) as plain,
            at.client.stream("GET", "/api/events?writing=c&writing=d", headers=head) as one,
        ):
            lines = one.aiter_lines()

            async def written(lines: AsyncIterator[str] = lines) -> list[Any]:
                async for line in lines:
                    if line.startswith("data: ") and '"writing"' in line:
                        return [json.loads(line[6:])[name] for name in ("turn", "node", "offset", "text")]
                raise AssertionError("the stream has ended")

            await llm.writes("Beca\U0001f600")
            while (first := await written())[3] != "Beca\U0001f600":
                assert first == [1, ME, 0, ""]
            await llm.writes("Beca\U0001f600use")
            assert await written() == [1, ME, 5, "use"]
            async with at.client.stream("GET", "/api/events?writing=c", headers=head) as late:
                assert await written(late.aiter_lines()) == [1, ME, 0, "Beca\U0001f600use"], "all of it at once"
            await llm.writes("No")
            assert await written() == [1, ME, 0, "No"]
            llm.ends("No.")
            async for line in plain.aiter_lines():
                assert "writing" not in line, "others are not disturbed"
                if "candidate" in line:
                    break
        numbers = itertools.count()

        def is_noticed() -> bool:
            """A stream that is gone is when there is something for it."""
            at.node.engine.apply(Create(f"e{next(numbers)}"), 4)
            return not at.node.service.drafts._watched

        await until(is_noticed, 5)

    run(tmp_path, scenario)
