"""Just enough of HTTP/1.1 for etcd's gateway: POST, connections that are kept, answers of known length, in chunks, or
up to the end. A general client takes a millisecond of processor time for a request, twelve times as much as this one,
and as long as etcd takes to decide it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import Final, NamedTuple, Protocol
from urllib.parse import urlsplit

from engine.etcd.failures import broken, not_connected

CONNECT_S: Final = 2.0
IDLE: Final = 8
"""Connections kept to an endpoint."""
MOST_HEAD: Final = 64 * 1024
MOST_BODY: Final = 64 * 1024 * 1024
_BLOCK = 256 * 1024


class HttpError(Exception):
    """No answer, or none that is HTTP; in words that follow the name of the server."""


class Answer(NamedTuple):
    status: int
    body: bytes


class Http(Protocol):
    """A way to etcd's members."""

    async def post(self, endpoint: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Raises HttpError."""
        ...

    def stream(self, endpoint: str, path: str, headers: Mapping[str, str], body: bytes) -> AsyncGenerator[bytes, None]:
        """The parts of an answer with status 200, as they come; of another one, raises BadStatus. Raises HttpError."""
        ...

    async def close(self) -> None: ...


class BadStatus(Exception):
    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


class _Head(NamedTuple):
    status: int
    length: int | None
    """None: up to the end of the connection."""
    chunked: bool
    kept: bool


class _Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.used = False
        self.usable = False
        """Another request may follow."""

    @property
    def open(self) -> bool:
        return not self._writer.is_closing() and not self._reader.at_eof()

    def ask(self, host: str, path: str, headers: Mapping[str, str], body: bytes) -> None:
        named = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\n{named}\r\n"
        self._writer.write(head.encode("latin-1") + body)

    async def head(self) -> _Head:
        self.usable = False
        lines = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        version, status, *_ = lines[0].split(" ")
        if not version.startswith("HTTP/1."):
            raise ValueError(version)
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        chunked = "chunked" in fields.get("transfer-encoding", "").lower()
        length = None if chunked or "content-length" not in fields else int(fields["content-length"])
        kept = version == "HTTP/1.1" and fields.get("connection", "").lower() != "close"
        return _Head(int(status), length, chunked, kept and (chunked or length is not None))

    async def parts(self, head: _Head) -> AsyncGenerator[bytes, None]:
        if head.chunked:
            while size := int((await self._reader.readuntil(b"\r\n")).split(b";")[0], 16):
                if not 0 < size <= MOST_BODY:
                    raise ValueError(size)
                yield await self._reader.readexactly(size)
                await self._reader.readexactly(2)
            while await self._reader.readuntil(b"\r\n") != b"\r\n":
                pass  # trailers
        elif head.length is not None:
            if not 0 <= head.length <= MOST_BODY:
                raise ValueError(head.length)
            yield await self._reader.readexactly(head.length)
        else:
            while block := await self._reader.read(_BLOCK):
                yield block
        self.usable = head.kept

    async def whole(self, head: _Head) -> Answer:
        body = bytearray()
        async with aclosing(self.parts(head)) as parts:
            async for part in parts:
                body += part
                if len(body) > MOST_BODY:
                    raise ValueError(len(body))
        return Answer(head.status, bytes(body))

    def close(self) -> None:
        self._writer.close()


class Connections:
    """An `Http` over sockets."""

    def __init__(self, tls: Callable[[], ssl.SSLContext] | None) -> None:
        self._tls = tls
        self._idle: dict[str, list[_Connection]] = {}
        self._all: set[_Connection] = set()

    async def post(self, endpoint: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        while True:
            connection = await self._connection(endpoint)
            try:
                connection.ask(urlsplit(endpoint).netloc, path, headers, body)
                return await connection.whole(await connection.head())
            except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as error:
                if not connection.used:
                    raise HttpError(broken(error, endpoint.startswith("https"), used=False)) from error
                # It was kept, and the server has closed it meanwhile; a request may be repeated.
            finally:
                self._put_back(endpoint, connection)

    async def stream(
        self, endpoint: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> AsyncGenerator[bytes, None]:
        connection = await self._connect(endpoint)
        answered = False
        try:
            connection.ask(urlsplit(endpoint).netloc, path, headers, body)
            head = await connection.head()
            answered = True
            if head.status != 200:
                raise BadStatus(await connection.whole(head))
            async with aclosing(connection.parts(head)) as parts:
                async for part in parts:
                    yield part
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as error:
            raise HttpError(broken(error, endpoint.startswith("https"), answered)) from error
        finally:
            self._drop(connection)

    async def close(self) -> None:
        for connection in list(self._all):
            self._drop(connection)

    async def _connection(self, endpoint: str) -> _Connection:
        idle = self._idle.setdefault(endpoint, [])
        while idle:
            connection = idle.pop()
            if connection.open:
                connection.used = True
                return connection
            self._drop(connection)
        return await self._connect(endpoint)

    async def _connect(self, endpoint: str) -> _Connection:
        parts = urlsplit(endpoint)
        secure = parts.scheme == "https"
        tls = self._tls() if secure and self._tls is not None else None
        try:
            async with asyncio.timeout(CONNECT_S):
                opened = await asyncio.open_connection(
                    parts.hostname, parts.port or (443 if secure else 80), ssl=tls, limit=MOST_HEAD,
                )
        except OSError as error:  # TimeoutError is one
            raise HttpError(not_connected(error)) from error
        connection = _Connection(*opened)
        self._all.add(connection)
        return connection

    def _put_back(self, endpoint: str, connection: _Connection) -> None:
        idle = self._idle.setdefault(endpoint, [])
        if connection.usable and connection.open and len(idle) < IDLE:
            idle.append(connection)
        else:
            self._drop(connection)

    def _drop(self, connection: _Connection) -> None:
        self._all.discard(connection)
        connection.close()
