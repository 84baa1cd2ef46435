"""Fakes for the tests of llm/: a scripted HTTP server on loopback, and conversations."""

from __future__ import annotations

import asyncio
import json
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, TypeAlias

from kvstore.conversation import Conversation, Kind, Response, Turn
from llm.provider import Message, Prompt, Provider, Reply


class Said(NamedTuple):
    """One scripted answer. `pieces` are sent one by one, each but the first `stall_after` after `delay_s`."""

    status: int = 200
    pieces: tuple[bytes, ...] = ()
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()
    delay_s: float = 0.0
    stall_after: int = 0


def said_json(body: object, status: int = 200, *headers: tuple[str, str]) -> Said:
    return Said(status, (json.dumps(body).encode(),), headers=headers)


def said_stream(*chunks: object, delay_s: float = 0.0) -> Said:
    pieces = (*(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks), b"data: [DONE]\n\n")
    return Said(200, pieces, "text/event-stream", delay_s=delay_s)


class Asked(NamedTuple):
    """One request that arrived; header names in lower case."""

    path: str
    headers: dict[str, str]
    body: Any


Scripted: TypeAlias = Said | Callable[[Asked], Said]


class StandIn(NamedTuple):
    url: str
    asked: list[Asked]
    broken_off: threading.Event
    """Set when a client disconnected before the answer was complete."""


@contextmanager
def stand_in(*script: Scripted) -> Iterator[StandIn]:
    """A server that gives the scripted answers in order, and then repeats the last one. Requests with several forms are
    scripted as a function."""
    remaining = list(script)
    asked: list[Asked] = []
    broken_off, stopping = threading.Event(), threading.Event()
    stop, stopped = socket.socketpair()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", "0")))
            headers = {name.lower(): value for name, value in self.headers.items()}
            asked.append(Asked(self.path, headers, json.loads(body)))
            scripted = remaining.pop(0) if len(remaining) > 1 else remaining[0]
            said = scripted if isinstance(scripted, Said) else scripted(asked[-1])
            self.send_response(said.status)
            self.send_header("content-type", said.content_type)
            for name, value in said.headers:
                self.send_header(name, value)
            self.end_headers()
            try:
                for number, piece in enumerate(said.pieces):
                    if number >= said.stall_after and self._wait(said.delay_s):
                        return
                    self.wfile.write(piece)
                    self.wfile.flush()
            except OSError:
                broken_off.set()

        def _wait(self, seconds: float) -> bool:
            """Whether this test is over; detects when the client disconnects meanwhile."""
            if seconds > 0 and select.select([self.connection, stopped], [], [], seconds)[0]:
                if not stopping.is_set():
                    broken_off.set()
                return True
            return stopping.is_set()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.block_on_close = False
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield StandIn(f"http://127.0.0.1:{server.server_address[1]}", asked, broken_off)
    finally:
        stopping.set()
        stop.close()
        server.shutdown()
        server.server_close()
        thread.join()
        stopped.close()


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Raises AssertionError if the condition does not come true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.01)


async def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Like `wait_until`, without blocking the event loop."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        await asyncio.sleep(0.001)


def question(text: str, *earlier: tuple[str, str], max_tokens: int | None = None) -> Prompt:
    """A prompt with turns (user, assistant) before the question."""
    messages = [
        message for asked, answered in earlier for message in (Message("user", asked), Message("assistant", answered))
    ]
    return Prompt([*messages, Message("user", text)], max_tokens=max_tokens)


def chosen(text: str, answer: str, node: int = 1) -> Turn:
    return Turn(Kind.QUERY, text, {node: Response(answer, None, "m", 0.1)}, chosen=node)


def conversation(context: str, *turns: Turn) -> Conversation:
    return Conversation(context, 1, 1, list(turns))


def run_ask(provider: Provider, text: str) -> Reply:
    """The provider's answer to one question."""

    async def main() -> Reply:
        try:
            return await provider.ask(question(text))
        finally:
            await provider.close()

    return asyncio.run(main())
