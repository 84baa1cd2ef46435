"""Runs a user's commands at a node of this machine, through its control socket."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

from console import Result
from console.control_socket import address, socket_path
from orchestrator.errors import CommandError

LIMIT = 64 * 1024 * 1024
"""Bytes of one line; a node's longest answers are below that."""
LOAD = "load"
"""The conversation that `load` creates again and again: refused but for the first time, and decided all the same."""


class NodeUnreachable(CommandError):
    """The node did not take a command, or did not answer; a sentence for the operator."""


class NodeClient:
    """Each command has a connection of its own, and is answered by one line of JSON with the event `result`."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir

    async def run(self, node: int, command: str, timeout_s: float) -> Result:
        """The command's result. Raises NodeUnreachable."""
        try:
            async with asyncio.timeout(timeout_s):
                return await self._ask(node, command)
        except TimeoutError:
            raise NodeUnreachable(f"node {node} has not answered within {timeout_s:g} s: {command}") from None
        except (OSError, ValueError) as error:
            raise NodeUnreachable(f"node {node} cannot be asked: is it up, on this machine? ({error})") from error

    async def load(self, node: int, count: int, timeout_s: float) -> float:
        """Has `count` operations decided that change nothing but the first; returns the seconds that took. Raises
        NodeUnreachable."""
        began = time.monotonic()
        try:
            async with asyncio.timeout(timeout_s):
                await self._repeat(node, f"create {LOAD}", count)
        except TimeoutError:
            raise NodeUnreachable(f"node {node} has not had {count} operations decided in {timeout_s:g} s") from None
        except (OSError, ValueError) as error:
            raise NodeUnreachable(f"node {node} cannot be asked: is it up, on this machine? ({error})") from error
        return time.monotonic() - began

    async def _repeat(self, node: int, command: str, count: int) -> None:
        with address(socket_path(self._data_dir, node)) as name:
            reader, writer = await asyncio.open_unix_connection(name, limit=LIMIT)

        async def write() -> None:
            for _ in range(count):
                writer.write(f"{command}\n".encode())
                await writer.drain()

        writing = asyncio.ensure_future(write())
        try:
            answered = 0
            while answered < count and (line := await reader.readline()):
                answered += json.loads(line).get("event") == "result"
            if answered < count:
                raise ConnectionResetError("it closed the connection")
        finally:
            writing.cancel()
            await asyncio.wait([writing])
            writer.close()

    async def _ask(self, node: int, command: str) -> Result:
        with address(socket_path(self._data_dir, node)) as name:
            reader, writer = await asyncio.open_unix_connection(name, limit=LIMIT)
        try:
            writer.write(f"{command}\n".encode())
            await writer.drain()
            async for line in reader:
                event = json.loads(line)
                if event.get("event") == "result":
                    return {key: value for key, value in event.items() if key not in ("event", "line")}
            raise ConnectionResetError("it closed the connection")
        finally:
            writer.close()
