"""A running process's socket for scripts and programs: a Unix-domain socket beside its disk.

It takes one command per line and answers with the same JSON lines as `--json`, events included. A line that is a JSON
string stands for its text, so that text may contain line feeds; a JSON object is a typed command. Only this
system's user may use it (mode 600).
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import select
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Generic, TypeAlias, TypeVar

from api.base import Event, Result, encode, encode_gently, result_line
from api.node_events import RefusedEvent
from api.prompt import DroppedEvent, WaitingEvent
from api.sockets import address
from console.command_pipeline import CommandPipeline
from console.command_table import CommandTable, Executor, TypedCommand
from console.lines import Line, LineSplitter

MAX_CLIENTS = 64
TOLD_EVERY = 30.0
"""Seconds between lines in the log about clients that were refused."""
WAITING_AFTER = 2.0
"""Seconds after which an unanswered command reports what it is waiting for."""
BOUND = 4 * 1024 * 1024
"""Bytes that may wait for a slow client before events are dropped and results wait."""
_CHUNK = 64 * 1024
_LOOK_EVERY = 0.5
"""Seconds between checks whether a client that only waits for a result has disconnected."""

_log = logging.getLogger(__name__)

E = TypeVar("E", bound=Executor)
TellEvent: TypeAlias = Callable[[Event], None]


class ControlSocket(Generic[E]):
    """Listens at `path` for the commands of `table`. `begin` makes what carries out those of a client, and is given
    where the client's events go; `end` ends it."""

    def __init__(
        self, path: Path, table: CommandTable[E], begin: Callable[[TellEvent], E], end: Callable[[E], None]
    ) -> None:
        self.path = path
        self._table = table
        self._begin = begin
        self._end = end
        self._server: asyncio.Server | None = None
        self._clients: dict[asyncio.Task[None], _Client] = {}
        """In the order in which they came."""
        self._refused = 0
        """Since a line was last logged about them."""
        self._told_at = -TOLD_EVERY

    async def start(self) -> None:
        """Raises OSError. Replaces the socket of an earlier process: the node's disk is locked by now."""
        self.path.unlink(missing_ok=True)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        before = os.umask(0o177)
        try:
            with address(self.path) as name:
                listening.bind(name)
        except BaseException:
            listening.close()
            raise
        finally:
            os.umask(before)
        self._server = await asyncio.start_unix_server(self._welcome, sock=listening)

    async def close(self) -> None:
        if self._server is None:
            return
        self._server.close()
        for client in self._clients:
            client.cancel()
        if self._clients:
            await asyncio.wait(self._clients.keys())
        self.path.unlink(missing_ok=True)

    async def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        client = _Client(reader, writer)
        try:
            if len(self._clients) >= MAX_CLIENTS:
                self._refuse_one(task, client)
            if len(self._clients) >= MAX_CLIENTS:
                return
            self._clients[task] = client
            executor = self._begin(client.tell)
            try:
                await client.serve(self._table, executor)
            finally:
                self._end(executor)
        except asyncio.CancelledError:
            pass  # the node is exiting: drop the client without a log message
        finally:
            self._clients.pop(task, None)
            writer.close()

    def _refuse_one(self, task: asyncio.Task[None], newcomer: _Client) -> None:
        """There is no place for all: whoever has been there longest without a word makes room, else there is none for
        the newcomer."""
        silent = next(((each, client) for each, client in self._clients.items() if not client.spoke), None)
        chosen, client = (task, newcomer) if silent is None else silent
        client.refuse(RefusedEvent(f"client limit ({MAX_CLIENTS}) reached"))
        if chosen is not task:
            del self._clients[chosen]
            chosen.cancel()
        self._refused += 1
        if time.monotonic() - self._told_at >= TOLD_EVERY:
            _log.warning("%d clients of the control socket refused: %d is the limit", self._refused, MAX_CLIENTS)
            self._refused, self._told_at = 0, time.monotonic()


class _Client:
    """One connection; the writer of its pipeline. Output of one turn of the event loop is sent together."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._unsent: list[bytes] = []
        self._unsent_bytes = 0
        self._dropped = 0
        self._gone = asyncio.Event()
        self.spoke = False
        """It has sent something."""
        writer.transport.set_write_buffer_limits(high=BOUND)

    async def serve(self, table: CommandTable[E], executor: E) -> None:
        """Serves until the client disconnects, or has sent everything and got all answers."""
        pipeline = CommandPipeline(table, executor, self, WAITING_AFTER)
        conversing = asyncio.ensure_future(self._converse(pipeline))
        ends = [asyncio.ensure_future(event.wait()) for event in (self._gone, pipeline.failed)]
        try:
            await asyncio.wait([conversing, *ends], return_when=asyncio.FIRST_COMPLETED)
            if conversing.done():
                conversing.result()
        finally:
            for waiting in (conversing, *ends):
                waiting.cancel()
            await asyncio.wait([conversing])
            await pipeline.close()
            self._flush()

    def refuse(self, event: RefusedEvent) -> None:
        """The last that it gets."""
        self._flush()
        self._writer.write(encode(event) + b"\n")

    async def answer(self, typed: TypedCommand, result: Result) -> None:
        encoded = await asyncio.to_thread(encode_gently, result) if typed.large else encode(result)
        self._write(result_line(result.replies_to or typed.name, typed.line, encoded))
        if self._waiting_bytes() > BOUND:
            self._flush()
            try:
                await self._writer.drain()
            except ConnectionError:
                self._gone.set()

    def waiting(self, typed: TypedCommand, reason: str) -> None:
        self.tell(WaitingEvent(typed.name, typed.line, reason))

    def tell(self, event: Event) -> None:
        if self._gone.is_set() or self._waiting_bytes() > BOUND:
            self._dropped += 1
            return
        if self._dropped:
            count, self._dropped = self._dropped, 0
            self._write(encode(DroppedEvent(count)) + b"\n")
        self._write(encode(event) + b"\n")

    def _write(self, line: bytes) -> None:
        if not self._unsent:
            asyncio.get_running_loop().call_soon(self._flush)
        self._unsent.append(line)
        self._unsent_bytes += len(line)

    def _flush(self) -> None:
        lines, self._unsent, self._unsent_bytes = self._unsent, [], 0
        if self._writer.transport.is_closing():
            self._gone.set()
        elif lines:
            self._writer.write(b"".join(lines))

    def _waiting_bytes(self) -> int:
        return self._unsent_bytes + self._writer.transport.get_write_buffer_size()

    async def _converse(self, pipeline: CommandPipeline[E]) -> None:
        async for lines in self._lines():
            if not await self._take(lines, pipeline):
                break
        finishing = asyncio.ensure_future(pipeline.finish(None))
        try:
            while not finishing.done() and not self._hung_up():
                await asyncio.wait([finishing], timeout=_LOOK_EVERY)
        finally:
            finishing.cancel()

    async def _take(self, lines: Iterable[Line], pipeline: CommandPipeline[E]) -> bool:
        """False if the client ends the session."""
        for line in lines:
            if not await pipeline.take(_unwrapped(line)):
                return False
        return True

    async def _lines(self) -> AsyncIterator[Iterable[Line]]:
        splitter = LineSplitter()
        try:
            while chunk := await self._reader.read(_CHUNK):
                self.spoke = True
                yield splitter.feed(chunk)
                await asyncio.sleep(0)  # a client that writes endlessly must not block the node
        except ConnectionError:
            self._gone.set()
            return
        yield splitter.finish()

    def _hung_up(self) -> bool:
        """Whether the client has closed the connection completely, not only its sending side."""
        connection = self._writer.get_extra_info("socket")
        if connection is None or connection.fileno() < 0:
            return True
        poll = select.poll()
        poll.register(connection.fileno(), 0)
        return any(event & (select.POLLHUP | select.POLLERR) for _, event in poll.poll(0))


def _unwrapped(line: Line) -> Line:
    """The line, with the text of the JSON string if it is one."""
    if line.error is not None or not line.text.startswith('"'):
        return line
    try:
        text = json.loads(line.text)
        text.encode()
    except ValueError:
        return Line(line.number, line.text[:64], "the line begins like a JSON string but is not valid JSON")
    return Line(line.number, text)
