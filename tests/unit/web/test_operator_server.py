"""The orchestrator over HTTP: its commands, what happens as a stream, and the files of the live page."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

import web.operator_events
import web.operator_server
from config.http_settings import HttpSettings
from tests.free_ports import free_port
from tests.unit.net.net_tools import Node, until
from tests.unit.orchestrator.operator_tools import ROOT, Operator, operator_of
from tests.unit.web.web_tools import KEY, KEYS, WATCHER, WRITER
from web.operator_server import OperatorServer
from web.page_files import FOLDER, PageFile, page_files

MAX_PAGE = 100 * 1024


class At:
    def __init__(self, operator: Operator, client: httpx.AsyncClient, server: OperatorServer, port: int) -> None:
        self.operator, self.client, self.port = operator, client, port
        self._server = server
        self._closing: asyncio.Task[None] | None = None

    def close(self) -> asyncio.Task[None]:
        """As when the orchestrator leaves."""
        self._closing = self._closing or asyncio.create_task(self._server.close())
        return self._closing

    async def call(
        self, method: str, path: str, body: Any = None, key: str | None = KEY, **headers: str
    ) -> httpx.Response:
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        return await self.client.request(method, path, json=body, headers=headers)

    async def stream(self, until_name: str, after: str = "") -> list[tuple[str, str, Any]]:
        """(id, name, data) of each event up to one of that name."""
        headers = {"Authorization": f"Bearer {WATCHER}", **({"Last-Event-ID": after} if after else {})}
        found: list[tuple[str, str, Any]] = []
        async with self.client.stream("GET", "/api/events", headers=headers) as response:
            fields: dict[str, str] = {}
            async for line in response.aiter_lines():
                name, _, value = line.partition(": ")
                fields[name] = value
                if line:
                    continue
                found.append((fields.get("id", ""), fields.get("event", ""), json.loads(fields.get("data", "null"))))
                fields = {}
                if found[-1][1] == until_name:
                    return found
        raise AssertionError(f"no {until_name}: {found}")


def serving(folder: Path, scenario: Callable[[At], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(20), operator_of(folder) as operator:
            port = free_port()
            http = HttpSettings(port=port, keys=KEYS)
            folder.joinpath("data").mkdir(exist_ok=True)
            config = msgspec.structs.replace(operator.config, http=http)
            server = OperatorServer(http, config, operator.orchestrator)
            await server.start()
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
                at = At(operator, client, server, port)
                await scenario(at)
                await at.close()

    asyncio.run(main())


def test_faults_need_a_key_to_operate_and_looking_one_to_read(tmp_path: Path) -> None:
    async def scenario(at: At) -> None:
        for key, looks, breaks in ((None, 401, 401), (WATCHER, 200, 403), (WRITER, 200, 403), (KEY, 200, 200)):
            assert (await at.call("GET", "/api/status", key=key)).status_code == looks
            assert (await at.call("GET", "/api/log?count=3", key=key)).status_code == looks
            assert (await at.call("GET", "/api/stories", key=key)).status_code == looks
            assert (await at.call("POST", "/api/failLink", {"link": [1, 2]}, key)).status_code == breaks
            assert (await at.call("POST", "/api/hold", {}, key)).status_code == breaks
        assert await at.operator.links() == [[1, 2], [2, 1]]
        refused = await at.call("POST", "/api/failLink", {"link": [1, 9]})
        assert refused.status_code == 400 and "there is no node 9" in refused.json()["error"]
        assert (await at.call("POST", "/api/loss", {"percent": 101})).status_code == 400
        assert (await at.call("POST", "/api/loss", {"percent": 1, "words": "w" * 2001})).status_code == 400
        assert (await at.call("POST", "/api/pauseNode", {"node": 4})).status_code == 409
        assert (await at.call("POST", "/api/watch", {"on": True})).status_code == 404, "there is the stream"
        facts = (await at.call("GET", "/api/page")).json()
        assert facts["node"] == 0 and facts["ports"] == {str(n): at.port + n for n in range(6)}
        assert (await at.call("GET", "/api/status", key=facts["read_key"])).status_code == 200
        assert (await at.call("POST", "/api/heal", {}, facts["read_key"])).status_code == 403
        assert "read_key" not in (await at.call("GET", "/api/page", key=WRITER)).json()

    serving(tmp_path, scenario)


def test_what_takes_long_goes_on_without_its_client(tmp_path: Path) -> None:
    async def scenario(at: At) -> None:
        script = tmp_path / "s.txt"
        script.write_text("loss 3\n")
        answer = await at.call("POST", "/api/script?wait=0.01", {"file": str(script), "paused": True})
        assert answer.status_code == 202 and "still being carried out" in answer.json()["text"]
        assert (await at.call("POST", "/api/script", {"file": str(script)})).status_code == 409, "one at a time"
        assert (await at.call("POST", "/api/continue", {})).status_code == 200
        await until(lambda: at.operator.orchestrator.scripts.playing().file is None)
        assert [entry["what"] for entry in (await at.operator.ok("log"))["entries"]] == ["loss 3"]

    serving(tmp_path, scenario)


def test_a_stream_begins_with_how_it_is_and_goes_on_where_it_broke_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web.operator_events, "KEPT", 4)
    monkeypatch.setattr(web.operator_server, "MAX_WATCHERS", 1)

    async def scenario(at: At) -> None:
        async with Node(at.operator.port, 1, cluster="demo") as node:
            await until(lambda: at.operator.relay.is_up(1))
            first = await at.stream("playing")
            assert [name for _, name, _ in first if name] == ["happened", "node_up", "status", "holding", "playing"]
            assert not any(number for number, name, _ in first if name == "status"), "it is told again anyway"
            last = next(number for number, name, _ in reversed(first) if number)
            await until(lambda: not at.operator.relay.tap.active)
            await at.call("POST", "/api/failLink", {"link": [1, 2]})
            resumed = await at.stream("status", last)
            assert [data["text"] for _, name, data in resumed if name == "happened"] == ["link 1-2 is cut"]
            for percent in range(6):
                await at.call("POST", "/api/loss", {"percent": percent})
            assert next(name for _, name, _ in await at.stream("status", last) if name) == "gap"
            assert (await at.call("GET", "/api/events", **{"Last-Event-ID": "x"})).status_code == 400
            await until(lambda: not node.link.wants_labels)
            watching = asyncio.create_task(at.stream("closing"))
            await until(lambda: node.link.wants_labels)
            assert (await at.call("GET", "/api/events")).status_code == 429
            at.close()
            assert (await watching)[-1][2]["reason"] == web.operator_events.FAREWELL

    serving(tmp_path, scenario)


def test_a_stream_that_is_behind_ends_at_once() -> None:
    reader = web.operator_events._Reader()

    async def rest() -> list[bytes | None]:
        reader.add(b"last")
        reader.end()
        return [await asyncio.wait_for(reader.take(), 5) for _ in range(3)]

    assert asyncio.run(rest()) == [b"last", None, None]


def test_the_pages_files_hold_no_secret_and_let_nothing_else_in(tmp_path: Path) -> None:
    async def scenario(at: At) -> None:
        for file in page_files():
            answer = await at.call("GET", file.path, key=None)
            assert answer.status_code == 200 and answer.content == file.body
            assert answer.headers["Content-Type"].startswith(file.content_type)
            policy = answer.headers["Content-Security-Policy"]
            assert "default-src 'none'; script-src 'self'; style-src 'self'; " in policy and "unsafe" not in policy
            assert f"127.0.0.1:{at.port + 5}" in policy and "*" not in policy
            assert (await at.call("HEAD", file.path, key=None)).status_code == 200
            again = await at.call("GET", file.path, key=None, **{"If-None-Match": answer.headers["ETag"]})
            assert again.status_code == 304 and not again.content
        for path in ("/page/../web/keys.py", "/page/%2e%2e/keys.py", "/page/", "/page/main.js/", "//etc/passwd"):
            assert (await at.call("GET", path, key=None)).status_code in (401, 404), path
        assert (await at.call("GET", "/", key=None, Host="evil.example")).status_code == 403
        assert (await at.call("POST", "/", {}, key=None)).status_code in (401, 405)

    serving(tmp_path, scenario)


def loaded(path: str, files: dict[str, PageFile]) -> set[str]:
    """What a browser loads with this file."""
    found, left = set(), [path]
    while left:
        found.add(path := left.pop())
        for name in re.findall(r'^(?:import|export) .* from "(.*)"$', files[path].body.decode(), re.MULTILINE):
            target = (FOLDER / path.removeprefix("/page/")).parent / name
            left += {f"/page/{target.resolve().relative_to(FOLDER)}"} - found
    return found


def test_each_view_of_the_page_is_small_and_complete() -> None:
    files = {file.path: file for file in page_files()}
    views = re.findall(r'import\("\.(/.*?)"\)', files["/page/main.js"].body.decode())
    assert len(views) == 3
    for view in views:
        with_it = {"/", "/page/icon.svg", "/page/style.css"} | loaded("/page/main.js", files)
        with_it |= loaded(f"/page{view}", files)
        with_it |= {path for path in files if path == f"/page{view.replace('view.js', 'style.css')}"}
        assert sum(len(files[path].body) for path in with_it) < MAX_PAGE, view
    for path, file in files.items():
        for line in file.body.decode().splitlines():
            elsewhere = "http://" in line.replace("http://www.w3.org/2000/svg", "")
            assert "innerHTML" not in line and not elsewhere, (path, line)


def test_metrics_tell_what_the_relay_does(tmp_path: Path) -> None:
    async def scenario(at: At) -> None:
        async with contextlib.AsyncExitStack() as stack:
            nodes = {
                number: await stack.enter_async_context(Node(at.operator.port, number, cluster="demo"))
                for number in (1, 2, 3)
            }
            for node in nodes.values():
                await node.up()
            nodes[1].link.send(2, b"12345")
            nodes[1].link.send(3, b"123", urgent=True)
            await nodes[2].count(1)
            await nodes[3].count(1)
            for command in ("loss 2 3 100", "failLink 1 3 --oneway", "delay 10"):
                await at.operator.ok(command)
            for sender, receiver in ((2, 3), (1, 3), (1, 5)):
                nodes[sender].link.send(receiver, b"lost")
            await until(lambda: at.operator.relay.counts.lost["disconnected"] == 1)
            text = (await at.call("GET", "/metrics", key=WATCHER)).text
            lines = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
            found = {name.removeprefix("consensusllm_relay_"): float(value) for name, _, value in lines}
            size = 9
            expected = {
                "connected_nodes": 3, "members": 5, "links": 20, "held_messages": 0,
                'messages_total{kind="ordinary"}': 1, 'bytes_total{kind="ordinary"}': size + 5,
                'messages_total{kind="urgent"}': 1, 'messages_total{kind="hint"}': 0,
                'received_messages_total{node="1"}': 4, 'sent_messages_total{node="2"}': 1,
                'sent_bytes_total{node="3"}': size + 3,
                'dropped_messages_total{cause="loss"}': 1, 'dropped_messages_total{cause="cut"}': 1,
                "faulty_links": 20, 'links_with_fault{fault="cut"}': 1, 'links_with_fault{fault="loss"}': 2,
                'links_with_fault{fault="delay"}': 20, 'links_with_fault{fault="reorder"}': 0,
            }
            assert {name: found.get(name) for name in expected} == expected
            assert (await at.call("GET", "/metrics", key=None)).status_code == 401
            shown = re.findall(r"consensusllm_relay_(\w+)", (ROOT / "deploy" / "grafana.json").read_text())
            assert set(shown) <= {name.split("{")[0] for name in found}

    serving(tmp_path, scenario)
