from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from random import Random
from typing import ClassVar

import pytest

from net.relay.faults import ALL, DROP, NOW, Faults, Link
from net.relay.faults.bandwidth import MAX_QUEUED, Bandwidth
from net.relay.faults.cut import Cut, partition
from net.relay.faults.delay import Delay
from net.relay.faults.duplicate import Duplicate
from net.relay.faults.fault import KINDS, Copies, Decider, Fault, register
from net.relay.faults.loss import Loss
from net.relay.faults.reorder import REORDER_S, Reorder

ROOT = Path(__file__).resolve().parents[3]


class Network(Faults):
    """Faults with the few commands that the tests repeat."""

    def __init__(self, seed: int = 7) -> None:
        super().__init__(Random(seed))

    def put(self, fault: Fault, links: Iterable[Link] = (ALL,), token: int | None = None) -> None:
        self.set(type(fault), dict.fromkeys(links, fault), token)

    def fail(self, *links: Link, token: int | None = None) -> None:
        self.put(Cut(True), links, token)

    def fix(self, *links: Link) -> None:
        self.put(Cut(False), links)


def test_without_faults_everything_passes_at_once() -> None:
    quiet = Network()
    assert quiet.quiet
    assert quiet.decide(1, 2) == NOW


def test_a_cut_has_a_direction() -> None:
    cut = Network()
    cut.fail((1, 2))
    assert cut.decide(1, 2) == DROP
    assert cut.decide(2, 1) == NOW
    assert cut.cut == [(1, 2)]
    assert cut.is_cut(1, 2) and not cut.is_cut(2, 1)
    cut.fix((1, 2))
    assert cut.decide(1, 2) == NOW
    assert cut.quiet


def test_a_partition_cuts_exactly_the_links_between_groups() -> None:
    split = Network()
    split.fail((1, 2))
    split.set(Cut, partition([[1, 2], [3]]))
    assert split.cut == [(1, 3), (2, 3), (3, 1), (3, 2)]
    split.fix(ALL)
    assert split.cut == []


def test_mending_all_links_leaves_delay_and_loss_alone() -> None:
    slow = Network()
    slow.put(Delay(3000))
    slow.put(Loss(5))
    slow.fail((1, 2))
    slow.fix(ALL)
    assert (slow.get(Delay), slow.get(Loss)) == (Delay(3000), Loss(5))
    assert not slow.quiet


def test_delay_and_jitter() -> None:
    slow = Network()
    slow.put(Delay(1000, 500))
    lateness = [late for _ in range(1000) for late in slow.decide(1, 2)]
    assert len(lateness) == 1000
    assert 1.0 <= min(lateness) < 1.05
    assert 1.45 < max(lateness) <= 1.5


def test_loss_duplicates_and_reordering_happen_as_often_as_asked() -> None:
    rough = Network()
    rough.put(Loss(30))
    assert 250 < sum(not rough.decide(1, 2) for _ in range(1000)) < 350
    rough.put(Loss())
    rough.put(Duplicate(20))
    assert 150 < sum(len(rough.decide(1, 2)) == 2 for _ in range(1000)) < 250
    rough.put(Duplicate())
    rough.put(Reorder(50))
    late = [rough.decide(1, 2)[0] for _ in range(1000)]
    assert 400 < sum(value > 0 for value in late) < 600
    assert max(late) <= REORDER_S


def test_total_loss_and_a_seed() -> None:
    lost = Network()
    lost.put(Loss(100))
    assert not any(lost.decide(1, 2) for _ in range(100))
    one, two = Network(3), Network(3)
    for each in (one, two):
        each.put(Loss(50))
    assert [one.decide(1, 2) for _ in range(100)] == [two.decide(1, 2) for _ in range(100)]


def test_a_single_link_has_its_own_delay_until_all_links_are_set() -> None:
    slow = Network()
    slow.put(Delay(100))
    slow.put(Delay(300), [(1, 2)])
    slow.put(Loss(100), [(2, 3)])
    assert slow.decide(1, 2) == (0.3,)
    assert slow.decide(2, 1) == (0.1,)
    assert slow.decide(2, 3) == DROP
    assert slow.different == [(1, 2), (2, 3)]
    assert slow.in_force((2, 3)) == [Cut(), Loss(100), Duplicate(), Bandwidth(), Delay(100), Reorder()]
    slow.put(Delay())
    assert slow.decide(1, 2) == NOW
    slow.put(Loss(), [(2, 3)])
    assert slow.quiet


def test_what_is_lifted_gives_way_to_what_was_there_before() -> None:
    slow = Network()
    slow.put(Delay(100))
    slow.put(Delay(3000), token=1)
    assert slow.decide(1, 2) == (3.0,)
    assert slow.lift(1)
    assert slow.decide(1, 2) == (0.1,)
    assert not slow.lift(1)


def test_what_was_set_meanwhile_stays_when_a_fault_is_lifted() -> None:
    cut = Network()
    cut.fail((1, 2), (2, 1), token=1)
    cut.fail((1, 2))
    cut.fail((3, 4), token=2)
    assert cut.lift(1)
    assert cut.cut == [(1, 2), (3, 4)]
    cut.fix(ALL)
    assert not cut.lift(2)
    assert cut.quiet


def test_a_partition_for_a_while_restores_the_links_that_were_cut_before() -> None:
    split = Network()
    split.fail((1, 2))
    split.set(Cut, partition([[1, 2], [3]]), token=5)
    split.fix((1, 3))
    assert split.cut == [(2, 3), (3, 1), (3, 2)]
    split.lift(5)
    assert split.cut == [(1, 2)]


def test_two_faults_for_a_while_on_one_link_end_each_in_its_time() -> None:
    slow = Network()
    slow.put(Loss(10), token=1)
    slow.put(Loss(20), token=2)
    slow.lift(1)
    assert slow.get(Loss) == Loss(20)
    slow.lift(2)
    assert slow.quiet
    slow.put(Loss(10), token=3)
    slow.put(Loss(20), token=4)
    slow.lift(4)
    assert slow.get(Loss) == Loss(10)


def test_a_seed_makes_the_same_messages_meet_the_same_fate() -> None:
    rough = Network()
    rough.put(Loss(50))
    rough.seed(4)
    first = [rough.decide(1, 2) for _ in range(100)]
    rough.seed(4)
    assert [rough.decide(1, 2) for _ in range(100)] == first
    rough.reset()
    assert rough.quiet


def test_what_a_seed_decides_is_the_same_in_every_release() -> None:
    rough = Network()
    for fault in (Delay(100, 20), Loss(30), Duplicate(40), Reorder(50)):
        rough.put(fault)
    rough.seed(11)
    decided = [tuple(round(late, 4) for late in rough.decide(1, 2)) for _ in range(8)]
    assert decided == [
        (0.1286,), (0.1102, 0.1219), (), (0.1008,), (0.1126,), (0.1044, 0.1261), (0.11,), (0.12, 0.1168)
    ]


def test_the_modules_of_the_package_are_found_by_themselves() -> None:
    program = "from net.relay.faults.fault import KINDS; print(*(kind.__name__ for kind in KINDS))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["Cut", "Loss", "Duplicate", "Bandwidth", "Delay", "Reorder"]


@pytest.fixture
def throttle() -> Iterator[type[Fault]]:
    """A further kind of fault, as it would stand in a module of its own: no more than so many bytes a second."""

    @register
    class Throttle(Fault, frozen=True):
        bytes_per_s: float = 0.0
        stage: ClassVar[int] = 25

        def decider(self, random: Random) -> Decider:
            free_at = 0.0

            def decide(late: float, size: int, now: float, urgent: bool) -> Copies:
                nonlocal free_at
                free_at = max(free_at, now + late) + size / self.bytes_per_s
                return (free_at - now,)

            return decide

        def words(self) -> str:
            return f"throttle {self.bytes_per_s:g} bytes/s"

    yield Throttle
    KINDS.remove(Throttle)


def test_a_further_kind_needs_nothing_but_its_module(throttle: type[Fault]) -> None:
    thin = Network()
    assert thin.quiet
    thin.put(throttle(1000.0))
    assert [thin.decide(1, 2, 100, now=5.0) for _ in range(3)] == [pytest.approx((n / 10,)) for n in (1, 2, 3)]
    assert thin.decide(2, 1, 100, now=5.0) == pytest.approx((0.1,)), "each link has a line of its own"
    thin.put(Duplicate(100))
    thin.put(Delay(1000))
    assert thin.decide(1, 2, 100, now=5.0) == pytest.approx((1.4, 1.5)), "changes elsewhere leave its queue alone"
    thin.put(throttle(), [(1, 2)])
    assert thin.decide(1, 2, 100, now=5.0) == pytest.approx((1.0, 1.0))
    assert thin.different == [(1, 2)]
    thin.reset()
    assert thin.quiet


def test_a_thin_link_carries_so_much_in_a_second_and_urgent_frames_first() -> None:
    thin = Network()
    thin.put(Bandwidth(8.0))
    assert [thin.decide(1, 2, 100, now=5.0) for _ in range(3)] == [pytest.approx((n / 10,)) for n in (1, 2, 3)]
    assert thin.decide(1, 2, 10, now=5.0, urgent=True) == pytest.approx((0.01,)), "it waits for none of these"
    assert thin.decide(1, 2, 10, now=5.0, urgent=True) == pytest.approx((0.02,)), "but for what is urgent, too"
    assert thin.decide(1, 2, 100, now=5.0) == pytest.approx((0.42,)), "and takes its share"
    assert thin.decide(1, 2, MAX_QUEUED, now=5.0) != DROP
    assert thin.decide(1, 2, 100, now=5.0) == DROP, "what waits is bounded"
    assert thin.decide(1, 2, MAX_QUEUED, now=5.0, urgent=True) != DROP
    assert thin.decide(1, 2, 10, now=5.0, urgent=True) == DROP, "of either kind"
    thin.put(Bandwidth(0.0))
    assert thin.quiet


def test_an_equal_fault_later_is_another_one() -> None:
    thin = Network()
    for token in (1, 2):
        thin.put(Bandwidth(8.0), token=token)
        assert thin.decide(1, 2, 1000, now=5.0) == pytest.approx((1.0,))
        assert thin.lift(token) and thin.quiet
        assert thin.decide(1, 2, 1000, now=5.0) == NOW
