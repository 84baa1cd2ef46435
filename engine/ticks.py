"""Looks at a driver's clock: every tick while something waits for time to pass, else more rarely."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from engine.driver import ReplicaDriver


class Timer(Protocol):
    def cancel(self) -> object: ...


class Ticks:
    """`call_later` is that of the event loop."""

    def __init__(self, driver: ReplicaDriver, call_later: Callable[[float, Callable[[], None]], Timer]) -> None:
        self._driver = driver
        self._call_later = call_later
        self._timer: Timer | None = None
        self._rare = False

    def start(self) -> None:
        """The first one is now."""
        self._rare = False
        self._driver.tick()
        self._schedule(self._driver.rest_s())

    def hurry(self) -> None:
        """What follows on what just happened (an operation was applied, a leader or links have changed) must not wait
        for a rare tick."""
        if self._rare and self._timer is not None:
            self._timer.cancel()
            self._schedule(self._driver.replica.timing.tick_s)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _schedule(self, seconds: float) -> None:
        self._rare = seconds > self._driver.replica.timing.tick_s
        self._timer = self._call_later(seconds, self.start)
