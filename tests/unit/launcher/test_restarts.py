"""When what has crashed is started again."""

from __future__ import annotations

from itertools import pairwise

from launcher.restarts import AT_ONCE_S, FIRST_PAUSE_S, LONGEST_PAUSE_S, MOST, STEADY_S, Restarts

KILLED, FAILED, MISUSED = -9, 1, 2


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def ended(restarts: Restarts, clock: Clock, after: float, code: int = KILLED) -> float | None:
    clock.now += after
    pause = restarts.pause("2", code)
    if pause is not None:
        clock.now += pause
        restarts.started("2", wanted=False)
    return pause


def begun() -> tuple[Restarts, Clock]:
    clock = Clock()
    restarts = Restarts(clock)
    restarts.started("2", wanted=True)
    return restarts, clock


def test_pauses_grow_and_end() -> None:
    restarts, clock = begun()
    pauses = [ended(restarts, clock, 1.0) or 0.0 for _ in range(MOST)]
    assert pauses[0] == FIRST_PAUSE_S and pauses[-1] == LONGEST_PAUSE_S
    assert all(second in (2 * first, LONGEST_PAUSE_S) for first, second in pairwise(pauses))
    assert ended(restarts, clock, 1.0) is None
    restarts.started("2", wanted=True)
    assert ended(restarts, clock, 1.0) == FIRST_PAUSE_S


def test_who_ran_for_long_begins_anew() -> None:
    restarts, clock = begun()
    for _ in range(3 * MOST):
        assert ended(restarts, clock, STEADY_S) == FIRST_PAUSE_S


def test_who_leaves_or_cannot_begin_is_not_started_again() -> None:
    for code in (0, MISUSED):
        assert ended(*begun(), AT_ONCE_S, code) is None
    assert ended(*begun(), AT_ONCE_S / 2, FAILED) is None
    assert ended(*begun(), AT_ONCE_S, FAILED) == FIRST_PAUSE_S


def test_one_that_was_started_again_may_fail_at_once() -> None:
    """The disk may still be full."""
    restarts, clock = begun()
    assert ended(restarts, clock, AT_ONCE_S, FAILED) == FIRST_PAUSE_S
    assert ended(restarts, clock, 0.1, FAILED) == 2 * FIRST_PAUSE_S
