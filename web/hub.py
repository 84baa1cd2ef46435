"""What the HTTP API sees of its node: events for streams, changes for those who wait, and counts for metrics."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from api.base import Event, Failure, Result
from engine.interface import AppliedOperation, EngineStatus
from server.event_feed import Level, SessionEvent
from server.node import NodeService
from web.errors import ApiError
from web.event_log import EventLog
from web.watched_drafts import WatchedDrafts


class Hub:
    """A Watcher of node `number`, with one session for all commands: what one client submits is independent of what
    others do. `observe` gets how long each operation took that was submitted at this node."""

    def __init__(self, number: int, service: NodeService, observe: Callable[[float], None]) -> None:
        self.number = number
        self.session = service.open_session(_ignore, Level.QUIET)
        self.elections = 0
        """How often this node saw another leadership."""
        self.leaving = asyncio.Event()
        self._running: set[asyncio.Future[Result | Failure]] = set()
        """Commands that requests wait for."""
        self._service = service
        self._observe = observe
        self._position: int | None = None
        """Of the operation whose event is being told."""
        self._feed = service.open_feed(self._tell)
        status = self.session.node_status()
        self._leadership = status.ballot[:2]
        self._leader = status.leader
        self.events = EventLog(status.applied)
        self._feed.on_leader(status.leader)
        self._waiting: defaultdict[str, set[asyncio.Future[None]]] = defaultdict(set)
        """By context id."""
        service.watch(self)
        self.drafts = WatchedDrafts(service.drafts, self._wake)

    def leave(self) -> None:
        """Whoever waits is told that the node leaves."""
        self.leaving.set()
        for running in self._running:
            running.cancel()
        self.events.waiters.wake_now()
        self._wake_all()

    def close(self) -> None:
        self._service.unwatch(self)
        self._service.close_session(self.session)
        self.events.waiters.close()
        self.drafts.close()

    def tell(self, event: Event) -> None:
        """Something about the node as a whole."""
        self.events.add(event, None)

    # ---- Events from the node

    def on_applied(self, applied: AppliedOperation) -> None:
        self.events.applied = self._position = applied.position
        self._feed.on_applied(applied, mine=False)
        self._position = None
        if applied.ticket:
            self._observe(applied.took_s)
        context = applied.outcome.context
        if context is not None:
            self._wake(context)

    def on_installed(self) -> None:
        self.events.skip(self.session.node_status().applied)
        self._wake_all()

    def on_status(self, status: EngineStatus) -> None:
        self._feed.on_leader(status.leader)
        if status.ballot[:2] != self._leadership:
            self._leadership = status.ballot[:2]
            self.elections += 1
        self._wake_all()

    def _tell(self, told: SessionEvent) -> None:
        self.events.add(told.event, self._position)

    # ---- For those who wait

    @contextmanager
    def expecting(self, context: str) -> Iterator[asyncio.Future[None]]:
        """What is done when something may have changed, since this call, that concerns this conversation."""
        change: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[context].add(change)
        try:
            yield change
        finally:
            if context in self._waiting:
                self._waiting[context].discard(change)
                if not self._waiting[context]:
                    del self._waiting[context]

    async def until(self, change: asyncio.Future[None], timeout_s: float) -> None:
        """Until it is done, or for so long. Raises ApiError if the node leaves."""
        self.require_staying()
        await asyncio.wait([change], timeout=timeout_s)
        self.require_staying()

    async def result(self, answer: Awaitable[Result | Failure], within_s: float) -> Result | Failure:
        """Of a command. Raises ApiError if the node leaves, TimeoutError, and what the command raises."""
        self.require_staying()
        running = asyncio.ensure_future(answer)
        self._running.add(running)
        try:
            await asyncio.wait([running], timeout=within_s)
            if running.done() and not (running.cancelled() and self.leaving.is_set()):
                return running.result()
            self.require_staying()
            raise TimeoutError
        finally:
            self._running.discard(running)
            running.cancel()

    def require_staying(self) -> None:
        if self.leaving.is_set():
            raise ApiError(503, self.farewell, code="node_leaving", retry=True)

    @property
    def farewell(self) -> str:
        return f"node {self.number} leaves: try again at another node"

    def _wake(self, context: str) -> None:
        if context in self._waiting:
            _wake(self._waiting.pop(context))

    def _wake_all(self) -> None:
        while self._waiting:
            _wake(self._waiting.popitem()[1])


def _wake(waiting: set[asyncio.Future[None]]) -> None:
    for one in waiting:
        if not one.done():
            one.set_result(None)


def _ignore(told: SessionEvent) -> None:
    """The session's own events: all are in the feed."""
