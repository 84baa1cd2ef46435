"""Commands answer in the order typed, each exactly once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

import pytest

from api.base import Command, Failure, Result
from api.errors import InvalidCommand
from console.command_pipeline import MAX_PENDING, CommandPipeline
from console.command_table import CommandTable, Earlier, Entry, Executor, TypedCommand, at_once, in_order
from console.lines import Line
from console.usage import Usage


class DoCommand(Command[Result], frozen=True, tag="do"):
    name: str


class AfterCommand(Command[Result], frozen=True, tag="after"):
    name: str


class CrashCommand(Command[Result], frozen=True, tag="crash"):
    pass


class WrongCommand(Command[Result], frozen=True, tag="wrong"):
    pass


class StatusCommand(Command[Result], frozen=True, tag="status"):
    pass


class Manual(Executor):
    """Its commands are done when the test says so."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.typed: list[str] = []
        self.results: dict[str, asyncio.Future[Result]] = {}
        self.changed = asyncio.Event()

    def on_command(self, typed: TypedCommand) -> None:
        self.typed.append(str(typed))

    def finish(self, name: str) -> None:
        self.results[name].set_result(Result())

    async def until_begun(self, name: str) -> None:
        async with asyncio.timeout(5):
            while name not in self.results:
                self.changed.clear()
                await self.changed.wait()

    def waiting_for(self, typed: TypedCommand) -> str:
        return f"no word on {typed.first}"

    def begin(self, name: str) -> asyncio.Future[Result]:
        self.begun.append(name)
        self.changed.set()
        self.results[name] = asyncio.get_running_loop().create_future()
        return self.results[name]

    def status(self) -> asyncio.Future[Result]:
        result = self.begin("status")
        self.finish("status")
        return result


def _crash(executor: Manual, command: CrashCommand, earlier: Earlier) -> Awaitable[Result]:
    raise ValueError("oh")


async def _wrong(executor: Manual, command: WrongCommand, earlier: Earlier) -> Result:
    raise InvalidCommand("that cannot be")


TABLE: CommandTable[Manual] = CommandTable([
    Entry[Manual, DoCommand, Result](
        Usage("do", "X", "is done when the test says so", least=1, most=1), DoCommand,
        at_once(lambda executor, command: executor.begin(command.name)),
    ),
    Entry[Manual, AfterCommand, Result](
        Usage("after", "X", "begins after the earlier ones", least=1, most=1), AfterCommand,
        in_order(lambda executor, command: executor.begin(command.name)),
    ),
    Entry[Manual, CrashCommand, Result](Usage("crash", "", "is a bug"), CrashCommand, _crash),
    Entry[Manual, WrongCommand, Result](Usage("wrong", "", "makes no sense"), WrongCommand, _wrong),
    Entry[Manual, StatusCommand, Result](
        Usage("status", "", "answers at once", at_once=True), StatusCommand,
        at_once(lambda executor, command: executor.status()),
    ),
])


class Notes:
    """A writer that remembers."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, str, str | None]] = []
        self.waits: list[tuple[int, str]] = []
        self.changed = asyncio.Event()

    async def answer(self, typed: TypedCommand, result: Result) -> None:
        self.answers.append((typed.line, typed.name, result.error if isinstance(result, Failure) else None))
        self.changed.set()

    def waiting(self, typed: TypedCommand, reason: str) -> None:
        self.waits.append((typed.line, reason))
        self.changed.set()

    @property
    def lines(self) -> list[int]:
        return [line for line, _, _ in self.answers]

    async def until(self, lines: int = 0, waits: int = 0) -> None:
        async with asyncio.timeout(5):
            while len(self.answers) < lines or len(self.waits) < waits:
                self.changed.clear()
                await self.changed.wait()


def make(executor: Manual, waiting_after: float = 60) -> tuple[CommandPipeline[Manual], Notes]:
    notes = Notes()
    return CommandPipeline(TABLE, executor, notes, waiting_after), notes


async def type_lines(pipeline: CommandPipeline[Manual], *texts: str, first: int = 1) -> None:
    for number, text in enumerate(texts, first):
        await pipeline.take(Line(number, text))


def test_answers_come_in_the_order_typed() -> None:
    async def scenario() -> None:
        executor = Manual()
        pipeline, notes = make(executor)
        await type_lines(pipeline, "do a", "", "# comment", "nonsense", "do b", "status", "help")
        assert executor.begun == ["a", "b", "status"], "all of them begin at once"
        assert notes.lines == [6, 7], "status and help do not wait"
        executor.finish("b")
        await asyncio.sleep(0)
        assert notes.lines == [6, 7]
        executor.finish("a")
        await pipeline.finish(None)
        assert notes.lines == [6, 7, 1, 4, 5]
        await pipeline.close()

    asyncio.run(scenario())


def test_what_awaits_earlier_begins_after_their_answers() -> None:
    async def scenario() -> None:
        executor = Manual()
        pipeline, notes = make(executor)
        await type_lines(pipeline, "do a", "after b", "do c", "after d")
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
        await pipeline.finish(None)
        assert notes.lines == [1, 2, 3, 4]
        await pipeline.close()

    asyncio.run(scenario())


def test_waiting_is_said_once_and_the_result_follows() -> None:
    async def scenario() -> None:
        executor = Manual()
        pipeline, notes = make(executor, waiting_after=0.01)
        await type_lines(pipeline, "do a", "do b")
        await notes.until(waits=2)
        assert notes.waits == [(1, "no word on a"), (2, "no word on b")]
        executor.finish("a")
        executor.finish("b")
        await pipeline.finish(None)
        assert notes.lines == [1, 2] and len(notes.waits) == 2
        await pipeline.close()

    asyncio.run(scenario())


def test_leaving_is_bounded_and_every_command_gets_its_answer() -> None:
    async def scenario() -> None:
        executor = Manual()
        pipeline, notes = make(executor)
        await type_lines(pipeline, "do a", "after b", "do c")
        executor.finish("c")
        assert not await pipeline.take(Line(4, "EXIT"))
        await pipeline.finish(0.01)
        failed = [(line, bool(error)) for line, _, error in notes.answers]
        assert failed == [(1, True), (2, True), (3, False), (4, False)]
        assert "may still take effect" in (notes.answers[0][2] or "")
        assert executor.begun == ["a", "c"], "nothing begins after giving up"
        await pipeline.close()

    asyncio.run(scenario())


def test_a_bug_in_a_command_is_its_result() -> None:
    async def scenario() -> None:
        executor = Manual()
        pipeline, notes = make(executor)
        await type_lines(pipeline, "crash", "do a")
        executor.results["a"].set_exception(RuntimeError("bad"))
        await pipeline.finish(None)
        assert [error for _, _, error in notes.answers] == [
            "internal error: ValueError: oh", "internal error: RuntimeError: bad"
        ]
        await pipeline.close()

    asyncio.run(scenario())


def test_no_line_is_taken_while_too_much_is_under_way() -> None:
    async def scenario() -> None:
        executor = Manual()
        pipeline, notes = make(executor)
        taking = asyncio.ensure_future(type_lines(pipeline, *(f"do {number}" for number in range(MAX_PENDING + 10))))
        await executor.until_begun(str(MAX_PENDING - 1))
        for _ in range(10):
            await asyncio.sleep(0)
        assert len(executor.begun) == MAX_PENDING and not taking.done()
        for number in range(MAX_PENDING + 10):
            await executor.until_begun(str(number))
            executor.finish(str(number))
        await taking
        await pipeline.finish(None)
        assert notes.lines == list(range(1, MAX_PENDING + 11))
        await pipeline.close()

    asyncio.run(scenario())


def test_closing_cancels_what_is_under_way() -> None:
    async def scenario() -> None:
        executor = Manual()
        pipeline, notes = make(executor)
        await type_lines(pipeline, "do a")
        await pipeline.close()
        assert notes.answers == []

    asyncio.run(scenario())


def test_what_cannot_be_is_a_mistake_and_no_bug() -> None:
    async def scenario() -> None:
        executor = Manual()
        pipeline, notes = make(executor)
        await type_lines(pipeline, "wrong", '{"command":"wrong"}', '{"command":"wrong","x":1}', "status")
        await pipeline.finish(None)
        assert executor.typed == ["wrong", "wrong", "status"]
        said = "that cannot be; type wrong"
        unknown = "wrong: Object contains unknown field `x`"
        assert sorted(notes.answers) == [(1, "wrong", said), (2, "wrong", said), (3, "wrong", unknown),
                                         (4, "status", None)]
        await pipeline.close()

    asyncio.run(scenario())


def test_one_at_a_time_but_status_at_once() -> None:
    async def scenario() -> None:
        executor = Manual()
        pipeline, notes = make(executor)
        await type_lines(pipeline, "after slow", "after fast", "status")
        await executor.until_begun("slow")
        assert executor.begun == ["status", "slow"]
        executor.results["slow"].set_result(Failure(error="too slow"))
        await executor.until_begun("fast")
        executor.finish("fast")
        await pipeline.finish(None)
        assert notes.answers == [(3, "status", None), (1, "after", "too slow"), (2, "after", None)]
        await pipeline.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("bad", [Line(1, "query \ufffd", "not UTF-8"), Line(1, "", "too long")])
def test_bad_lines_are_answered(bad: Line) -> None:
    async def scenario() -> None:
        pipeline, notes = make(Manual())
        await pipeline.take(bad)
        await pipeline.finish(None)
        assert notes.answers == [(1, bad.text[:5], bad.error)]
        await pipeline.close()

    asyncio.run(scenario())
