"""Listens for HTTP in the running event loop, whose signals are left alone, and bounds connections."""

from __future__ import annotations

import asyncio
import contextlib
import resource
from collections.abc import Callable

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from net.tls import TlsContexts
from net.tls_server import TlsServer

MAX_CONNECTIONS = 4096
SPARE_FILES = 256
"""Descriptors that stay free for the node's own disk and link."""
FIRST_REQUEST_WITHIN_S = 10.0
"""A connection that has not sent the head of a request by then is closed."""
KEEP_ALIVE_S = 75.0
LEAVE_WITHIN_S = 2.0
"""How long requests may take to end when the node leaves."""
_LONGEST_HEADER = 8190


class Listener:
    """Serves `app` at `host`:`port` between `start` and `close`, encrypted if there is `tls`. `log` gets a line for
    each handshake that failed."""

    def __init__(
        self, app: web.Application, host: str, port: int, log: Callable[[str], None], tls: TlsContexts | None = None
    ) -> None:
        self._host = host
        self._port = port
        self._tls = tls
        self._log = log
        self._runner = web.AppRunner(
            app, handle_signals=False, access_log=None, keepalive_timeout=KEEP_ALIVE_S,
            shutdown_timeout=LEAVE_WITHIN_S, max_line_size=_LONGEST_HEADER, max_field_size=_LONGEST_HEADER,
        )
        self._server: asyncio.Server | TlsServer | None = None
        self._limit = MAX_CONNECTIONS
        self._quiet: dict[web.RequestHandler, asyncio.TimerHandle] = {}
        """Connections without a request so far."""
        app.middlewares.insert(0, self._heard)

    async def start(self) -> None:
        """Raises OSError."""
        self._limit = min(MAX_CONNECTIONS, _more_files() - SPARE_FILES)
        await self._runner.setup()
        if self._tls is None:
            loop = asyncio.get_running_loop()
            self._server = await loop.create_server(self._protocol, self._host, self._port, backlog=1024)
        else:
            self._server = TlsServer(self._tls, self._protocol, self._handshake_failed)
            await self._server.start(self._host, self._port)

    def _handshake_failed(self, host: str, reason: str) -> None:
        self._log(f"TLS with {host} failed: {reason}")

    async def close(self) -> None:
        """No new connection; open requests end within LEAVE_WITHIN_S."""
        if self._server is not None:
            self._server.close()
        for timer in self._quiet.values():
            timer.cancel()
        await self._runner.cleanup()

    def _protocol(self) -> asyncio.BaseProtocol:
        server = self._runner.server
        if server is None or len(server.connections) >= self._limit:
            return _Full()
        protocol = server()
        self._quiet[protocol] = asyncio.get_running_loop().call_later(
            FIRST_REQUEST_WITHIN_S, self._close_quiet, protocol
        )
        return protocol

    @property
    def _heard(self) -> Middleware:
        @web.middleware
        async def heard(request: web.Request, handler: Handler) -> web.StreamResponse:
            timer = self._quiet.pop(request.protocol, None)
            if timer is not None:
                timer.cancel()
            return await handler(request)

        return heard

    def _close_quiet(self, protocol: web.RequestHandler) -> None:
        del self._quiet[protocol]
        if protocol.transport is not None:
            protocol.transport.abort()


class _Full(asyncio.Protocol):
    """For one connection too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        body = b'{"error":{"message":"too many connections: try another node","type":"rate_limit_error"}}'
        transport.write(
            b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 1\r\n"
            b"Connection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        )
        transport.close()


def _more_files() -> int:
    """How many files this process may open, after it asked for as many as it needs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_CONNECTIONS + SPARE_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard) if hard >= 0 else wanted, hard))
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return wanted if soft == resource.RLIM_INFINITY else soft
