"""GET /api/events: what happens in the cluster, as server-sent events."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from aiohttp import web

from api.node_events import ClosingEvent
from kvstore.rules import check_context
from web.errors import ApiError
from web.event_log import EventReader, frame, piece
from web.hub import Hub
from web.streams import PULSE_S, Streams
from web.waiters import Waiters
from web.watched_drafts import DraftReader

RECONNECT_MS = 1000
MOST_WATCHED = 16
"""Conversations, by one stream."""


class Events:
    def __init__(self, hub: Hub, streams: Streams) -> None:
        self._hub = hub
        self._streams = streams

    async def get(self, request: web.Request) -> web.StreamResponse:
        """From now on, or, with Last-Event-ID or `after`, from the event after that one."""
        after, contexts = last_event_id(request), _contexts(request)
        self._hub.require_staying()
        response = await self._streams.begin(request)
        with self._hub.drafts.watching(contexts) as waiters:
            await self._send(response, after, contexts, waiters)
        return response

    async def _send(
        self, response: web.StreamResponse, after: int | None, contexts: Sequence[str], waiters: Sequence[Waiters]
    ) -> None:
        reader = EventReader(self._hub.events, after, waiters)
        drafts = {context: DraftReader(self._hub.drafts, context) for context in contexts}
        last = b""
        try:
            await response.write(b"retry: %d\n\n" % RECONNECT_MS if after is not None else self._opening())
            await self._copy(reader, drafts, response)
            last = frame(ClosingEvent(self._hub.farewell), None)
        except ConnectionError:
            return  # the client has gone, which is how streams end
        finally:
            reader.close()
            await self._streams.end(response, last)

    def _opening(self) -> bytes:
        """Gives the client an id from which it can go on, before anything has happened."""
        return b"retry: %d\nid: %d\n\n" % (RECONNECT_MS, self._hub.events.applied)

    async def _copy(
        self, reader: EventReader, drafts: Mapping[str, DraftReader], response: web.StreamResponse
    ) -> None:
        while not self._hub.leaving.is_set():
            frames = reader.take() + b"".join(piece(self._written(drafts)))
            if frames:
                await response.write(frames)
            elif not await reader.wait(PULSE_S):
                await response.write(b": nothing new\n\n")

    def _written(self, drafts: Mapping[str, DraftReader]) -> Iterator[bytes]:
        for context, written in drafts.items():
            conversation = self._hub.session.conversations.get(context)
            if conversation is not None and conversation.open_turn is not None:
                for event in written.take(conversation.open_turn):
                    yield frame(event, None)


def _contexts(request: web.Request) -> list[str]:
    """The conversations whose answers are wanted while they are written."""
    contexts = list(dict.fromkeys(request.query.getall("writing", [])))
    if len(contexts) > MOST_WATCHED:
        raise ApiError(400, f"one stream shows at most {MOST_WATCHED} conversations' answers", param="writing")
    for context in contexts:
        mistake = check_context(context)
        if mistake is not None:
            raise ApiError(400, mistake, param="writing")
    return contexts


def last_event_id(request: web.Request) -> int | None:
    given = request.headers.get("Last-Event-ID") or request.query.get("after")
    if not given:
        return None
    if not (given.isascii() and given.isdigit() and len(given) < 19):
        raise ApiError(400, "Last-Event-ID is the id of an event: a number", param="Last-Event-ID")
    return int(given)
