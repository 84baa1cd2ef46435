from __future__ import annotations

from random import Random

from net.relay.faults import DROP, NOW, REORDER_S, Faults, Quality


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
    assert (slow.general.delay_s, slow.general.loss_percent) == (3.0, 5)
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


def test_a_single_link_has_its_own_delay_until_all_links_are_set() -> None:
    slow = faults()
    slow.set_delay(0.1, 0.0)
    slow.set_delay(0.3, 0.0, [(1, 2)])
    slow.set_loss(100, [(2, 3)])
    assert slow.decide(1, 2) == (0.3,)
    assert slow.decide(2, 1) == (0.1,)
    assert slow.decide(2, 3) == DROP
    assert slow.own == {(1, 2): Quality(delay_s=0.3), (2, 3): Quality(delay_s=0.1, loss_percent=100)}
    slow.set_delay(0.0, 0.0)
    assert slow.decide(1, 2) == NOW
    slow.set_loss(0, [(2, 3)])
    assert slow.quiet


def test_what_is_lifted_gives_way_to_what_was_there_before() -> None:
    slow = faults()
    slow.set_delay(0.1, 0.0)
    slow.set_delay(3.0, 0.0, token=1)
    assert slow.decide(1, 2) == (3.0,)
    assert slow.lift(1)
    assert slow.decide(1, 2) == (0.1,)
    assert not slow.lift(1)


def test_what_was_set_meanwhile_stays_when_a_fault_is_lifted() -> None:
    cut = faults()
    cut.fail((1, 2), (2, 1), token=1)
    cut.fail((1, 2))
    cut.fail((3, 4), token=2)
    assert cut.lift(1)
    assert cut.cut == [(1, 2), (3, 4)]
    cut.heal()
    assert not cut.lift(2)
    assert cut.quiet


def test_a_partition_for_a_while_restores_the_links_that_were_cut_before() -> None:
    split = faults()
    split.fail((1, 2))
    split.partition([[1, 2], [3]], token=5)
    split.fix((1, 3))
    assert split.cut == [(2, 3), (3, 1), (3, 2)]
    split.lift(5)
    assert split.cut == [(1, 2)]


def test_two_faults_for_a_while_on_one_link_end_each_in_its_time() -> None:
    slow = faults()
    slow.set_loss(10, token=1)
    slow.set_loss(20, token=2)
    slow.lift(1)
    assert slow.general.loss_percent == 20
    slow.lift(2)
    assert slow.quiet
    slow.set_loss(10, token=3)
    slow.set_loss(20, token=4)
    slow.lift(4)
    assert slow.general.loss_percent == 10


def test_a_seed_makes_the_same_messages_meet_the_same_fate() -> None:
    rough = faults()
    rough.set_loss(50)
    rough.seed(4)
    first = [rough.decide(1, 2) for _ in range(100)]
    rough.seed(4)
    assert [rough.decide(1, 2) for _ in range(100)] == first
    rough.reset()
    assert rough.quiet
