"""Messages that wait at the relay until the operator lets them go on, so that consensus can be watched step by step.

Only labelled messages are held: the relay cannot tell others apart. Heartbeats have no label, so nobody is suspected
and no leader is deposed meanwhile. A message that is sent again while it waits is held once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeAlias

import msgspec

MAX_HELD = 1000
"""Messages that wait; what comes on top is lost."""
MAX_HELD_BYTES = 64 * 1024 * 1024
MAX_REMEMBERED = 10_000
"""Of the messages let go, so many are known again when they are sent again."""

Key: TypeAlias = tuple[int, int, str]
"""Sender, receiver and label."""


class HeldMessage(msgspec.Struct):
    number: int
    src: int
    dst: int
    label: str
    raw: bytes
    again: bool
    """The same was let go, or dropped, before."""
    sent: int = 1
    """How often it was sent while it waits."""


class Holding:
    """`pass_on` gets what goes on; `noted` learns of each message that begins to wait, `dropped` of each that the
    operator loses, `switched` of every change of `active`."""

    def __init__(
        self, pass_on: Callable[[HeldMessage], None], noted: Callable[[HeldMessage], None],
        dropped: Callable[[HeldMessage], None], switched: Callable[[], None],
    ) -> None:
        self._pass_on = pass_on
        self._noted = noted
        self._dropped = dropped
        self._switched = switched
        self._held: dict[int, HeldMessage] = {}
        """By number: in the order in which they came."""
        self._waiting: dict[Key, HeldMessage] = {}
        self._gone: dict[Key, None] = {}
        self._bytes = 0
        self._count = 0
        self._timer: asyncio.TimerHandle | None = None
        self._pause_s = 0.0
        self.active = False
        self.lost = 0
        """Messages that were lost because too many waited."""

    @property
    def messages(self) -> list[HeldMessage]:
        """What waits, oldest first."""
        return list(self._held.values())

    @property
    def rate(self) -> float:
        """Messages that go on by themselves, a second; 0 if none does."""
        return 1 / self._pause_s if self._pause_s else 0.0

    def start(self, rate: float = 0.0) -> None:
        """Holds messages from now on. With a rate, so many a second go on by themselves."""
        self._cancel()
        if not self.active:
            self.active = True
            self.lost = 0
            self._switched()
        self._pause_s = 1 / rate if rate else 0.0
        if rate:
            self._tick()

    def stop(self) -> int:
        """Lets everything go on, and holds nothing any more. Returns how many messages had waited."""
        self._cancel()
        released = len(self.step(len(self._held)))
        self._gone.clear()
        if self.active:
            self.active = False
            self._switched()
        return released

    def clear(self) -> None:
        """Forgets everything: the relay closes."""
        self._cancel()
        self._held.clear()
        self._waiting.clear()
        self._bytes = 0

    def hold(self, src: int, dst: int, label: str, raw: bytes) -> bool:
        """Takes a message; false if it is lost because too many wait."""
        key = src, dst, label
        waiting = self._waiting.get(key)
        if waiting is not None:
            waiting.sent += 1
            return True
        if len(self._held) >= MAX_HELD or self._bytes + len(raw) > MAX_HELD_BYTES:
            self.lost += 1
            return False
        self._count += 1
        message = HeldMessage(self._count, src, dst, label, raw, key in self._gone)
        self._held[message.number] = self._waiting[key] = message
        self._bytes += len(raw)
        self._noted(message)
        return True

    def step(self, count: int) -> list[HeldMessage]:
        """Lets the oldest so many messages go on; returns them."""
        return [self.deliver(message.number) for message in self.messages[:count]]

    def deliver(self, number: int) -> HeldMessage:
        """Lets one message go on. Raises KeyError if it does not wait."""
        message = self._take(number)
        self._pass_on(message)
        return message

    def repeat(self, number: int) -> HeldMessage:
        """Lets a copy of a message go on, which itself goes on waiting. Raises KeyError if it does not wait."""
        message = self._held[number]
        self._pass_on(message)
        return message

    def drop(self, number: int) -> HeldMessage:
        """Loses a message. Raises KeyError if it does not wait."""
        message = self._take(number)
        self._dropped(message)
        return message

    def _take(self, number: int) -> HeldMessage:
        message = self._held.pop(number)
        key = message.src, message.dst, message.label
        del self._waiting[key]
        self._bytes -= len(message.raw)
        self._gone[key] = None
        if len(self._gone) > MAX_REMEMBERED:
            del self._gone[next(iter(self._gone))]
        return message

    def _tick(self) -> None:
        self.step(1)
        self._timer = asyncio.get_running_loop().call_later(self._pause_s, self._tick)

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
