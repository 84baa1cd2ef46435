"""A node whose engine decides at once, behind its real HTTP server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx

from config.http_settings import HttpKey, HttpSettings
from tests.free_ports import free_port
from tests.unit.server.session_tools import ME
from tests.unit.server.test_node import Node
from web.node_server import NodeServer

KEY = "operate-0123456789abcdef"
WATCHER = "watcher-0123456789abcdef"
WRITER = "writer-0123456789abcdef"
KEYS = (KEY, HttpKey(WATCHER, "read"), HttpKey(WRITER, "write"))


class At:
    """The server, and a client of it."""

    def __init__(self, node: Node, server: NodeServer, client: httpx.AsyncClient, folder: Path) -> None:
        self.node = node
        self.server = server
        self.client = client
        self.folder = folder
        self._closing: asyncio.Task[None] | None = None

    def close(self) -> asyncio.Task[None]:
        """As when the node leaves."""
        self._closing = self._closing or asyncio.create_task(self.server.close())
        return self._closing

    async def call(
        self, method: str, path: str, body: Any = None, key: str | None = KEY, **headers: str
    ) -> httpx.Response:
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        return await self.client.request(method, path, json=body, headers=headers)

    async def get(self, path: str, key: str | None = KEY, **headers: str) -> httpx.Response:
        return await self.call("GET", path, key=key, **headers)

    async def post(self, path: str, body: Any = None, key: str | None = KEY, **headers: str) -> httpx.Response:
        return await self.call("POST", path, body or {}, key, **headers)


@contextlib.asynccontextmanager
async def deciding(node: Node) -> AsyncIterator[None]:
    """What is submitted is decided soon."""

    async def decide() -> None:
        while True:
            while node.engine.waiting:
                node.engine.decide()
            await asyncio.sleep(0.001)

    task = asyncio.create_task(decide())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


def serving(
    folder: Path, scenario: Callable[[At], Awaitable[None]], *, decides: bool = True, **settings: Any
) -> None:
    async def main() -> None:
        async with asyncio.timeout(20):
            node = Node()
            node.engine.position = node.engine.status().applied
            node.service.start()
            port = free_port()
            http = HttpSettings(port=port - ME, **{"keys": KEYS, **settings})
            server = NodeServer(http, ME, node.service, folder, lambda: (1, 2))
            await server.start()
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
                at = At(node, server, client, folder)
                async with deciding(node) if decides else contextlib.nullcontext():
                    await scenario(at)
                await at.close()
            await node.service.close()

    asyncio.run(main())
