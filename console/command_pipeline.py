"""Runs commands in the order in which they are typed, and answers each exactly once in the same order."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from itertools import islice
from typing import Generic, Protocol, TypeVar

from api.base import Failure, Result
from api.errors import InvalidCommand
from api.prompt import ExitResult
from console.command_table import CommandTable, Executor, TypedCommand
from console.lines import Line
from console.usage import EXIT, MAX_WORD, UsageError, expectation

_AT_A_TIME = 256
"""The most answers written in one turn of the event loop."""

MAX_PENDING = 4096
MAX_PENDING_CHARS = 32 * 1024 * 1024
"""Above either of these limits, no further line is accepted until a command has been answered."""

_log = logging.getLogger(__name__)

E = TypeVar("E", bound=Executor)


class ResponseWriter(Protocol):
    """Writes the pipeline's output."""

    async def answer(self, typed: TypedCommand, result: Result) -> None: ...

    def waiting(self, typed: TypedCommand, reason: str) -> None: ...


class _Pending:
    """A command in progress."""

    __slots__ = ("_awaited", "answered", "result", "since", "size", "typed")

    def __init__(self, typed: TypedCommand, size: int, result: asyncio.Future[Result], since: float) -> None:
        self.typed = typed
        self.size = size
        self.result = result
        self.since = since
        self.answered = False
        self._awaited: asyncio.Event | None = None

    def set_answered(self) -> None:
        self.answered = True
        if self._awaited is not None:
            self._awaited.set()

    async def until_answered(self) -> None:
        if not self.answered:
            if self._awaited is None:
                self._awaited = asyncio.Event()
            await self._awaited.wait()


class CommandPipeline(Generic[E]):
    """Takes lines, has the commands of `table` run by `executor`, and gives the answers to `writer`, who also
    learns what a command is waiting for if it has no answer after `waiting_after` seconds."""

    def __init__(self, table: CommandTable[E], executor: E, writer: ResponseWriter, waiting_after: float) -> None:
        self._table = table
        self._executor = executor
        self._writer = writer
        self._waiting_after = waiting_after
        self._pending: deque[_Pending] = deque()
        self._size = 0
        self._last: _Pending | None = None
        self._told = 0
        """How many of those pending, from the oldest, the writer knows to be waiting."""
        self._reminder: asyncio.TimerHandle | None = None
        self._exit: TypedCommand | None = None
        self._changed = asyncio.Event()
        self.failed = asyncio.Event()
        """Answering stopped because of a bug; `close` raises it."""
        self._answering = asyncio.ensure_future(self._answer_in_order())
        self._answering.add_done_callback(lambda task: None if task.cancelled() else self.failed.set())

    async def take(self, line: Line) -> bool:
        """Starts the command on a line; waits while too many are in progress. False if it is `exit`."""
        text = line.text.strip()
        if line.error is None and (not text or text.startswith("#")):
            return True
        try:
            if line.error is not None:
                raise UsageError(line.error)
            typed = self._table.parse(line.number, text, self._executor.fill)
        except UsageError as wrong:
            name = wrong.name or (text.split(None, 1) or [""])[0][:MAX_WORD]
            typed, failure = TypedCommand(line.number, name), Failure(error=str(wrong), kind=wrong.kind)
            if wrong.at_once:
                await self._writer.answer(typed, failure)
            else:
                self._start(typed, 0, _done(failure))
        else:
            if typed.name == EXIT.name:
                self._exit = typed
                return False
            if typed.at_once:
                await self._writer.answer(typed, await _outcome(typed, self._submit(typed)))
            else:
                self._start(typed, len(text), self._submit(typed))
        while len(self._pending) >= MAX_PENDING or self._size >= MAX_PENDING_CHARS:
            await self._change()
        return True

    async def finish(self, limit: float | None) -> None:
        """Waits at most `limit` seconds until everything is answered; reports the rest as unknown."""
        try:
            async with asyncio.timeout(limit):
                while self._pending:
                    await self._change()
        except TimeoutError:
            await self._give_up()
        if self._exit is not None:
            await self._writer.answer(self._exit, ExitResult())

    async def close(self) -> None:
        """Cancels what is still in progress, without an answer."""
        self._answering.cancel()
        if self._reminder is not None:
            self._reminder.cancel()
        for pending in self._pending:
            pending.result.cancel()
        await asyncio.wait([self._answering])
        if not self._answering.cancelled() and (error := self._answering.exception()):
            raise error

    def _start(self, typed: TypedCommand, size: int, result: asyncio.Future[Result]) -> None:
        loop = asyncio.get_running_loop()
        self._last = _Pending(typed, size, result, loop.time())
        self._pending.append(self._last)
        self._size += size
        self._changed.set()
        if self._reminder is None:
            self._reminder = loop.call_later(self._waiting_after, self._remind)

    def _submit(self, typed: TypedCommand) -> asyncio.Future[Result]:
        earlier = _nothing if self._last is None else self._last.until_answered
        try:
            result = typed.run(self._executor, earlier)
        except Exception as error:  # noqa: BLE001 - a bug in one command must not take the process down
            return _done(_failure(typed, error))
        return result if isinstance(result, asyncio.Future) else asyncio.ensure_future(result)

    async def _answer_in_order(self) -> None:
        answered = 0
        while True:
            while not self._pending:
                await self._change()
            pending = self._pending[0]
            answered += 1
            if not pending.result.done():
                await _settled(pending.result)
            elif answered % _AT_A_TIME == 0:
                await asyncio.sleep(0)  # many at once must not block the event loop
            await self._writer.answer(pending.typed, _result(pending.typed, pending.result))
            self._forget_first()

    async def _give_up(self) -> None:
        self._answering.cancel()
        await asyncio.wait([self._answering])
        for pending in self._pending:
            pending.result.cancel()  # all of them first: none may start because its predecessor was answered
        while self._pending:
            pending = self._pending[0]
            await self._writer.answer(pending.typed, _result(pending.typed, pending.result))
            self._forget_first()

    def _forget_first(self) -> None:
        pending = self._pending.popleft()
        self._size -= pending.size
        self._told = max(0, self._told - 1)
        pending.set_answered()
        self._changed.set()

    def _remind(self) -> None:
        """Reports each long-waiting command once; schedules the next check for when the next one may be due."""
        loop = asyncio.get_running_loop()
        self._reminder = None
        for pending in islice(self._pending, self._told, None):
            due = pending.since + self._waiting_after
            if due > loop.time():
                self._reminder = loop.call_at(due, self._remind)
                return
            self._told += 1
            self._writer.waiting(pending.typed, self._executor.waiting_for(pending.typed))

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()


async def _settled(result: asyncio.Future[Result]) -> None:
    """Waits until it is done, whatever its outcome. Cancelling the wait does not cancel it. Like `asyncio.wait`, in
    fewer turns of the event loop."""
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def tell(_: asyncio.Future[Result]) -> None:
        if not done.done():
            done.set_result(None)

    result.add_done_callback(tell)
    try:
        await done
    finally:
        result.remove_done_callback(tell)


async def _outcome(typed: TypedCommand, result: asyncio.Future[Result]) -> Result:
    if not result.done():
        await _settled(result)
    return _result(typed, result)


def _result(typed: TypedCommand, future: asyncio.Future[Result]) -> Result:
    if future.done() and not future.cancelled():
        error = future.exception()
        return future.result() if error is None else _failure(typed, error)
    return Failure(error="left before this was answered; a change may still take effect")


def _failure(typed: TypedCommand, error: BaseException) -> Failure:
    if isinstance(error, InvalidCommand) and typed.entry is not None:
        return Failure(error=f"{error}; {expectation(typed.entry.usage)}", kind="usage")
    _log.error("a command failed", exc_info=error)
    return Failure(error=f"internal error: {type(error).__name__}: {error}")


async def _nothing() -> None:
    """The predecessor of the first command."""


def _done(result: Result) -> asyncio.Future[Result]:
    future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
    future.set_result(result)
    return future
