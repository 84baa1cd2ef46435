"""When the driver's clock is looked at."""

from __future__ import annotations

from collections.abc import Callable

from engine.ticks import Ticks
from paxos.limits import Timing


class _Timer:
    def __init__(self, seconds: float, action: Callable[[], None]) -> None:
        self.seconds = seconds
        self.action = action
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class _Driver:
    """Of `rest` seconds from one tick to the next; tells of something in the midst of a tick if it is to."""

    timing = Timing()

    def __init__(self) -> None:
        self.replica = self
        self.rest = self.timing.tick_s
        self.ticks = 0
        self.tells: Callable[[], None] = lambda: None

    def tick(self) -> None:
        self.ticks += 1
        self.tells()

    def rest_s(self) -> float:
        return self.rest


def test_there_is_one_next_tick_and_news_bring_a_rare_one_forward() -> None:
    driver, timers = _Driver(), list[_Timer]()

    def call_later(seconds: float, action: Callable[[], None]) -> _Timer:
        timers.append(_Timer(seconds, action))
        return timers[-1]

    def pending() -> list[_Timer]:
        return [timer for timer in timers if not timer.cancelled]

    def passes() -> None:
        timer, = pending()
        timers.clear()
        timer.action()

    ticks = Ticks(driver, call_later)  # type: ignore[arg-type]
    ticks.hurry()
    assert not timers, "it has not started"
    ticks.start()
    ticks.hurry()
    assert [timer.seconds for timer in pending()] == [driver.timing.tick_s], "soon enough"
    driver.rest = 0.1
    passes()
    assert [timer.seconds for timer in pending()] == [0.1] and driver.ticks == 2
    ticks.hurry()
    ticks.hurry()
    assert [timer.seconds for timer in pending()] == [driver.timing.tick_s]
    passes()
    driver.tells = ticks.hurry
    passes()
    assert [timer.seconds for timer in pending()] == [0.1], "what a tick itself tells of asks for no other"
    ticks.stop()
    assert not pending()
