"""The HTTP API never keeps a node from running, and says what keeps it from serving."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from config.config import parse
from launcher.http_api import NodeHttp
from tests.free_ports import free_port
from tests.unit.server.session_tools import ME
from tests.unit.server.test_node import Node


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (ME, "HTTP API at http://127.0.0.1:"), (ME + 1, "another program uses that port"),
        (65_535, "there is no such port"), (0, "delete it, and a new one is drawn"),
    ],
)
def test_what_it_says(tmp_path: Path, number: int, words: str) -> None:
    async def main() -> None:
        node = Node()
        said: asyncio.Queue[str] = asyncio.Queue()
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = free_port() - ME if number == ME else taken.getsockname()[1] - ME - 1
            text = f'{{"nodes": [{{"id": 2}}], "data_dir": "d", "http": {{"port": {port}}}}}'
            config = parse(text, tmp_path / "c.json", ["fake"])
            if number == 0:
                config.data_dir.mkdir()
                (config.data_dir / "http.key").touch(0o600)
            http = NodeHttp(config, number, node.service, said.put_nowait, lambda: (0, 0))
            http.start()
            async with asyncio.timeout(20):
                assert words in await said.get()
            await http.close()

    asyncio.run(main())
