"""The HTTP API of a node: what is at which address, and which role it takes."""

from __future__ import annotations

import asyncio
import logging
import logging.handlers
import queue
from collections.abc import Callable
from pathlib import Path

from aiohttp import web

from api.base import Event
from config.http_settings import HttpSettings
from net.tls import TlsContexts
from server.node import NodeService
from web.bodies import MAX_BODY, Bodies
from web.chat import ChatCompletions
from web.commands import Commands
from web.conversations import Conversations
from web.events import Events
from web.guard import Guard, Handler, access_log
from web.health import Health
from web.hub import Hub
from web.keys import Role, keyring
from web.listener import LEAVE_WITHIN_S, Listener
from web.metrics import Metrics
from web.models import Models
from web.questions import Questions
from web.responses import Responses
from web.streams import Streams

_LOG_BYTES = 4 * 1024 * 1024


class NodeServer:
    """Of node `number`. `traffic` gives the bytes received from and sent to other nodes."""

    def __init__(
        self, http: HttpSettings, number: int, service: NodeService, data_dir: Path,
        traffic: Callable[[], tuple[int, int]], tls: TlsContexts | None = None,
    ) -> None:
        """Raises KeyFileError."""
        metrics = Metrics(traffic)
        self._hub = Hub(number, service, metrics.observe_commit)
        metrics.watch(self._hub)
        self._needed: dict[Handler, Role | None] = {}
        self._app = web.Application(
            middlewares=[Guard(http, keyring(http, data_dir), self._needed).middleware], client_max_size=MAX_BODY,
        )
        self._add_routes(metrics)
        self._listener = Listener(self._app, http.host, http.port_of(number), tls)
        self._log = AccessLog(data_dir / f"http-{number}.log")

    async def start(self) -> None:
        """Raises OSError."""
        await self._listener.start()
        self._log.start()

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
        self._add("DELETE", "/v1/conversations/{conversation}", conversations.delete, Role.WRITE)
        self._add("GET", "/v1/conversations/{conversation}/items", conversations.items, Role.READ)
        self._add("POST", "/v1/responses", responses.create, Role.WRITE)
        self._add("GET", "/v1/responses/{response}", responses.get, Role.READ)
        self._add("POST", "/v1/responses/{response}/choose", responses.choose, Role.WRITE)
        self._add("POST", "/v1/responses/{response}/cancel", responses.cancel, Role.WRITE)
        for route in commands.routes():
            self._add(*route)

    def _add(self, method: str, path: str, handler: Handler, role: Role | None) -> None:
        self._needed[handler] = role
        self._app.router.add_route(method, path, handler)


class AccessLog:
    """What `access_log` is told, in a file of bounded size. A thread writes it, since a disk may hang."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._listener: logging.handlers.QueueListener | None = None
        self._handler: logging.handlers.QueueHandler | None = None

    def start(self) -> None:
        file = logging.handlers.RotatingFileHandler(self._path, maxBytes=_LOG_BYTES, backupCount=1, delay=True)
        file.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        lines: queue.Queue[logging.LogRecord] = queue.Queue(10_000)
        self._handler = logging.handlers.QueueHandler(lines)
        self._handler.handleError = lambda record: None  # type: ignore[method-assign]  # full: the disk hangs
        self._listener = logging.handlers.QueueListener(lines, file)
        access_log.setLevel(logging.INFO)
        access_log.propagate = False
        access_log.addHandler(self._handler)
        self._listener.start()

    async def close(self) -> None:
        if self._listener is None or self._handler is None:
            return
        access_log.removeHandler(self._handler)
        try:
            async with asyncio.timeout(LEAVE_WITHIN_S):
                await asyncio.to_thread(self._listener.stop)
        except TimeoutError:
            return  # the disk hangs, and the node leaves all the same
