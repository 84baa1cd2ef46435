"""TCP proxies between nodes and members of etcd, which can be cut."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from enum import StrEnum

_BLOCK = 65536


class Cut(StrEnum):
    """How a link fails."""

    SILENT = "silent"
    """Nothing passes any more, and nobody is told."""
    DEAF = "deaf"
    """What the node sends arrives; what the member answers does not."""
    RESET = "reset"
    """Connections are reset, and new ones at once."""


class Link:
    """From a node to the member at `port`."""

    def __init__(self, port: int) -> None:
        self.port = 0
        self._to = port
        self._cut: Cut | None = None
        self._mended = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def cut(self, how: Cut) -> None:
        self._cut = how
        self._mended.clear()
        if how is Cut.RESET:
            self._drop_all()

    def mend(self) -> None:
        """What came meanwhile is lost with its connections, as after a while on a real network."""
        if self._cut is not None:
            self._cut = None
            self._drop_all()
            self._mended.set()

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        self._drop_all()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _drop_all(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        with contextlib.suppress(OSError, asyncio.CancelledError):
            if self._cut is not Cut.RESET:
                await self._passes(Cut.SILENT)
                await self._connect(reader, writer)
        _reset(writer)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Until either end closes."""
        answers, requests = await asyncio.open_connection("127.0.0.1", self._to)
        ways = [asyncio.ensure_future(self._pass(reader, requests, Cut.SILENT)),
                asyncio.ensure_future(self._pass(answers, writer, Cut.SILENT, Cut.DEAF))]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            requests.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *stopped_by: Cut) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_BLOCK):
                await self._passes(*stopped_by)
                writer.write(data)
                await writer.drain()

    async def _passes(self, *stopped_by: Cut) -> None:
        while self._cut in stopped_by:
            await self._mended.wait()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Closes it so that its peer sees a reset, not an end."""
    at = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):  # it may be closed already
        at.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
