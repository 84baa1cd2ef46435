"""A process's HTTP API, if the configuration wants one: loaded when the process runs, and never a reason to stop."""

from __future__ import annotations

import asyncio
import errno
import importlib
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from api.base import Event
from config.config import Config
from config.http_settings import HttpSettings
from launcher.protection import tls_of
from net.sockets import authority
from net.tls import NETWORK, TlsContexts, TlsError, node_name
from web.keys import KeyFileError

if TYPE_CHECKING:
    from orchestrator.service import Orchestrator
    from server.node import NodeService
    from web.node_server import NodeServer


class Server(Protocol):
    async def start(self) -> None:
        """Raises OSError."""

    async def close(self) -> None: ...


class HttpApi:
    """Of node `number`, or of the orchestrator, if 0. `say` tells the user what prevents it."""

    def __init__(self, config: Config, number: int, say: Callable[[str], None]) -> None:
        self._config = config
        self._number = number
        self._say = say
        self._server: Server | None = None
        self._starting: asyncio.Task[None] | None = None

    def start(self) -> None:
        if self._config.http is not None:
            self._starting = asyncio.create_task(self._start(self._config.http))
            self._starting.add_done_callback(self._started)

    async def close(self) -> None:
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.wait([self._starting])
        if self._server is not None:
            await self._server.close()

    async def make(self, http: HttpSettings, tls: TlsContexts | None) -> Server:
        """Raises KeyFileError."""
        raise NotImplementedError

    def _started(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._say(f"no HTTP API: internal error ({error!r})")

    async def _start(self, http: HttpSettings) -> None:
        try:
            tls = tls_of(
                self._config, node_name(self._number) if self._number else NETWORK,
                client_certificates=self._config.tls is not None and self._config.tls.http_clients,
            )
            server = await self.make(http, tls)
        except (KeyFileError, TlsError) as error:
            self._say(f"no HTTP API: {error}")
            return
        self._server = server
        where = authority(http.host, http.port_of(self._number))
        try:
            await server.start()
        except (OSError, OverflowError) as error:
            self._say(f'no HTTP API at {where}: {_reason(error)}; "http" in {self._config.path} sets host and port')
        else:
            self._say(self.ready(where))

    def ready(self, where: str) -> str:
        return f"HTTP API at {self._config.http_scheme}://{where} (`./run.sh key` prints a key)"


class NodeHttp(HttpApi):
    """`traffic` gives the bytes received from and sent to other nodes."""

    def __init__(
        self, config: Config, number: int, service: NodeService, say: Callable[[str], None],
        traffic: Callable[[], tuple[int, int]],
    ) -> None:
        super().__init__(config, number, say)
        self._service = service
        self._traffic = traffic
        self._node_server: NodeServer | None = None

    def tell(self, event: Event) -> None:
        """Something about the node as a whole."""
        if self._node_server is not None:
            self._node_server.tell(event)

    async def make(self, http: HttpSettings, tls: TlsContexts | None) -> Server:
        await asyncio.to_thread(importlib.import_module, "web.node_server")
        from web.node_server import NodeServer

        data_dir, cluster = self._config.data_dir, self._config.cluster
        self._node_server = NodeServer(
            http, self._number, self._service, data_dir, self._traffic, tls, cluster,
            network=not self._config.engine.is_etcd,
        )
        return self._node_server


class OperatorHttp(HttpApi):
    """With the live page."""

    def __init__(self, config: Config, orchestrator: Orchestrator, say: Callable[[str], None]) -> None:
        super().__init__(config, 0, say)
        self._orchestrator = orchestrator

    async def make(self, http: HttpSettings, tls: TlsContexts | None) -> Server:
        await asyncio.to_thread(importlib.import_module, "web.operator_server")
        from web.operator_server import OperatorServer

        return OperatorServer(http, self._config, self._orchestrator, tls)

    def ready(self, where: str) -> str:
        return f"live page at {self._config.http_scheme}://{where} (`./run.sh page` prints its address with the key)"


def _reason(error: OSError | OverflowError) -> str:
    if isinstance(error, OverflowError):
        return "there is no such port"
    if error.errno == errno.EADDRINUSE:
        return "another program uses that port"
    return os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
