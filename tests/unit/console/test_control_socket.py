"""The control socket of a running node: the same lines of JSON, many clients, each of them bounded."""

from __future__ import annotations

import asyncio
import json
import socket
import stat
import tracemalloc
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from api.sockets import address, socket_path
from console import control_socket
from console.node.control import node_socket
from engine.interface import AppliedOperation
from kvstore.operations import Create
from server.applied_log import AppliedLog
from server.event_feed import Tell
from server.session import Session
from tests.unit.server.session_tools import ME, MEMBERS, FakeEngine


class Node:
    """A node that decides when the test says so, and its control socket."""

    def __init__(self, folder: Path) -> None:
        self.engine = FakeEngine()
        self.engine.listener = self
        self.sessions: set[Session] = set()
        self.forgotten = asyncio.Event()
        self.control = node_socket(socket_path(folder, ME), self._open, self._forget)

    def _open(self, tell: Tell) -> Session:
        session = Session(self.engine, AppliedLog(), MEMBERS, tell)
        self.sessions.add(session)
        return session

    def _forget(self, session: Session) -> None:
        self.sessions.discard(session)
        self.forgotten.set()

    def on_applied(self, applied: AppliedOperation) -> None:
        for session in self.sessions:
            session.on_applied(applied)

    async def client(self) -> Client:
        return Client(*await asyncio.open_unix_connection(str(self.control.path)))

    async def submitted(self, count: int = 1) -> None:
        while len(self.engine.waiting) < count:  # noqa: ASYNC110 - the fake node has no event for it
            await asyncio.sleep(0.001)


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def type(self, text: str) -> None:
        self.writer.write(text.encode() + b"\n")

    async def record(self) -> dict[str, Any]:
        record: dict[str, Any] = json.loads(await self.reader.readline())
        return record

    async def result(self) -> dict[str, Any]:
        while (record := await self.record())["event"] != "result":
            pass
        return record


def behind(tmp_path: Path, scenario: Callable[[Node], Awaitable[None]]) -> None:
    async def run() -> None:
        async with asyncio.timeout(20):
            node = Node(tmp_path)
            await node.control.start()
            try:
                await scenario(node)
            finally:
                await node.control.close()
        assert not node.control.path.exists() and not node.sessions

    asyncio.run(run())


def test_commands_results_and_events(tmp_path: Path) -> None:
    async def scenario(node: Node) -> None:
        assert stat.S_IMODE(node.control.path.stat().st_mode) == 0o600
        client, watcher = await node.client(), await node.client()
        watcher.type("status")
        assert (await watcher.result())["node"] == ME
        client.type("create c1")
        await node.submitted()
        node.engine.decide()
        assert await client.record() == {"event": "created", "context": "c1", "origin": ME}
        assert await client.record() == {"event": "result", "command": "create", "line": 1, "ok": True, "context": "c1"}
        assert await watcher.record() == {"event": "created", "context": "c1", "origin": ME}
        client.type(json.dumps("query c1 two\nlines"))
        await node.submitted()
        node.engine.decide()
        client.type("view c1")
        assert (await client.result())["turn"] == 1
        view = await client.result()
        assert view["line"] == 3 and view["turns"][0]["query"] == "two\nlines"
        client.type('{"command":"log","count":1}')
        assert (await client.result())["log"] == []
        client.type('{"command":"create","context":"a b"}\n{"command":"log","count":0}')
        mistakes = [await client.result() for _ in range(2)]
        assert [mistake["kind"] for mistake in mistakes] == ["usage", "usage"]
        assert "without spaces; type create C" in mistakes[0]["error"] and "0 operations" in mistakes[1]["error"]
        client.type('"no string')
        assert "begins like a JSON string" in (await client.result())["error"]
        client.type("crate c2")
        refused = await client.result()
        assert refused["kind"] == "usage" and "did you mean create?" in refused["error"]

    behind(tmp_path, scenario)


def test_each_client_has_a_conversation_of_its_own_in_mind(tmp_path: Path) -> None:
    async def scenario(node: Node) -> None:
        node.engine.apply(Create("c1"), 3)
        one, other = await node.client(), await node.client()
        one.type("use c1\nview")
        other.type("view")
        assert (await one.result())["ok"] and (await one.result())["context"] == "c1"
        assert "too few words" in (await other.result())["error"]

    behind(tmp_path, scenario)


def test_at_the_end_of_its_input_a_client_still_gets_its_answers(tmp_path: Path) -> None:
    async def scenario(node: Node) -> None:
        client = await node.client()
        client.type("create c1\ncreate c2")
        client.writer.write_eof()
        await node.submitted(2)
        node.engine.decide()
        node.engine.decide()
        assert [(await client.result())["context"] for _ in range(2)] == ["c1", "c2"]
        assert await client.reader.read() == b""

    behind(tmp_path, scenario)


@pytest.mark.parametrize("how", ["close", "reset"])
def test_who_leaves_is_forgotten_and_cancels_nothing(tmp_path: Path, how: str) -> None:
    async def scenario(node: Node) -> None:
        client = await node.client()
        client.type("create c1")
        await node.submitted()
        if how == "close":
            client.writer.close()
        else:
            client.writer.transport.abort()
        await node.forgotten.wait()
        node.engine.decide()
        assert "c1" in node.engine.store.conversations

    behind(tmp_path, scenario)


def test_there_is_a_bound_of_clients(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_socket, "MAX_CLIENTS", 2)

    async def scenario(node: Node) -> None:
        clients = [await node.client() for _ in range(2)]
        for client in clients:
            client.type("status")
            assert (await client.result())["ok"]
        third = await node.client()
        assert (await third.record())["event"] == "refused" and await third.reader.read() == b""
        clients[0].type("exit")
        assert (await clients[0].result())["ok"]
        await node.forgotten.wait()
        assert await clients[0].reader.read() == b""
        fourth = await node.client()
        fourth.type("status")
        assert (await fourth.result())["ok"]

    behind(tmp_path, scenario)


def test_a_client_who_does_not_read_loses_events_and_holds_up_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_socket, "BOUND", 100_000)

    async def scenario(node: Node) -> None:
        slow = await node.client()
        slow.type("status")
        assert (await slow.result())["ok"]
        slow.writer.transport.pause_reading()  # type: ignore[attr-defined]
        (session,) = node.sessions
        for number in range(2000):
            node.engine.apply(Create(f"{number}-" + "x" * 50), 3)
        quick = await node.client()
        quick.type("status")
        assert (await quick.result())["ok"]
        slow.writer.transport.resume_reading()  # type: ignore[attr-defined]
        seen = 0
        while (record := await slow.record())["event"] == "created":
            seen += 1
            if seen == 50:
                await asyncio.sleep(0)
                node.engine.apply(Create("last"), 3)
        assert record["event"] == "dropped" and seen + record["count"] >= 2000
        assert session in node.sessions

    behind(tmp_path, scenario)


def test_what_an_earlier_process_left_is_replaced(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(socket_path(tmp_path, ME)))

    async def scenario(node: Node) -> None:
        client = await node.client()
        client.type("status")
        assert (await client.result())["ok"]

    behind(tmp_path, scenario)


def test_long_paths(tmp_path: Path) -> None:
    folder = tmp_path / ("d" * 100)
    folder.mkdir()

    async def scenario(node: Node) -> None:
        with address(node.control.path) as name:
            reader, writer = await asyncio.open_unix_connection(name)
        client = Client(reader, writer)
        client.type("status")
        assert (await client.result())["ok"]

    behind(folder, scenario)


def test_a_flood_of_clients_holds_up_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """500 silent ones, half of them half closed, a line without an end, and one who asks much and reads nothing: who
    has said something stays, who comes gets a place, memory is bounded, and one line tells of it."""

    async def scenario(node: Node) -> None:
        first = await node.client()
        first.type("create c1")
        await node.submitted()
        node.engine.decide()
        await first.result()
        endless, deaf = await node.client(), await node.client()
        deaf.type("help\n" * 2_000)
        tracemalloc.start()
        endless.writer.write(b"x" * 100)
        silent = [await node.client() for _ in range(500)]
        for client in silent[::2]:
            client.writer.write_eof()
        for _ in range(64):
            endless.writer.write(b"x" * 500_000)
            await endless.writer.drain()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 3 * control_socket.BOUND, "the line without an end has 32 MB"
        last = await node.client()
        for client in (first, last):
            client.type("status")
            assert (await client.result())["node"] == ME
        assert (await silent[0].record())["event"] in ("refused", "created"), "it is told why, or was gone before"
        assert len(node.sessions) <= control_socket.MAX_CLIENTS
        for client in (first, last, endless, deaf, *silent):
            client.writer.transport.abort()

    behind(tmp_path, scenario)
    told = [record.getMessage() for record in caplog.records]
    assert len([line for line in told if "is the limit" in line]) == 1 and len(told) == 1, told
