"""A node's control socket: each line gets one answer, in order, whatever is on it."""

from __future__ import annotations

import asyncio
import json
import re
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

from api.sockets import socket_path
from console.lines import Line, LineSplitter
from console.node.control import node_socket
from console.node.table import NODE_TABLE
from console.usage import UsageError
from engine.interface import AppliedOperation
from kvstore.operations import Candidate, Create, Query, StoreOperation
from server import transfer
from server.applied_log import AppliedLog
from server.event_feed import Tell
from server.session import Session
from tests.fuzz.loop import Loop
from tests.fuzz.target import Form, Target
from tests.fuzz.targets import prompts
from tests.unit.server.session_tools import ME, MEMBERS, FakeEngine

_MOST_CONVERSATIONS = 200


class _Engine(FakeEngine):
    """Decides by itself."""

    def submit(self, operation: StoreOperation) -> int:
        ticket = super().submit(operation)
        asyncio.get_running_loop().call_soon(self.decide)
        return ticket


class _Node:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sessions: set[Session] = set()
        self.control = node_socket(socket_path(folder, ME), self._open, self.sessions.discard)
        self.renew()

    def renew(self) -> None:
        self.engine = _Engine()
        self.engine.listener = self
        for operation in (Create("c1"), Query("c1", "why?"), Candidate("c1", 1, 1, "because", None, "m", 1.0)):
            self.engine.apply(operation, 3)

    def _open(self, tell: Tell) -> Session:
        session = Session(self.engine, AppliedLog(), MEMBERS, tell)
        self.sessions.add(session)
        return session

    def on_applied(self, applied: AppliedOperation) -> None:
        for session in self.sessions:
            session.on_applied(applied)

    @staticmethod
    @asynccontextmanager
    async def open() -> AsyncIterator[_Node]:
        with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
            folder = Path(name)
            node = _Node(folder)
            await node.control.start()
            with patch.object(transfer, "path_of", partial(_within, folder, transfer.path_of)):
                yield node
            await node.control.close()


def _within(folder: Path, path_of: Any, name: str) -> Path:
    """Inputs name any file; they get one here."""
    path_of(name)
    return folder / (re.sub(r"[^a-z.]", "", name)[-40:] or "f")


_loop = Loop(_Node.open)


def check(data: bytes) -> None:
    _loop.run(partial(_attempt, data))


async def _attempt(data: bytes, node: _Node) -> None:
    reader, writer = await asyncio.open_unix_connection(str(node.control.path), limit=2**26)
    writer.write(data)
    writer.write_eof()
    records = [json.loads(line) for line in (await reader.read()).splitlines()]
    writer.close()
    assert all(isinstance(record["event"], str) for record in records)
    answers = [record for record in records if record["event"] == "result"]
    expected = _expected(data)
    assert sorted(record["line"] for record in answers) == expected
    for record in answers:
        assert isinstance(record["command"], str) and record["ok"] is (("error" in record) is False)
    if len(node.engine.store.conversations) > _MOST_CONVERSATIONS:
        node.renew()


def _expected(data: bytes) -> list[int]:
    """The lines that are to be answered."""
    splitter = LineSplitter()
    numbers = []
    for line in [*splitter.feed(data), *splitter.finish()]:
        if line.error is None and not _is_command(line):
            continue
        numbers.append(line.number)
        if _is_exit(line):
            break
    return numbers


def _is_command(line: Line) -> bool:
    text = _meant(line).strip()
    return bool(text) and not text.startswith("#")


def _is_exit(line: Line) -> bool:
    text = _meant(line).strip()
    try:
        return line.error is None and NODE_TABLE.parse(1, text).name == "exit"
    except UsageError:
        return False


def _meant(line: Line) -> str:
    if line.text.startswith('"'):
        try:
            text = json.loads(line.text)
            text.encode()
        except ValueError:
            return line.text
        return str(text)
    return line.text


def seeds() -> list[bytes]:
    lines = [seed for seed in prompts.seeds() if b"\n" not in seed]
    return [
        *lines, b"\n".join(lines), b'"query c1 two\\nlines"\nview c1\n', b"use c1\nview\nquery what?\nchoose 1\nstatus",
        b"create c2\nask c2 who?\nviewall --full\nlog 5\nexport c2 f.json\nimport f.json c3\nbackup b --force\n",
    ]


TARGET = Target("a node's control socket", check, seeds, Form.LINES, examples=150, close=_loop.close)
