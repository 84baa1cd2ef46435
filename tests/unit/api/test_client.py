"""The client of a control socket, and of a process's pipes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from api.client import Client, ReceivedEvent, Reply, run_line
from api.errors import (
    BUSY,
    BusyFailed,
    CommandFailed,
    ConnectionLost,
    InvalidCommandFailed,
    NoAnswer,
    Unreachable,
)
from api.node_commands import CreateCommand, ViewCommand
from api.node_events import CreatedEvent
from api.node_results import CreateResult, ViewResult
from api.sockets import address


class Server:
    """Answers as the test says: `script` gets each line that comes in, and returns the lines to be said."""

    def __init__(self, path: Path, script: Callable[[str], list[dict[str, Any]]]) -> None:
        self.path = path
        self.lines: list[str] = []
        self.writers: list[asyncio.StreamWriter] = []
        self._script = script

    async def start(self) -> None:
        with address(self.path) as name:
            self._server = await asyncio.start_unix_server(self._serve, name)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        number = 0
        async for line in reader:
            number += 1
            self.lines.append(line.decode().rstrip("\n"))
            for said in self._script(self.lines[-1]):
                if said.get("event") == "close":
                    writer.close()
                    return
                writer.write(json.dumps({"line": number, **said}).encode() + b"\n")

    def close(self) -> None:
        self._server.close()
        for writer in self.writers:
            writer.close()


def result(**values: Any) -> dict[str, Any]:
    return {"event": "result", "command": "x", "ok": True, **values}


def at(
    folder: Path, script: Callable[[str], list[dict[str, Any]]], scenario: Callable[[Client, Server], Awaitable[None]]
) -> None:
    async def run() -> None:
        async with asyncio.timeout(20):
            server = Server(folder / "node-1.sock", script)
            await server.start()
            try:
                async with await Client.connect(server.path) as client:
                    await scenario(client, server)
            finally:
                server.close()

    asyncio.run(run())


def test_a_typed_command_gets_its_typed_result(tmp_path: Path) -> None:
    def script(line: str) -> list[dict[str, Any]]:
        if "view" not in line:
            return [{"event": "created", "context": "c1", "origin": 1}, result(context="c1")]
        response = {"text": "b", "model": "m", "seconds": 1}
        turn = {"query": "a", "kind": "query", "candidates": {"3": response}, "chosen": 3, "cancelled": False}
        return [result(context="c1", turns=[turn], stale=False, new_key=7)]

    async def scenario(client: Client, server: Server) -> None:
        made: CreateResult = await client.run(CreateCommand("c1"))
        assert made == CreateResult(context="c1")
        view: ViewResult = await client.run(ViewCommand("c1"))
        assert view.turns[0].candidates[3].text == "b"
        assert json.loads(server.lines[0]) == {"command": "create", "context": "c1"}

    at(tmp_path, script, scenario)


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ({"error": "there is one already"}, CommandFailed),
        ({"error": "too few words", "kind": "usage"}, InvalidCommandFailed),
        ({"error": f"{BUSY}: too much"}, BusyFailed),
    ],
)
def test_failures_are_typed(tmp_path: Path, said: dict[str, Any], kind: type[CommandFailed]) -> None:
    async def scenario(client: Client, server: Server) -> None:
        with pytest.raises(CommandFailed) as failed:
            await client.run(CreateCommand("c1"))
        assert type(failed.value) is kind and str(failed.value) == said["error"]
        reply = await client.run_line("create c1")
        assert reply.failure is not None and reply.failure.error == said["error"]
        assert reply.values()["command"] == "x"

    at(tmp_path, lambda line: [result(ok=False, **said)], scenario)


def test_lines_may_be_under_way_together_and_have_line_feeds(tmp_path: Path) -> None:
    async def scenario(client: Client, server: Server) -> None:
        replies = [client.submit(text) for text in ("query c1 two\nlines", "second", "third")]
        await client.drain()
        assert [(await reply).values()["line"] for reply in replies] == [1, 2, 3]
        assert json.loads(server.lines[0]) == "query c1 two\nlines"

    at(tmp_path, lambda line: [result()], scenario)


def test_a_command_without_an_answer_says_what_it_waits_for(tmp_path: Path) -> None:
    events: list[ReceivedEvent] = []

    def script(line: str) -> list[dict[str, Any]]:
        return [{"event": "waiting", "command": "create", "reason": "no majority reachable"}]

    async def scenario(_: Client, server: Server) -> None:
        async with await Client.connect(server.path, on_event=events.append) as client:
            with pytest.raises(NoAnswer, match=r"within 2 s \(no majority reachable\); a change may still") as gone:
                await client.run(CreateCommand("c1"), timeout_s=2)
            assert gone.value.waiting_for == "no majority reachable" and [event.name for event in events] == ["waiting"]

    at(tmp_path, script, scenario)


def test_an_answer_after_the_timeout_belongs_to_its_own_line(tmp_path: Path) -> None:
    def script(line: str) -> list[dict[str, Any]]:
        late = {**result(context="late"), "line": 1}
        return [] if "first" in line else [late, result(context="second")]

    async def scenario(client: Client, server: Server) -> None:
        with pytest.raises(NoAnswer):
            await client.run_line("first", timeout_s=0.05)
        assert (await client.run_line("second")).values()["context"] == "second"

    at(tmp_path, script, scenario)


def test_a_lost_connection_is_told_to_everybody_who_waits(tmp_path: Path) -> None:
    async def scenario(client: Client, server: Server) -> None:
        replies = [client.submit(text) for text in ("first", "leave")]
        for reply in replies:
            with pytest.raises(ConnectionLost, match="a change may still take effect"):
                await reply
        with pytest.raises(ConnectionLost):
            await client.run(CreateCommand("c1"))
        await client.ended()

    at(tmp_path, lambda line: [{"event": "close"}] if "leave" in line else [], scenario)


def test_a_client_that_is_refused_is_told_why(tmp_path: Path) -> None:
    def script(line: str) -> list[dict[str, Any]]:
        return [{"event": "refused", "reason": "64 clients are here already"}, {"event": "close"}]

    async def scenario(client: Client, server: Server) -> None:
        with pytest.raises(Unreachable, match="the node refuses: 64 clients are here already"):
            await client.run(CreateCommand("c1"))

    at(tmp_path, script, scenario)


def test_events_are_iterated(tmp_path: Path) -> None:
    def script(line: str) -> list[dict[str, Any]]:
        events = [{"event": "created", "context": f"c{number}", "origin": 2} for number in range(3)]
        return [*events, {"event": "close"}]

    async def scenario(client: Client, server: Server) -> None:
        events = client.events()
        first = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0)
        client.submit("go")
        assert (await first).decode(CreatedEvent).context == "c0"
        assert [event.name async for event in events] == ["created", "created"]

    at(tmp_path, script, scenario)


def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match="this node is not running: nothing is listening at") as missing:
        run_line(tmp_path / "node-1.sock", "status", 1)
    assert missing.value.missing


def test_a_line_without_an_event_loop(tmp_path: Path) -> None:
    async def scenario(client: Client, server: Server) -> None:
        reply: Reply = await asyncio.to_thread(run_line, server.path, "status", 5)
        assert reply.values()["ok"]

    at(tmp_path, lambda line: [result()], scenario)


def test_the_pipes_of_a_process() -> None:
    program = (
        "import sys, json\n"
        "for number, line in enumerate(sys.stdin, 1):\n"
        "    print(json.dumps({'event': 'ready'}), flush=True)\n"
        "    print(json.dumps({'event': 'result', 'line': number, 'ok': True, 'context': line.strip()}), flush=True)\n"
    )

    async def scenario() -> None:
        process = await asyncio.create_subprocess_exec(
            "python3", "-c", program, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        assert process.stdin is not None and process.stdout is not None
        client = Client(process.stdout, process.stdin, name="the process")
        assert (await client.run_line("create c1")).values()["context"] == "create c1"
        assert json.loads((await client.run(CreateCommand("c2"))).context) == {"command": "create", "context": "c2"}
        process.kill()
        await process.wait()
        with pytest.raises(ConnectionLost, match="the process exited before it answered"):
            await client.run_line("create c3")
        await client.close()

    asyncio.run(scenario())
