"""GET /api/events at the orchestrator: what happens in the cluster, and how it is, as server-sent events.

Events that last have an id and are kept for a while, so that a stream goes on where it broke off. What is told again
anyway (the status, messages that pass) has none; it is made only while there is a stream.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque

from aiohttp import web

from api.base import Event
from api.node_events import ClosingEvent, GapEvent
from api.operator_events import (
    HoldingEvent,
    MessageHeldEvent,
    MessagesEvent,
    NetworkStatusEvent,
    NodeAnswerEvent,
    PlayingEvent,
)
from orchestrator.service import Orchestrator
from web.errors import ApiError
from web.event_log import frame
from web.events import RECONNECT_MS, last_event_id
from web.streams import PULSE_S, Streams

KEPT = 500
AT_FIRST = 60
"""So many of the last events a new stream begins with."""
MAX_WAITING = 200
"""Frames that wait for a client that does not read."""
_AGAIN = (NetworkStatusEvent, MessagesEvent, HoldingEvent, PlayingEvent)
_NOT_TOLD = (MessageHeldEvent, NodeAnswerEvent)
"""The first is in every `holding`, the second in the node's own events."""
FAREWELL = "the network orchestrator leaves"


class OperatorEvents:
    def __init__(self, orchestrator: Orchestrator, streams: Streams) -> None:
        self._orchestrator = orchestrator
        self._streams = streams
        self._last = int(time.time() * 1000)
        """The id of the last event. Ids go on rising after a restart."""
        self._forgotten = self._last
        self._log: deque[tuple[int, bytes]] = deque()
        self._readers: set[_Reader] = set()
        self._leaving = False
        orchestrator.listen(self._on_event)

    def leave(self) -> None:
        """All streams end."""
        self._leaving = True
        self._orchestrator.live.stop()
        for reader in self._readers:
            reader.end()

    async def get(self, request: web.Request) -> web.StreamResponse:
        """Begins with how the cluster is, and what happened last; or, with Last-Event-ID, what happened since."""
        after = last_event_id(request)
        if self._leaving:
            raise ApiError(503, FAREWELL, retry=True)
        response = await self._streams.begin(request)
        reader = _Reader()
        self._add(reader)
        last = b""
        try:
            await response.write(b"retry: %d\n\n" % RECONNECT_MS + self._first(after))
            while (frames := await reader.take()) is not None:
                await response.write(frames)
                if reader.overrun:
                    reader.overrun = False
                    await response.write(frame(GapEvent(self._last), self._last) + self._now())
            last = frame(ClosingEvent(FAREWELL), None)
        except ConnectionError:
            return response  # the client has gone, which is how streams end
        finally:
            self._remove(reader)
            await self._streams.end(response, last)
        return response

    def _add(self, reader: _Reader) -> None:
        self._readers.add(reader)
        if len(self._readers) == 1:
            self._orchestrator.live.start(self._on_event)

    def _remove(self, reader: _Reader) -> None:
        self._readers.discard(reader)
        if not self._readers:
            self._orchestrator.live.stop()

    def _first(self, after: int | None) -> bytes:
        if after is None:
            lasting = [kept for _, kept in list(self._log)[-AT_FIRST:]]
        else:
            gap = [frame(GapEvent(self._forgotten), self._forgotten)] if after < self._forgotten else []
            lasting = [*gap, *(kept for number, kept in self._log if number > after)]
        return b"".join(lasting) + b"id: %d\n\n" % self._last + self._now()

    def _now(self) -> bytes:
        return b"".join(frame(event, None) for event in self._orchestrator.live.now())

    def _on_event(self, event: Event) -> None:
        if isinstance(event, _NOT_TOLD):
            return
        if isinstance(event, _AGAIN):
            self._tell(frame(event, None))
            return
        self._last += 1
        self._log.append((self._last, frame(event, self._last)))
        if len(self._log) > KEPT:
            self._forgotten = self._log.popleft()[0]
        self._tell(self._log[-1][1])

    def _tell(self, told: bytes) -> None:
        for reader in self._readers:
            reader.add(told)


class _Reader:
    """Of one stream: what waits for it."""

    def __init__(self) -> None:
        self._frames: list[bytes] = []
        self._more = asyncio.Event()
        self._ended = False
        self.overrun = False
        """The client read too slowly: some of it is lost."""

    def add(self, told: bytes) -> None:
        if len(self._frames) >= MAX_WAITING:
            self._frames.clear()
            self.overrun = True
        self._frames.append(told)
        self._more.set()

    def end(self) -> None:
        self._ended = True
        self._more.set()

    async def take(self) -> bytes | None:
        """What waits, as soon as something does; a comment after a while; None at the end."""
        try:
            async with asyncio.timeout(PULSE_S):
                await self._more.wait()
        except TimeoutError:
            return b": nothing new\n\n"
        if not self._ended:
            self._more.clear()
        frames, self._frames = self._frames, []
        return b"".join(frames) if frames or not self._ended else None
