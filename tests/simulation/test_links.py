"""Under every pattern of links the cluster converges if it can; see links.py for what that means."""

from __future__ import annotations

import pytest

from tests.simulation.links import (
    RESTART,
    Case,
    Result,
    any_cases,
    formed,
    members_cases,
    one_way_cases,
    run,
    symmetric_cases,
    table,
)
from tests.simulation.patterns import ARROWS, NODES, able, connected, lonely_hubs, one_way_classes, symmetric


def settle(cases: list[Case]) -> list[Result]:
    results = [run(case) for case in cases]
    print(table(results))
    failed = [f"{result.case}: {result.problem}" for result in results if not result.settled]
    assert not failed, "\n".join(failed)
    return results


@pytest.mark.slow
def test_every_symmetric_pattern_from_every_kind_of_start() -> None:
    """Also: no node is without a leader for much longer than failure detection takes, and few nodes campaign."""
    results = settle(symmetric_cases(every_start=False))
    assert len({result.case.pattern for result in results}) == 1024
    assert max(result.seconds for result in results) < 3.0
    assert max(result.elections for result in results) <= 8


@pytest.mark.slow
def test_one_way_patterns_in_which_one_node_alone_can_lead() -> None:
    """A sample; all 2,778 classes from all starts by `python -m tests.simulation.links --one-way --all`."""
    settle(one_way_cases(sample=200))


@pytest.mark.slow
def test_any_one_way_patterns() -> None:
    settle(any_cases(150))


@pytest.mark.slow
def test_patterns_that_follow_other_patterns() -> None:
    """The detectors' memory and the claims are of every kind when the final pattern is applied."""
    settle(any_cases(60, seed=2, shaken=True))


@pytest.mark.slow
def test_symmetric_patterns_right_after_a_change_of_the_members() -> None:
    """A third of them: `python -m tests.simulation.links --members` tries all 1,024."""
    settle(members_cases(every_change=False)[::3])


@pytest.mark.slow
def test_slow_links() -> None:
    settle(one_way_cases(sample=30, delay_s=0.06))


@pytest.mark.slow
def test_three_seconds_of_delay() -> None:
    """No setting says that the links are slow: one leader is still elected, and kept."""
    (result,) = settle([Case(frozenset(ARROWS), RESTART, delay_s=3.0)])
    assert result.elections <= len(NODES)


def test_two_who_differ_do_not_outbid_each_other_at_every_step() -> None:
    """Two nodes that hear each other, and each a different third that in truth is gone, take each other for cut off:
    18 leaderships were claimed within 0.6 s before Election backed off."""
    random_history = [Case(symmetric(number), 4, 10_000 + number, shaken=True) for number in (514, 20, 184, 68)]
    assert max(result.elections for result in settle(random_history)) <= 9


def test_a_run_is_the_same_whatever_ran_before() -> None:
    """Runs share the cluster that they begin with."""
    cases = [*symmetric_cases(every_start=False)[7:600:150], *members_cases(every_change=True)[:2]]
    results = [run(case) for case in cases]
    formed.cache_clear()
    assert [run(case) for case in reversed(cases)] == results[::-1]


# ---- What the patterns are


@pytest.mark.slow
def test_the_classes_of_lonely_hubs() -> None:
    """With node 1 as the hub: 3 states for each pair outside its two-way links, 4 for the pair of the two others if
    it has only two partners. 309,825 patterns in all, in 2,778 classes."""
    assert sum(1 for _ in lonely_hubs()) * len(NODES) == (3**6 + 4 * 3**7 + 6 * 4 * 3**7) * 5 == 309_825
    assert len(one_way_classes()) == 2_778


@pytest.mark.parametrize(
    ("number", "leaders", "path_to_first"),
    [
        (0b1111111111, [1, 2, 3, 4, 5], [1, 2, 3, 4, 5]),
        (0b0000000011, [1], [1, 2, 3]),
        (0b1010010001, [2, 3, 4], [1, 2, 3, 4, 5]),
        (0b0000000001, [], []),
    ],
)
def test_who_can_lead(number: int, leaders: list[int], path_to_first: list[int]) -> None:
    pattern = symmetric(number)
    assert able(pattern) == leaders
    assert (sorted(connected(pattern, leaders[0])) if leaders else []) == path_to_first
