"""Runs a user's commands at a node of this machine, through its control socket."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from api.client import Client, Reply
from api.errors import ConnectionLost, NoAnswer, Unreachable
from api.sockets import socket_path
from orchestrator.errors import CommandError

LOAD = "load"
"""The conversation that `load` creates repeatedly: all but the first are refused, but decided all the same."""
MAX_UNANSWERED = 4096
"""The most commands of `load` in flight at once."""


class NodeUnreachable(CommandError):
    """The node did not accept a command, or did not answer; a sentence for the operator."""


class NodeClient:
    """Each command has a connection of its own."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir

    async def run(self, node: int, line: str, timeout_s: float) -> dict[str, Any]:
        """What the node answers to a line as its users type it, a failure too: the name of the `command` and the keys
        of its result. Raises NodeUnreachable."""
        async with self._connected(node) as client:
            reply = await client.run_line(line, timeout_s)
        return {key: value for key, value in reply.values().items() if key not in ("event", "line")}

    async def load(self, node: int, count: int, timeout_s: float) -> float:
        """Gets `count` operations decided, which change nothing except for the first; returns the duration. Raises
        NodeUnreachable."""
        began = time.monotonic()
        try:
            async with self._connected(node) as client, asyncio.timeout(timeout_s):
                unanswered: deque[asyncio.Future[Reply]] = deque()
                for _ in range(count):
                    unanswered.append(client.submit(f"create {LOAD}"))
                    if len(unanswered) > MAX_UNANSWERED:
                        await unanswered.popleft()
                await asyncio.gather(*unanswered)
        except TimeoutError:
            raise NodeUnreachable(f"node {node} did not get {count} operations decided in {timeout_s:g} s") from None
        return time.monotonic() - began

    @contextlib.asynccontextmanager
    async def _connected(self, node: int) -> AsyncIterator[Client]:
        try:
            async with await Client.connect(socket_path(self._data_dir, node)) as client:
                yield client
        except (NoAnswer, ConnectionLost, Unreachable) as error:
            raise NodeUnreachable(f"node {node}: {error}") from error
