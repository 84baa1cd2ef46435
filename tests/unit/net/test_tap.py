"""Messages of the protocol as they pass the relay, for those who watch."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

import net.relay.tap
from net.relay.faults.cut import Cut
from net.relay.faults.delay import Delay
from net.relay.tap import Tap
from tests.unit.net.net_tools import Node, Operator, run, until


@asynccontextmanager
async def watched() -> AsyncIterator[tuple[Tap, Node, Node, Operator]]:
    async with Operator() as operator, Node(operator.port, 1) as one, Node(operator.port, 2) as two:
        await one.up()
        await two.up()
        operator.relay.tap.start()
        await until(lambda: one.link.wants_labels and two.link.wants_labels)
        yield operator.relay.tap, one, two, operator


def test_what_becomes_of_messages_is_seen_in_order_and_heartbeats_are_not() -> None:
    async def main() -> None:
        async with watched() as (tap, one, _, operator):
            seen: list[tuple[str, str, float]] = []

            async def sent(label: str, count: int = 1) -> None:
                one.link.send(2, b"a heartbeat")
                one.link.send(2, label.encode(), label=label)

                def taken() -> bool:
                    seen.extend((each.label, each.fate, each.late_s) for each in tap.take()[0])
                    return len(seen) >= count

                await until(taken)

            await sent("Prepare <1,1,1>")
            operator.faults.set(Cut, {(1, 2): Cut(True)})
            await sent("Promise <1,1,1>", 2)
            operator.faults.reset()
            operator.faults.set(Delay, {(1, 2): Delay(1.0, 0.0)})
            await sent("Accept <1,1,1>", 3)
            operator.faults.reset()
            operator.relay.holding.start()
            await sent("Decide <1,1,1>", 4)
            await sent("Decide <1,1,2>", 5)
            operator.relay.holding.deliver(1)
            operator.relay.holding.drop(2)
            seen += [(each.label, each.fate, each.late_s) for each in tap.take()[0]]
            assert [fate for _, fate, _ in seen] == ["passed", "lost", "late", "held", "held", "released", "dropped"]
            assert [label for label, _, _ in seen[-2:]] == ["Decide <1,1,1>", "Decide <1,1,2>"]
            assert seen[2][2] == pytest.approx(0.001)

    run(main())


def test_under_load_labels_are_asked_for_a_part_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(net.relay.tap, "AT_ONCE", 3)
    monkeypatch.setattr(net.relay.tap, "PAUSE_S", 0.1)
    monkeypatch.setattr(net.relay.tap, "MAX_KEPT", 5)

    async def main() -> None:
        async with watched() as (tap, one, two, operator):
            for number in range(9):
                one.link.send(2, b"x", label=f"Accept <1,1,{number}>")
            await until(lambda: not one.link.wants_labels)
            seen, sampled = tap.take()
            assert sampled and [each.label for each in seen[:2]] == ["Accept <1,1,0>", "Accept <1,1,1>"]
            assert len(seen) <= 5
            await two.count(9)
            await until(lambda: one.link.wants_labels)
            operator.relay.holding.start()
            tap.stop()
            assert one.link.wants_labels, "what is held has labels all the same"
            operator.relay.holding.stop()
            await until(lambda: not one.link.wants_labels)

    run(main())


def test_while_nobody_watches_nothing_is_asked_for_or_kept() -> None:
    async def main() -> None:
        async with watched() as (tap, one, two, operator):
            tap.stop()
            await until(lambda: not one.link.wants_labels and not two.link.wants_labels)
            tap.saw(1, 2, "Accept <1,1,1>", "passed")
            assert tap.take()[0] == []
            async with Node(operator.port, 3) as three:
                await three.up()
                assert not three.link.wants_labels

    run(main())
