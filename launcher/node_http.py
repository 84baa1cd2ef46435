"""The node's HTTP API, if the configuration wants one: loaded when the node runs, and never a reason to stop."""

from __future__ import annotations

import asyncio
import errno
import importlib
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from api.base import Event
from config.config import Config
from config.http_settings import HttpSettings
from launcher.protection import tls_of
from net.tls import TlsError, node_name
from server.node import NodeService
from web.keys import KeyFileError

if TYPE_CHECKING:
    from web.node_server import NodeServer


class NodeHttp:
    """`say` tells the user what prevents it; `traffic` gives the bytes received from and sent to other nodes."""

    def __init__(
        self, config: Config, number: int, service: NodeService, say: Callable[[str], None],
        traffic: Callable[[], tuple[int, int]],
    ) -> None:
        self._config = config
        self._number = number
        self._service = service
        self._say = say
        self._traffic = traffic
        self._server: NodeServer | None = None
        self._starting: asyncio.Task[None] | None = None

    def start(self) -> None:
        if self._config.http is not None:
            self._starting = asyncio.create_task(self._start(self._config.http))
            self._starting.add_done_callback(self._started)

    def tell(self, event: Event) -> None:
        """Something about the node as a whole."""
        if self._server is not None:
            self._server.tell(event)

    async def close(self) -> None:
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.wait([self._starting])
        if self._server is not None:
            await self._server.close()

    def _started(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._say(f"no HTTP API: internal error ({error!r})")

    async def _start(self, http: HttpSettings) -> None:
        await asyncio.to_thread(importlib.import_module, "web.node_server")
        from web.node_server import NodeServer

        try:
            tls = tls_of(
                self._config, node_name(self._number),
                client_certificates=self._config.tls is not None and self._config.tls.http_clients,
            )
            server = NodeServer(http, self._number, self._service, self._config.data_dir, self._traffic, tls)
        except (KeyFileError, TlsError) as error:
            self._say(f"no HTTP API: {error}")
            return
        self._server = server
        where = f"{http.host}:{http.port_of(self._number)}"
        try:
            await server.start()
        except (OSError, OverflowError) as error:
            self._say(f'no HTTP API at {where}: {_reason(error)}; "http" in {self._config.path} sets host and port')
        else:
            self._say(f"HTTP API at {self._config.http_scheme}://{where} (`./run.sh key` prints a key)")


def _reason(error: OSError | OverflowError) -> str:
    if isinstance(error, OverflowError):
        return "there is no such port"
    if error.errno == errno.EADDRINUSE:
        return "another program uses that port"
    return os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
