"""The orchestrator's HTTP: the live page, the operator's commands, and what happens, as a stream."""

from __future__ import annotations

from pathlib import Path

from aiohttp import web

from config.config import Config
from config.http_settings import HttpSettings
from net.tls import TlsContexts
from orchestrator.service import Orchestrator
from web.access_log import AccessLog
from web.bodies import MAX_BODY, Bodies
from web.guard import Guard, Handler, json_response
from web.keys import Role, keyring
from web.listener import Listener
from web.operator_commands import OperatorCommands
from web.operator_events import OperatorEvents
from web.operator_metrics import OperatorMetrics
from web.page_facts import FactsForPage
from web.page_files import Page
from web.stories import Stories, glossary
from web.streams import Streams

MAX_WATCHERS = 150
"""Open streams: each is written to a dozen times a second, by the process that relays all messages."""
ORCHESTRATOR = 0
"""Its number, as far as ports go."""


class OperatorServer:
    def __init__(
        self, http: HttpSettings, config: Config, orchestrator: Orchestrator, tls: TlsContexts | None = None
    ) -> None:
        """Raises KeyFileError."""
        data_dir: Path = config.data_dir
        self._needed: dict[Handler, Role | None] = {}
        self._log = AccessLog(data_dir / "http-network.log")
        guard = Guard(http, keyring(http, data_dir), self._needed, lambda: orchestrator.numbers.all, self._log.add)
        self._app = web.Application(middlewares=[guard.middleware], client_max_size=MAX_BODY)
        self._commands = OperatorCommands(orchestrator, Bodies())
        streams = Streams(MAX_WATCHERS)
        self._events = OperatorEvents(orchestrator, streams)
        stories = Stories()
        facts = FactsForPage(http, config.cluster, ORCHESTRATOR, lambda: orchestrator.numbers.all)
        self._add("GET", "/healthz", self._alive, None)
        self._add("GET", "/metrics", OperatorMetrics(orchestrator).get, Role.READ)
        self._add("GET", "/api/page", facts.get, Role.READ)
        self._add("GET", "/api/events", self._events.get, Role.READ)
        self._add("GET", "/api/stories", stories.get, Role.READ)
        self._add("GET", "/api/glossary", glossary, Role.READ)
        for method, path, handler, role in self._commands.routes():
            self._add(method, path, handler, role)
        for file in Page(http, lambda: orchestrator.numbers.all).routes():
            self._add(*file)
        self._listener = Listener(self._app, http.host, http.port_of(ORCHESTRATOR), self._log.add, tls)

    async def start(self) -> None:
        """Raises OSError."""
        await self._listener.start()

    async def close(self) -> None:
        self._events.leave()
        await self._commands.close()
        await self._listener.close()
        await self._log.close()

    async def _alive(self, request: web.Request) -> web.Response:
        return json_response({"ok": True, "node": None})

    def _add(self, method: str, path: str, handler: Handler, role: Role | None) -> None:
        self._needed[handler] = role
        self._app.router.add_route(method, path, handler)
