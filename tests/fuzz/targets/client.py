"""What whoever listens at a node's control socket may answer to the client."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from api.client import Client
from api.errors import ConnectionLost, NoAnswer, Unreachable
from tests.fuzz.loop import Loop
from tests.fuzz.target import Form, Target


class _Server:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.said = b""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readline()
            writer.write(self.said)
            writer.write_eof()
            await reader.read()
        except OSError:
            pass  # the client has left
        finally:
            writer.close()

    @staticmethod
    @asynccontextmanager
    async def open() -> AsyncIterator[_Server]:
        with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
            server = _Server(Path(name) / "s")
            async with await asyncio.start_unix_server(server.serve, str(server.path)):
                yield server


_loop = Loop(_Server.open)


def check(data: bytes) -> None:
    _loop.run(partial(_attempt, data))


async def _attempt(data: bytes, server: _Server) -> None:
    server.said = data
    events: list[str] = []
    async with await Client.connect(server.path, on_event=lambda event: events.append(event.name)) as client:
        try:
            reply = await client.run_line("status", 20)
        except (ConnectionLost, NoAnswer, Unreachable) as error:
            assert str(error)
            return
        failure = reply.failure
        assert reply.values()["event"] == "result" and (failure is None or failure.error is not None)
        await client.ended()
    assert len(events) <= data.count(b"\n")


def seeds() -> list[bytes]:
    result = b'{"event":"result","command":"status","line":1,"ok":true,"node":2,"role":"leader"}\n'
    failed = b'{"event":"result","command":"status","line":1,"ok":false,"kind":"usage","error":"no"}\n'
    waiting = b'{"event":"waiting","command":"status","line":1,"reason":"no majority"}\n'
    event = b'{"event":"created","context":"c1","origin":1}\n'
    return [result, failed, event + waiting + result + event, b'{"event":"refused","reason":"full"}\n', event + result]


TARGET = Target("answers at a control socket", check, seeds, Form.JSON, examples=150, close=_loop.close)
