"""The HTTP API of a node: what is at which address, and which role it takes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from aiohttp import web

from api.base import Event
from config.http_settings import HttpSettings
from net.tls import TlsContexts
from server.node import NodeService
from web.access_log import AccessLog
from web.bodies import MAX_BODY, Bodies
from web.chat import ChatCompletions
from web.commands import Commands
from web.conversations import Conversations
from web.events import Events
from web.guard import Guard, Handler
from web.health import Health
from web.hub import Hub
from web.keys import Role, keyring
from web.listener import Listener
from web.metrics import Metrics
from web.models import Models
from web.page_facts import FactsForPage
from web.page_files import Page
from web.questions import Questions
from web.responses import Responses
from web.streams import Streams


class NodeServer:
    """Of node `number`. `traffic` gives the bytes received from and sent to other nodes."""

    def __init__(
        self, http: HttpSettings, number: int, service: NodeService, data_dir: Path,
        traffic: Callable[[], tuple[int, int]], tls: TlsContexts | None = None, cluster: str = "", network: bool = True,
    ) -> None:
        """Raises KeyFileError."""
        metrics = Metrics(traffic)
        self._hub = Hub(number, service, metrics.observe_commit)
        metrics.watch(self._hub)
        self._needed: dict[Handler, Role | None] = {}
        self._log = AccessLog(data_dir / f"http-{number}.log")
        guard = Guard(http, keyring(http, data_dir), self._needed, lambda: self._hub.session.members, self._log.add)
        self._app = web.Application(middlewares=[guard.middleware], client_max_size=MAX_BODY)
        self._add_routes(metrics)
        self._add_page(http, cluster, network)
        self._listener = Listener(self._app, http.host, http.port_of(number), self._log.add, tls)

    async def start(self) -> None:
        """Raises OSError."""
        await self._listener.start()

    async def close(self) -> None:
        """Streams and waiting requests are told why they end."""
        self._hub.leave()
        await self._listener.close()
        self._hub.close()
        await self._log.close()

    def tell(self, event: Event) -> None:
        """Something about the node as a whole."""
        self._hub.tell(event)

    def _add_routes(self, metrics: Metrics) -> None:
        hub, bodies, streams = self._hub, Bodies(), Streams()
        questions, models = Questions(hub), Models(hub)
        chat = ChatCompletions(hub, bodies, streams, questions)
        responses = Responses(hub, bodies, streams, questions)
        conversations = Conversations(hub, bodies, questions)
        health, commands, events = Health(hub), Commands(hub, bodies), Events(hub, streams)
        self._add("GET", "/healthz", health.alive, None)
        self._add("GET", "/readyz", health.ready, None)
        self._add("GET", "/metrics", metrics.get, Role.READ)
        self._add("GET", "/api/events", events.get, Role.READ)
        self._add("GET", "/v1/models", models.list, Role.READ)
        self._add("GET", "/v1/models/{model}", models.get, Role.READ)
        self._add("POST", "/v1/chat/completions", chat.post, Role.WRITE)
        self._add("GET", "/v1/conversations", conversations.list, Role.READ)
        self._add("POST", "/v1/conversations", conversations.create, Role.WRITE)
        self._add("GET", "/v1/conversations/{conversation}", conversations.get, Role.READ)
        self._add("POST", "/v1/conversations/{conversation}", conversations.update, Role.WRITE)
        self._add("DELETE", "/v1/conversations/{conversation}", conversations.delete, Role.WRITE)
        self._add("GET", "/v1/conversations/{conversation}/items", conversations.items, Role.READ)
        self._add("POST", "/v1/responses", responses.create, Role.WRITE)
        self._add("GET", "/v1/responses/{response}", responses.get, Role.READ)
        self._add("POST", "/v1/responses/{response}/choose", responses.choose, Role.WRITE)
        self._add("POST", "/v1/responses/{response}/cancel", responses.cancel, Role.WRITE)
        for route in commands.routes():
            self._add(*route)

    def _add_page(self, http: HttpSettings, cluster: str, network: bool) -> None:
        hub = self._hub
        facts = FactsForPage(http, cluster, hub.number, lambda: hub.session.members, network=network)
        self._add("GET", "/api/page", facts.get, Role.READ)
        for file in Page(http, lambda: hub.session.members).routes():
            self._add(*file)

    def _add(self, method: str, path: str, handler: Handler, role: Role | None) -> None:
        self._needed[handler] = role
        self._app.router.add_route(method, path, handler)
