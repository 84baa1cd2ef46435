"""The cluster as it is now, told again and again while somebody watches, at a bounded rate whatever the traffic."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from api.base import Event
from api.operator_events import HoldingEvent, MessagesEvent, NetworkStatusEvent, PassingMessage, PlayingEvent
from api.operator_results import HeldMessageRecord, NetworkStatusResult
from net.relay.relay import Relay
from net.relay.tap import SeenMessage
from orchestrator.step_mode import record

TICK_S = 0.125
STATUS_TICKS = 4
"""The status is told every so many ticks, or at the second one after something has changed."""
CHANGED_TICKS = 2
MAX_LISTED = 100
"""Messages that wait; the rest is counted."""


class LiveView:
    """`playing` tells of the running script; `on_message` learns of each message of the protocol that was seen."""

    def __init__(
        self, relay: Callable[[], Relay], status: Callable[[], NetworkStatusResult],
        playing: Callable[[], PlayingEvent], on_message: Callable[[SeenMessage], None],
    ) -> None:
        """`relay` is asked for when somebody watches, and not before."""
        self._relay = relay
        self._status = status
        self._playing = playing
        self._on_message = on_message
        self._tell: Callable[[Event], None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._ticks = 0
        self._changed = False
        self._told: dict[type[Event], Event] = {}
        """The last event of each kind that is told when it differs."""

    def start(self, tell: Callable[[Event], None]) -> None:
        """Somebody watches from now on."""
        self._tell = tell
        self._told.clear()
        self._relay().tap.start()
        self._tick()

    def stop(self) -> None:
        """Nobody watches any more: nothing is seen, counted or told."""
        self._tell = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._relay().tap.stop()

    def now(self) -> list[Event]:
        """All that there is to know at first."""
        return [self._status_event(), self._holding_event(), self._playing()]

    def changed(self) -> None:
        """The status differs: it is told soon."""
        self._changed = True

    def _tick(self) -> None:
        assert self._tell is not None
        self._timer = asyncio.get_running_loop().call_later(TICK_S, self._tick)
        self._ticks += 1
        seen, sampled = self._relay().tap.take()
        for message in seen:
            self._on_message(message)
        if seen:
            self._tell(_messages_event(seen, sampled))
        for event in (self._holding_event(), self._playing()):
            if self._told.get(type(event)) != event:
                self._told[type(event)] = event
                self._tell(event)
        if self._ticks >= STATUS_TICKS or (self._changed and self._ticks >= CHANGED_TICKS):
            self._ticks, self._changed = 0, False
            self._tell(self._status_event())

    def _status_event(self) -> NetworkStatusEvent:
        status = self._status()
        return NetworkStatusEvent(**{name: getattr(status, name) for name in NetworkStatusEvent.__struct_fields__})

    def _holding_event(self) -> HoldingEvent:
        holding = self._relay().holding
        waiting: list[HeldMessageRecord] = [record(each) for each in holding.messages[:MAX_LISTED]]
        return HoldingEvent(holding.active, holding.rate, len(holding.messages), holding.lost, waiting)


def _messages_event(seen: list[SeenMessage], sampled: bool) -> MessagesEvent:
    began = seen[0].at
    return MessagesEvent(sampled, [
        PassingMessage((each.src, each.dst), each.label, each.fate, round(1000 * (each.at - began), 1),
                       round(1000 * each.late_s))
        for each in seen
    ])
