"""GET /api/events: what happens in the cluster, as server-sent events."""

from __future__ import annotations

from aiohttp import web

from api.node_events import ClosingEvent
from web.errors import ApiError
from web.event_log import EventReader, frame
from web.hub import Hub
from web.streams import PULSE_S, Streams

RECONNECT_MS = 1000


class Events:
    def __init__(self, hub: Hub, streams: Streams) -> None:
        self._hub = hub
        self._streams = streams

    async def get(self, request: web.Request) -> web.StreamResponse:
        """From now on, or, with Last-Event-ID or `after`, from the event after that one."""
        after = last_event_id(request)
        self._hub.require_staying()
        response = await self._streams.begin(request)
        reader = EventReader(self._hub.events, after)
        last = b""
        try:
            await response.write(b"retry: %d\n\n" % RECONNECT_MS if after is not None else self._opening())
            await self._copy(reader, response)
            last = frame(ClosingEvent(self._hub.farewell), None)
        except ConnectionError:
            return response  # the client has gone, which is how streams end
        finally:
            reader.close()
            await self._streams.end(response, last)
        return response

    def _opening(self) -> bytes:
        """Gives the client an id from which it can go on, before anything has happened."""
        return b"retry: %d\nid: %d\n\n" % (RECONNECT_MS, self._hub.events.applied)

    async def _copy(self, reader: EventReader, response: web.StreamResponse) -> None:
        while not self._hub.leaving.is_set():
            frames = reader.take()
            if frames:
                await response.write(frames)
            elif not await reader.wait(PULSE_S):
                await response.write(b": nothing new\n\n")


def last_event_id(request: web.Request) -> int | None:
    given = request.headers.get("Last-Event-ID") or request.query.get("after")
    if not given:
        return None
    if not (given.isascii() and given.isdigit() and len(given) < 19):
        raise ApiError(400, "Last-Event-ID is the id of an event: a number", param="Last-Event-ID")
    return int(given)
