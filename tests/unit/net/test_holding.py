"""Messages that wait at the relay until the operator lets them go on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

import net.relay.holding
from net.frames import LABELLED, NODE, URGENT, FrameError, encode_frame, encode_labelled_frame, take_label_off
from net.relay.faults.cut import Cut
from net.relay.holding import Holding
from tests.unit.net.net_tools import Node, Operator, run, until


@asynccontextmanager
async def held() -> AsyncIterator[tuple[Holding, Node, Node, Operator]]:
    """A relay that holds what node 1 sends to node 2."""
    async with Operator() as operator, Node(operator.port, 1) as one, Node(operator.port, 2) as two:
        await one.up()
        await two.up()
        operator.relay.holding.start()
        await until(lambda: one.link.wants_labels and two.link.wants_labels)
        yield operator.relay.holding, one, two, operator


async def send(node: Node, holding: Holding, *labels: str) -> None:
    """To node 2; returns when they wait."""
    count = len(holding.messages)
    for label in labels:
        node.link.send(2, label.encode(), label=label)
    await until(lambda: len(holding.messages) == count + len(labels))


def test_messages_wait_in_order_and_go_on_one_by_one() -> None:
    async def main() -> None:
        async with held() as (holding, one, two, operator):
            await send(one, holding, "Prepare <1,1,1>", "Accept <1,1,1>", "Decide <1,1,1>")
            assert [(each.number, each.src, each.dst, each.label) for each in holding.messages] == [
                (1, 1, 2, "Prepare <1,1,1>"), (2, 1, 2, "Accept <1,1,1>"), (3, 1, 2, "Decide <1,1,1>")]
            assert [told["message"].number for told in operator.told("held")] == [1, 2, 3]
            one.link.send(2, b"no label: a heartbeat")
            await two.count(1)
            assert [each.number for each in holding.step(1)] == [1]
            holding.deliver(3)
            holding.repeat(2)
            holding.drop(2)
            await two.count(4)
            assert two.payloads(1)[1:] == [b"Prepare <1,1,1>", b"Decide <1,1,1>", b"Accept <1,1,1>"]
            assert not holding.messages and not holding.step(1)
            for action in (holding.deliver, holding.repeat, holding.drop):
                with pytest.raises(KeyError):
                    action(2)

    run(main())


def test_what_is_sent_again_waits_once_and_is_known_again() -> None:
    async def main() -> None:
        async with held() as (holding, one, two, _):
            await send(one, holding, "Accept <1,1,1>")
            for _ in range(2):
                one.link.send(2, b"", label="Accept <1,1,1>")
            await until(lambda: holding.messages[0].sent == 3)
            holding.step(1)
            await send(one, holding, "Accept <1,1,1>")
            assert holding.messages[0].again and holding.messages[0].sent == 1
            await two.count(1)

    run(main())


def test_released_messages_arrive_in_order_and_no_label_is_asked_for_any_more() -> None:
    async def main() -> None:
        async with held() as (holding, one, two, operator):
            await send(one, holding, "one", "two")
            assert holding.stop() == 2
            await until(lambda: not one.link.wants_labels)
            one.link.send(2, b"three", label="three")
            await two.count(3)
            assert two.payloads(1) == [b"one", b"two", b"three"]
            async with Node(operator.port, 3) as three:
                await three.up()
                assert not three.link.wants_labels

    run(main())


def test_a_node_that_connects_later_is_asked_for_labels() -> None:
    async def main() -> None:
        async with held() as (_, _, _, operator), Node(operator.port, 3) as three:
            await until(lambda: three.link.wants_labels)

    run(main())


def test_in_slow_motion_messages_go_on_by_themselves() -> None:
    async def main() -> None:
        async with held() as (holding, one, two, _):
            await send(one, holding, "one", "two", "three")
            holding.start(rate=1000.0)
            await two.count(3)
            assert two.payloads(1) == [b"one", b"two", b"three"] and holding.active

    run(main())


def test_a_cut_link_loses_messages_before_and_after_they_wait() -> None:
    async def main() -> None:
        async with held() as (holding, one, two, operator):
            await send(one, holding, "one")
            operator.faults.set(Cut, {(1, 2): Cut(True)})
            one.link.send(2, b"", label="two")
            await until(lambda: operator.relay.traffic(2).dropped == 1)
            holding.step(1)
            assert operator.relay.traffic(2).dropped == 2
            operator.faults.reset()
            await send(one, holding, "three")
            holding.step(1)
            await two.count(1)
            assert two.payloads(1) == [b"three"]

    run(main())


def test_too_many_are_lost_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(net.relay.holding, "MAX_HELD", 2)

    async def main() -> None:
        async with held() as (holding, one, _, operator):
            await send(one, holding, "one", "two")
            one.link.send(2, b"", label="three")
            await until(lambda: holding.lost)
            assert len(holding.messages) == 2 and operator.relay.traffic(2).dropped == 1

    run(main())


@pytest.mark.parametrize("kind", [NODE, URGENT])
def test_a_label_comes_off_whole(kind: int) -> None:
    raw = encode_labelled_frame(kind, 1, 2, "Accept <1,1,1>\x1b" + "x" * 100, b"payload")
    label, rest = take_label_off(raw)
    assert label.startswith("Accept <1,1,1>?x") and len(label) == 80
    assert rest == encode_frame(kind, 1, 2, b"payload")


@pytest.mark.parametrize("payload", [b"", b"\x05", b"\x05abc", b"\x00", b"\x00\x00control", b"\x00\x04twice"])
def test_a_broken_label_is_an_error(payload: bytes) -> None:
    with pytest.raises(FrameError):
        take_label_off(encode_frame(LABELLED, 1, 2, payload))


def test_a_node_that_breaks_its_labels_is_refused() -> None:
    async def main() -> None:
        async with held() as (_, one, _, operator):
            connection = operator.relay._members[1]
            one.link._connection.queue.push(encode_frame(LABELLED, 1, 2, b""))  # type: ignore[union-attr]
            assert "broken label" in await operator.refusal()
            await asyncio.wait_for(until(lambda: operator.relay._members.get(1) is not connection), 5)

    run(main())
