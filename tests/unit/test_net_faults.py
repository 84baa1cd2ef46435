from __future__ import annotations

from random import Random

from net.faults import DROP, NOW, REORDER_S, Faults


def faults() -> Faults:
    return Faults(Random(7))


def test_without_faults_everything_passes_at_once() -> None:
    quiet = faults()
    assert quiet.quiet
    assert quiet.decide(1, 2) == NOW


def test_a_cut_has_a_direction() -> None:
    cut = faults()
    cut.fail((1, 2))
    assert cut.decide(1, 2) == DROP
    assert cut.decide(2, 1) == NOW
    assert cut.cut == [(1, 2)]
    cut.fix((1, 2))
    assert cut.decide(1, 2) == NOW
    assert cut.quiet


def test_a_partition_cuts_exactly_the_links_between_groups() -> None:
    split = faults()
    split.fail((1, 2))
    split.partition([[1, 2], [3]])
    assert split.cut == [(1, 3), (2, 3), (3, 1), (3, 2)]
    split.heal()
    assert split.cut == []


def test_heal_leaves_delay_and_loss_alone() -> None:
    slow = faults()
    slow.set_delay(3.0, 0.0)
    slow.set_loss(5)
    slow.fail((1, 2))
    slow.heal()
    assert (slow.delay_s, slow.loss_percent) == (3.0, 5)
    assert not slow.quiet


def test_delay_and_jitter() -> None:
    slow = faults()
    slow.set_delay(1.0, 0.5)
    lateness = [late for _ in range(1000) for late in slow.decide(1, 2)]
    assert len(lateness) == 1000
    assert 1.0 <= min(lateness) < 1.05
    assert 1.45 < max(lateness) <= 1.5


def test_loss_duplicates_and_reordering_happen_as_often_as_asked() -> None:
    rough = faults()
    rough.set_loss(30)
    assert 250 < sum(not rough.decide(1, 2) for _ in range(1000)) < 350
    rough.set_loss(0)
    rough.set_duplicates(20)
    assert 150 < sum(len(rough.decide(1, 2)) == 2 for _ in range(1000)) < 250
    rough.set_duplicates(0)
    rough.set_reordering(50)
    late = [rough.decide(1, 2)[0] for _ in range(1000)]
    assert 400 < sum(value > 0 for value in late) < 600
    assert max(late) <= REORDER_S


def test_total_loss_and_a_seed() -> None:
    lost = faults()
    lost.set_loss(100)
    assert not any(lost.decide(1, 2) for _ in range(100))
    one, two = Faults(Random(3)), Faults(Random(3))
    for each in (one, two):
        each.set_loss(50)
    assert [one.decide(1, 2) for _ in range(100)] == [two.decide(1, 2) for _ in range(100)]
