"""Commands answer in the order typed, each exactly once."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from typing import Any

import pytest

from console.command_pipeline import MAX_PENDING, CommandPipeline
from console.executor import Earlier, Executor, Sequential
from console.layout import Layout
from console.lines import Line
from console.usage import Command, Result, Usage, by_name


class Manual:
    """An executor whose commands are done when the test says so."""

    commands: Mapping[str, Usage] = by_name(
        [
            Usage("do", "X", "is done when the test says so", least=1, most=1),
            Usage("after", "X", "begins after the earlier ones", least=1, most=1),
            Usage("crash", "", "is a bug"),
            Usage("status", "", "answers at once", at_once=True),
        ]
    )

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.results: dict[str, asyncio.Future[Result]] = {}
        self.changed = asyncio.Event()

    def submit(
        self, command: Command, earlier: Earlier
    ) -> asyncio.Future[Result] | Coroutine[Any, Any, Result]:
        if command.name == "crash":
            raise ValueError("oh")
        return self._carry_out(command, earlier) if command.name == "after" else self._begin(command)

    def finish(self, name: str) -> None:
        self.results[name].set_result({"ok": True})

    async def until_begun(self, name: str) -> None:
        async with asyncio.timeout(5):
            while name not in self.results:
                self.changed.clear()
                await self.changed.wait()

    def fill(self, usage: Usage, rest: str) -> str:
        return rest

    def waiting_for(self, command: Command) -> str:
        return f"no word on {command.args[0]}"

    def complete(self, words: Sequence[str]) -> Iterable[str]:
        return ()

    def show(self, command: Command, result: Result, paper: Layout) -> str:
        return "ok"

    def _begin(self, command: Command) -> asyncio.Future[Result]:
        name = command.args[0] if command.args else command.name
        self.begun.append(name)
        self.changed.set()
        self.results[name] = asyncio.get_running_loop().create_future()
        if command.name == "status":
            self.finish(name)
        return self.results[name]

    async def _carry_out(self, command: Command, earlier: Earlier) -> Result:
        await earlier()
        return await self._begin(command)


class Notes:
    """A clerk that remembers."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, str, str | None]] = []
        self.waits: list[tuple[int, str]] = []
        self.changed = asyncio.Event()

    async def answer(self, command: Command, result: Result) -> None:
        self.answers.append((command.line, command.name, result.get("error")))
        self.changed.set()

    def waiting(self, command: Command, reason: str) -> None:
        self.waits.append((command.line, reason))
        self.changed.set()

    @property
    def lines(self) -> list[int]:
        return [line for line, _, _ in self.answers]

    async def until(self, lines: int = 0, waits: int = 0) -> None:
        async with asyncio.timeout(5):
            while len(self.answers) < lines or len(self.waits) < waits:
                self.changed.clear()
                await self.changed.wait()


def make(executor: Executor, waiting_after: float = 60) -> tuple[CommandPipeline, Notes]:
    notes = Notes()
    return CommandPipeline(executor, notes, waiting_after), notes


async def type_lines(desk: CommandPipeline, *texts: str, first: int = 1) -> None:
    for number, text in enumerate(texts, first):
        await desk.take(Line(number, text))


def test_answers_come_in_the_order_typed() -> None:
    async def scenario() -> None:
        executor = Manual()
        desk, notes = make(executor)
        await type_lines(desk, "do a", "", "# comment", "nonsense", "do b", "status", "help")
        assert executor.begun == ["a", "b", "status"], "all of them begin at once"
        assert notes.lines == [6, 7], "status and help do not wait"
        executor.finish("b")
        await asyncio.sleep(0)
        assert notes.lines == [6, 7]
        executor.finish("a")
        await desk.finish(None)
        assert notes.lines == [6, 7, 1, 4, 5]
        await desk.close()

    asyncio.run(scenario())


def test_what_awaits_earlier_begins_after_their_answers() -> None:
    async def scenario() -> None:
        executor = Manual()
        desk, notes = make(executor)
        await type_lines(desk, "do a", "after b", "do c", "after d")
        assert executor.begun == ["a", "c"]
        executor.finish("a")
        await notes.until(lines=1)
        await executor.until_begun("b")
        executor.finish("c")
        await asyncio.sleep(0)
        assert "d" not in executor.begun, "b has not answered yet"
        executor.finish("b")
        await notes.until(lines=3)
        await executor.until_begun("d")
        executor.finish("d")
        await desk.finish(None)
        assert notes.lines == [1, 2, 3, 4]
        await desk.close()

    asyncio.run(scenario())


def test_waiting_is_said_once_and_the_result_follows() -> None:
    async def scenario() -> None:
        executor = Manual()
        desk, notes = make(executor, waiting_after=0.01)
        await type_lines(desk, "do a", "do b")
        await notes.until(waits=2)
        assert notes.waits == [(1, "no word on a"), (2, "no word on b")]
        executor.finish("a")
        executor.finish("b")
        await desk.finish(None)
        assert notes.lines == [1, 2] and len(notes.waits) == 2
        await desk.close()

    asyncio.run(scenario())


def test_leaving_is_bounded_and_every_command_gets_its_answer() -> None:
    async def scenario() -> None:
        executor = Manual()
        desk, notes = make(executor)
        await type_lines(desk, "do a", "after b", "do c")
        executor.finish("c")
        assert not await desk.take(Line(4, "EXIT"))
        await desk.finish(0.01)
        failed = [(line, bool(error)) for line, _, error in notes.answers]
        assert failed == [(1, True), (2, True), (3, False), (4, False)]
        assert "may still take effect" in (notes.answers[0][2] or "")
        assert executor.begun == ["a", "c"], "nothing begins after giving up"
        await desk.close()

    asyncio.run(scenario())


def test_a_bug_in_a_command_is_its_result() -> None:
    async def scenario() -> None:
        executor = Manual()
        desk, notes = make(executor)
        await type_lines(desk, "crash", "do a")
        executor.results["a"].set_exception(RuntimeError("bad"))
        await desk.finish(None)
        assert [error for _, _, error in notes.answers] == [
            "internal error: ValueError: oh", "internal error: RuntimeError: bad"
        ]
        await desk.close()

    asyncio.run(scenario())


def test_no_line_is_taken_while_too_much_is_under_way() -> None:
    async def scenario() -> None:
        executor = Manual()
        desk, notes = make(executor)
        taking = asyncio.ensure_future(type_lines(desk, *(f"do {number}" for number in range(MAX_PENDING + 10))))
        await executor.until_begun(str(MAX_PENDING - 1))
        for _ in range(10):
            await asyncio.sleep(0)
        assert len(executor.begun) == MAX_PENDING and not taking.done()
        for number in range(MAX_PENDING + 10):
            await executor.until_begun(str(number))
            executor.finish(str(number))
        await taking
        await desk.finish(None)
        assert notes.lines == list(range(1, MAX_PENDING + 11))
        await desk.close()

    asyncio.run(scenario())


def test_closing_cancels_what_is_under_way() -> None:
    async def scenario() -> None:
        executor = Manual()
        desk, notes = make(executor)
        await type_lines(desk, "do a")
        await desk.close()
        assert notes.answers == []

    asyncio.run(scenario())


def test_sequential_runs_one_at_a_time_but_status_at_once() -> None:
    async def scenario() -> None:
        running: list[str] = []
        go = asyncio.Event()

        async def execute(name: str, args: list[str]) -> Result:
            running.append(name)
            if name == "slow":
                await go.wait()
                return {"error": "too slow"}
            return {"text": "done"}

        usages = [Usage("slow", "", ""), Usage("fast", "", ""), Usage("status", "", "", at_once=True)]
        desk, notes = make(Sequential(usages, execute))
        await type_lines(desk, "slow", "fast", "status")
        assert running == ["slow", "status"]
        go.set()
        await desk.finish(None)
        assert running == ["slow", "status", "fast"]
        assert notes.answers == [(3, "status", None), (1, "slow", "too slow"), (2, "fast", None)]
        await desk.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("bad", [Line(1, "query \ufffd", "not UTF-8"), Line(1, "", "too long")])
def test_bad_lines_are_answered(bad: Line) -> None:
    async def scenario() -> None:
        desk, notes = make(Manual())
        await desk.take(bad)
        await desk.finish(None)
        assert notes.answers == [(1, bad.text[:5], bad.error)]
        await desk.close()

    asyncio.run(scenario())
