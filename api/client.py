"""The client of a node or the orchestrator: typed commands, or lines as users type them, out; results and events in.

It speaks to a control socket, or over the pipes of a process with `--json`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import msgspec

from api.base import Command, Failure, Result, encode, result_type
from api.errors import (
    BUSY,
    BusyFailed,
    CommandFailed,
    ConnectionLost,
    InvalidCommandFailed,
    NoAnswer,
    Unreachable,
)
from api.sockets import address

LONGEST_LINE = 256 * 1024 * 1024
"""Bytes. `viewall` of a long-lived cluster is one line of many megabytes."""

T = TypeVar("T")
R = TypeVar("R", bound=Result)


class _Head(msgspec.Struct):
    """The keys that distinguish kinds of lines."""

    event: str
    line: int = 0
    reason: str | None = None


class FailureReply(Failure, frozen=True, kw_only=True):
    """Any failure, with its optional keys."""

    context: str | None = None
    stale: bool = False


class Reply(msgspec.Struct, frozen=True):
    """The line that answers a command."""

    raw: bytes
    """Without its line feed."""

    def values(self) -> dict[str, Any]:
        """All that it says, `event`, `command` and `line` included."""
        return msgspec.json.decode(self.raw, type=dict[str, Any])

    @property
    def failure(self) -> FailureReply | None:
        """What went wrong; None if the command succeeded."""
        ok = msgspec.json.decode(self.raw, type=Result).ok
        return None if ok else msgspec.json.decode(self.raw, type=FailureReply)

    def result(self, kind: type[R]) -> R:
        """Raises CommandFailed if the command failed."""
        failure = self.failure
        if failure is None:
            return msgspec.json.decode(self.raw, type=kind)
        if failure.kind == "usage":
            raise InvalidCommandFailed(failure)
        raise BusyFailed(failure) if failure.error.startswith(BUSY) else CommandFailed(failure)


class ReceivedEvent(msgspec.Struct, frozen=True):
    """A line that is not an answer."""

    name: str
    raw: bytes

    def decode(self, kind: type[T]) -> T:
        """As a struct of the schema, or a union of them. Raises msgspec.ValidationError."""
        return msgspec.json.decode(self.raw, type=kind)


OnEvent: TypeAlias = Callable[[ReceivedEvent], None]


class _Sent(msgspec.Struct):
    """A line that has no answer yet."""

    reply: asyncio.Future[Reply]
    waiting_for: str | None = None


class Client:
    """Commands may be sent while others wait for their answers; they are answered in order."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, name: str = "the node",
        on_event: OnEvent = lambda event: None, quote: bool = False,
    ) -> None:
        """`name` is what errors call the other side; `on_event` gets all lines that are not answers. `quote`: the other
        side takes lines as JSON strings, too."""
        self._reader = reader
        self._writer = writer
        self._name = name
        self._on_event = on_event
        self._quote = quote
        self._lines = 0
        self._sent: dict[int, _Sent] = {}
        self._refused: str | None = None
        self._odd = False
        """The other side sent something that is no line of this protocol: nothing that follows it is believed."""
        self._subscribers: set[asyncio.Queue[ReceivedEvent | None]] = set()
        self._reading = asyncio.ensure_future(self._read())

    @classmethod
    async def connect(
        cls, path: Path, *, name: str = "this node", on_event: OnEvent = lambda event: None
    ) -> Client:
        """To the control socket at `path`, whose owner errors call `name`. Raises Unreachable."""
        try:
            with address(path) as short:
                reader, writer = await asyncio.open_unix_connection(short, limit=LONGEST_LINE)
        except (FileNotFoundError, ConnectionRefusedError):
            raise Unreachable(f"{name} is not running: nothing is listening at {path}", missing=True) from None
        except OSError as error:
            raise Unreachable(f"cannot reach {name} at {path}: {error.strerror or error}") from None
        return cls(reader, writer, name=name.replace("this", "the"), on_event=on_event, quote=True)

    async def run(self, command: Command[R], timeout_s: float | None = None) -> R:
        """The result of a command. Raises CommandFailed, NoAnswer, ConnectionLost, Unreachable."""
        reply = await self._answer(self._send(encode(command).decode()), timeout_s)
        kind: type[R] = result_type(type(command))
        return reply.result(kind)

    async def run_line(self, text: str, timeout_s: float | None = None) -> Reply:
        """The answer to a line as users type it, a failure too. Raises NoAnswer, ConnectionLost, Unreachable."""
        return await self._answer(self._send(self._quoted(text)), timeout_s)

    def submit(self, text: str) -> asyncio.Future[Reply]:
        """As `run_line`, without waiting for anything: many lines may be in flight."""
        return self._send(self._quoted(text)).reply

    async def drain(self) -> None:
        """Waits while the other side takes in what was sent. Raises ConnectionLost."""
        try:
            await self._writer.drain()
        except ConnectionError:
            raise self._lost() from None

    async def events(self) -> AsyncIterator[ReceivedEvent]:
        """All lines from now on that are not answers, until the connection ends."""
        queue: asyncio.Queue[ReceivedEvent | None] = asyncio.Queue()
        self._subscribers.add(queue)
        if self.over:
            queue.put_nowait(None)
        try:
            while (event := await queue.get()) is not None:
                yield event
        finally:
            self._subscribers.discard(queue)

    @property
    def over(self) -> bool:
        """The other side has exited, and all its output was read."""
        return self._reading.done()

    async def ended(self) -> None:
        """Returns when it is over."""
        await asyncio.wait([self._reading])

    async def ended_or(self, other: asyncio.Future[Any]) -> None:
        """Returns when it is over, or `other` is done."""
        await asyncio.wait([self._reading, other], return_when=asyncio.FIRST_COMPLETED)

    async def close(self) -> None:
        self._writer.close()
        self._reading.cancel()
        await self.ended()

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _quoted(self, text: str) -> str:
        return json.dumps(text) if self._quote else text

    def _send(self, line: str) -> _Sent:
        """It must be a line that is answered: no blank one and no comment."""
        assert "\n" not in line and line.strip() and not line.startswith("#"), f"'{line[:40]}' has no answer"
        self._lines += 1
        sent = self._sent[self._lines] = _Sent(asyncio.get_running_loop().create_future())
        if self.over:
            self._lose_all()
        else:
            self._writer.write(line.encode() + b"\n")
        return sent

    async def _answer(self, sent: _Sent, timeout_s: float | None) -> Reply:
        try:
            async with asyncio.timeout(timeout_s):
                return await sent.reply
        except TimeoutError:
            reason = f" ({sent.waiting_for})" if sent.waiting_for else ""
            sentence = f"no answer within {timeout_s:g} s{reason}; a change may still take effect"
            raise NoAnswer(sentence, sent.waiting_for) from None

    async def _read(self) -> None:
        try:
            with contextlib.suppress(ConnectionError), self._noticing_nonsense():
                while (line := await self._reader.readline()).endswith(b"\n"):  # a killed process may stop in mid-line
                    self._take(line[:-1])
        finally:
            self._lose_all()
            for queue in self._subscribers:
                queue.put_nowait(None)

    @contextlib.contextmanager
    def _noticing_nonsense(self) -> Iterator[None]:
        try:
            yield
        except (ValueError, msgspec.MsgspecError, RecursionError):  # of an endless line, and of one that is not JSON
            self._odd = True

    def _take(self, line: bytes) -> None:
        head = msgspec.json.decode(line, type=_Head)
        sent = self._sent.get(head.line)
        if head.event == "result":
            reply = _checked(line)
            if sent is not None:
                del self._sent[head.line]
                if not sent.reply.done():
                    sent.reply.set_result(reply)
            return
        if head.event == "waiting" and sent is not None and head.reason is not None:
            sent.waiting_for = head.reason
        if head.event == "refused":
            self._refused = head.reason
        event = ReceivedEvent(head.event, line)
        self._on_event(event)
        for queue in self._subscribers:
            queue.put_nowait(event)

    def _lose_all(self) -> None:
        for sent in self._sent.values():
            if not sent.reply.done():
                sent.reply.set_exception(self._lost())
                sent.reply.exception()  # retrieved, since a caller may not wait for it
        self._sent.clear()

    def _lost(self) -> ConnectionLost | Unreachable:
        if self._quote and self._refused is not None:
            return Unreachable(f"{self._name} refuses: {self._refused}")
        if self._odd:
            return ConnectionLost(f"{self._name} sent something that is no answer; a change may still take effect")
        return ConnectionLost(f"{self._name} exited before it answered; a change may still take effect")


def _checked(line: bytes) -> Reply:
    """Raises ValueError or msgspec.MsgspecError if it is no answer. Answers are ASCII."""
    if not line.isascii():
        raise ValueError("an answer that is not ASCII")
    reply = Reply(line)
    _ = reply.failure
    return reply


def run_line(
    path: Path, text: str, timeout_s: float, *, on_event: OnEvent = lambda event: None
) -> Reply:
    """One line at a control socket, for who has no event loop. Raises NoAnswer, ConnectionLost, Unreachable."""

    async def ask() -> Reply:
        async with await Client.connect(path, on_event=on_event) as client:
            return await client.run_line(text, timeout_s)

    return asyncio.run(ask())
