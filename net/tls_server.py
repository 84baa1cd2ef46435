"""Accepts connections whose handshakes this process carries out itself, so that it learns why one fails."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable

from net.tls import HANDSHAKE_S, TlsContexts, handshake_failure

MAX_HANDSHAKES = 64
"""At once; the oldest makes room for a further one. An honest handshake takes milliseconds."""
BACKLOG = 128
PAUSE_S = 1.0
"""After a connection could not be accepted, since there are too many files, say."""
_log = logging.getLogger(__name__)


class TlsServer:
    """Like asyncio's server. `failed` gets the host of whose handshake failed, and why."""

    def __init__(
        self, contexts: TlsContexts, protocol: Callable[[], asyncio.BaseProtocol], failed: Callable[[str, str], None]
    ) -> None:
        self._contexts = contexts
        self._protocol = protocol
        self._failed = failed
        self.sockets: list[socket.socket] = []
        self._accepting: list[asyncio.Task[None]] = []
        self._handshakes: dict[asyncio.Task[None], None] = {}
        """The oldest first, without those that were cancelled for later ones."""
        self._ending: set[asyncio.Task[None]] = set()
        """Those."""

    async def start(self, host: str, port: int) -> None:
        """Raises OSError."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        try:
            for family, _, _, _, address in dict.fromkeys(found):
                listening = socket.create_server(address[:2], family=family, backlog=BACKLOG)
                listening.setblocking(False)
                self.sockets.append(listening)
        except OSError:
            self.close()
            raise
        self._accepting = [loop.create_task(self._accept(one)) for one in self.sockets]

    def close(self) -> None:
        """No further connection. Those that are there stay."""
        for task in (*self._accepting, *self._handshakes):
            task.cancel()
        for listening in self.sockets:
            listening.close()

    async def wait_closed(self) -> None:
        tasks = [*self._accepting, *self._handshakes, *self._ending]
        if tasks:
            await asyncio.wait(tasks)

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, address = await loop.sock_accept(listening)
            except ConnectionError:
                continue  # that one is gone already
            except OSError as error:
                _log.warning("a connection cannot be accepted: %s", error.strerror or error)
                await asyncio.sleep(PAUSE_S)  # nothing tells when it can be
                continue
            if len(self._handshakes) >= MAX_HANDSHAKES:
                self._cancel_oldest()
            task = loop.create_task(self._shake_hands(accepted, str(address[0])))
            self._handshakes[task] = None
            task.add_done_callback(self._ended)

    def _cancel_oldest(self) -> None:
        """At once: a task that was cancelled ends a step of the event loop later, after further connections."""
        oldest = next(iter(self._handshakes))
        del self._handshakes[oldest]
        self._ending.add(oldest)
        oldest.cancel()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._handshakes.pop(task, None)
        self._ending.discard(task)

    async def _shake_hands(self, accepted: socket.socket, host: str) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                self._protocol, accepted, ssl=self._contexts.server(), ssl_handshake_timeout=HANDSHAKE_S
            )
        except OSError as error:  # as all of TLS's errors are
            self._failed(host, handshake_failure(error))
        except asyncio.CancelledError:
            accepted.close()
            raise
