"""The HTTP client against servers that answer in every legal way, and in some that are not."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable

import pytest

from engine.etcd import http
from engine.etcd.http import Answer, BadStatus, Connections, HttpError
from net.sockets import authority


async def served(
    answers: list[bytes | None], use: Callable[[Connections, str], Awaitable[None]], host: str = "127.0.0.1"
) -> tuple[list[bytes], int]:
    """Each request gets the next answer; None closes the connection first. Returns the requests, and how many
    connections there were."""
    asked: list[bytes] = []
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        try:
            while answers:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                asked.append(head + await reader.readexactly(length))
                answer = answers.pop(0)
                if answer is None:
                    break
                writer.write(answer)
                if b"Connection: close" in answer or (b"-Length" not in answer and b"chunked" not in answer):
                    break
        except asyncio.IncompleteReadError:
            pass  # the client has closed
        finally:
            writer.close()

    server = await asyncio.start_server(serve, host, 0)
    client = Connections(None)
    try:
        await use(client, f"http://{authority(host, server.sockets[0].getsockname()[1])}")
    finally:
        await client.close()
        server.close()
    return asked, connections


def of_length(body: bytes, status: str = "200 OK", more: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{more}\r\n".encode() + body


CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nX: y\r\n\r\n"
)


def test_answers_of_each_form_and_kept_connections() -> None:
    async def use(client: Connections, url: str) -> None:
        for expected in (b"abc", b"", b"abcde", b"to the end", b"last"):
            assert (await client.post(url, "/v3/x", {"A": "b"}, b"{}")).body == expected

    asked, connections = asyncio.run(served(
        [of_length(b"abc"), of_length(b""), CHUNKED, b"HTTP/1.1 200 OK\r\n\r\nto the end", of_length(b"last")], use,
    ))
    assert asked[0].startswith(b"POST /v3/x HTTP/1.1\r\nHost: 127.0.0.1:") and asked[0].endswith(b"A: b\r\n\r\n{}")
    assert (len(asked), connections) == (5, 2)


def test_a_member_at_an_ipv6_address(ipv6: str) -> None:
    async def use(client: Connections, url: str) -> None:
        assert (await client.post(url, "/", {}, b"")).body == b"abc"

    asked, _ = asyncio.run(served([of_length(b"abc")], use, ipv6))
    assert b"\r\nHost: [::1]:" in asked[0]


def test_a_kept_connection_that_was_closed_is_made_anew_and_a_new_one_is_not() -> None:
    async def use(client: Connections, url: str) -> None:
        assert (await client.post(url, "/", {}, b"1")).body == b"one"
        assert (await client.post(url, "/", {}, b"2")).body == b"two"
        with pytest.raises(HttpError, match="has closed the connection"):
            await client.post(url, "/", {}, b"3")

    answers = [of_length(b"one"), None, of_length(b"two", more="Connection: close\r\n"), None]
    asked, _ = asyncio.run(served(answers, use))
    assert [request[-1:] for request in asked] == [b"1", b"2", b"2", b"3"]


def test_streams() -> None:
    async def use(client: Connections, url: str) -> None:
        assert [part async for part in client.stream(url, "/", {}, b"")] == [b"abc", b"de"]
        with pytest.raises(BadStatus) as refused:
            [part async for part in client.stream(url, "/", {}, b"")]
        assert refused.value.answer == Answer(503, b"no")

    asyncio.run(served([CHUNKED, of_length(b"no", "503 Unavailable")], use))


@pytest.mark.parametrize("answer", [
    b"\x16\x03\x01 what\r\n\r\n", b"HTTP/2 200\r\n\r\n", b"HTTP/1.1 20x\r\n\r\n", b"HTTP/1.1\r\n\r\n",
    of_length(b"x").replace(b"1\r\n", b"-1\r\n"), of_length(b"x").replace(b"h: 1", b"h: 99999999999"),
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffff\r\n",
    b"HTTP/1.1 200 OK\r\nX: " + b"y" * http.MOST_HEAD + b"\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nab",
])
def test_what_is_not_http_is_said(answer: bytes) -> None:
    async def use(client: Connections, url: str) -> None:
        with pytest.raises(HttpError, match=r"sends something that is not HTTP|has closed the connection"):
            await client.post(url, "/", {}, b"")

    asyncio.run(served([answer], use))


def test_nobody_listens() -> None:
    async def use() -> None:
        with pytest.raises(HttpError, match="cannot be reached: "):
            await Connections(None).post("http://127.0.0.1:1", "/", {}, b"")

    asyncio.run(use())


@pytest.mark.parametrize("said", [b"", b"HTTP/1.0 400 Bad Request\r\n\r\nThat is no HTTP."])
def test_tls_to_a_server_that_has_none(said: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(said)
        writer.close()

    async def use() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        with pytest.raises(HttpError, match="does it want http://"):
            url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            await Connections(ssl.create_default_context).post(url, "/", {}, b"")
        server.close()

    asyncio.run(use())
