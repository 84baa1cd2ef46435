"""What the relay does with frames, and what it knows of its nodes."""

from __future__ import annotations

import asyncio
import os
import socket

import pytest

import net.relay.connection
import net.relay.relay
from net.control_messages import Report
from net.frames import NODE, URGENT, encode_frame
from net.relay.faults import ALL
from net.relay.faults.cut import Cut
from net.relay.faults.delay import Delay
from net.relay.faults.duplicate import Duplicate
from net.relay.faults.loss import Loss
from tests.unit.net.net_tools import Node, Operator, joined, run, until

REPORT = Report(role="leader", leader=1, ballot=(3, 1, 7), decided=6, applied=6, queued=0, digest="ab")


def test_routes_by_header_in_order() -> None:
    async def main() -> None:
        async with (
            Operator() as operator, Node(operator.port, 1) as one, Node(operator.port, 2) as two,
            Node(operator.port, 3) as three,
        ):
            for node in (one, two, three):
                await node.up()
            sent = [b"%d" % n for n in range(1000)]
            for payload in sent:
                one.link.send(2, payload)
                one.link.send(3, payload + b"!")
            two.link.send(1, b"")
            await until(lambda: len(two.got) == 1000 and len(three.got) == 1000 and one.got)
            assert two.payloads(1) == sent
            assert three.payloads(1) == [payload + b"!" for payload in sent]
            assert one.got == [(2, b"")]
            traffic = operator.relay.traffic(2)
            assert (traffic.frames_in, traffic.frames_out, traffic.dropped) == (1, 1000, 0)
            assert traffic.bytes_out == sum(map(len, sent)) + 9 * 1000

    run(main())


def test_a_message_of_many_megabytes_arrives_whole() -> None:
    async def main() -> None:
        async with Operator() as operator, Node(operator.port, 1) as one, Node(operator.port, 2) as two:
            await one.up()
            await two.up()
            large = os.urandom(1 << 20) * 15
            one.link.send(2, large)
            await two.count(1)
            one.link.send(2, b"after")
            await two.count(2)
            assert two.payloads(1) == [large, b"after"]

    run(main())


def test_a_cut_link_carries_nothing_in_its_direction() -> None:
    async def main() -> None:
        async with Operator() as operator, Node(operator.port, 1) as one, Node(operator.port, 2) as two:
            await one.up()
            await two.up()
            operator.faults.set(Cut, {(1, 2): Cut(True)})
            one.link.send(2, b"lost")
            two.link.send(1, b"passes")
            await until(lambda: one.got)
            await until(lambda: operator.relay.traffic(2).dropped == 1)
            operator.faults.set(Cut, {(1, 2): Cut(False)})
            one.link.send(2, b"again")
            await until(lambda: two.got)
            assert two.payloads(1) == [b"again"]

    run(main())


def test_urgent_frames_overtake_what_waits_for_a_node_that_does_not_read() -> None:
    async def main() -> None:
        async with Operator() as operator, Node(operator.port, 1) as one:
            await one.up()
            slow = await joined(operator, 2, urgent=True)
            for _ in range(60):
                one.link.send(2, b"x" * 100_000)
            await until(lambda: operator.relay.traffic(2).frames_out == 60)
            one.link.send(2, b"vote", urgent=True)
            await until(lambda: operator.relay.traffic(2).frames_out == 61)
            kinds = [(await slow.frame()).kind for _ in range(61)]
            assert kinds.count(URGENT) == 1 and kinds.index(URGENT) < 50, "it waited only for what the sockets held"
            slow.close()

    run(main())


@pytest.mark.parametrize("late", [0.0, 20.0])
def test_a_node_that_does_not_know_urgent_frames_gets_others(late: float) -> None:
    async def main() -> None:
        async with Operator() as operator, Node(operator.port, 1) as one, Node(operator.port, 3) as three:
            await one.up()
            await three.up()
            operator.faults.set(Delay, {ALL: Delay(late)})
            old = await joined(operator, 2)
            one.link.send(2, b"vote", urgent=True)
            frame = await old.frame()
            assert (frame.kind, frame.src, frame.dst, bytes(frame.payload)) == (NODE, 1, 2, b"vote")
            one.link.send(3, b"vote", urgent=True)
            await three.count(1)
            assert three.got == [(1, b"vote")]
            old.close()

    run(main())


def test_delayed_messages_arrive_later_and_in_order() -> None:
    async def main() -> None:
        async with Operator() as operator, Node(operator.port, 1) as one, Node(operator.port, 2) as two:
            await one.up()
            await two.up()
            operator.faults.set(Delay, {ALL: Delay(150)})
            started = asyncio.get_running_loop().time()
            sent = [b"%d" % n for n in range(500)]
            for payload in sent:
                one.link.send(2, payload)
            await until(lambda: len(two.got) == 500)
            assert asyncio.get_running_loop().time() - started >= 0.14
            assert two.payloads(1) == sent

    run(main())


def test_jitter_reorders_and_a_link_cut_meanwhile_loses_what_was_under_way() -> None:
    async def main() -> None:
        async with Operator() as operator, Node(operator.port, 1) as one, Node(operator.port, 2) as two:
            await one.up()
            await two.up()
            operator.faults.set(Delay, {ALL: Delay(0, 50)})
            sent = [b"%d" % n for n in range(200)]
            for payload in sent:
                one.link.send(2, payload)
            await until(lambda: len(two.got) == 200)
            assert two.payloads(1) != sent
            assert sorted(two.payloads(1)) == sorted(sent)
            operator.faults.set(Delay, {ALL: Delay(2000)})
            one.link.send(2, b"under way")
            await until(lambda: operator.relay.traffic(1).frames_in == 201)
            operator.faults.set(Cut, {(1, 2): Cut(True)})
            await until(lambda: operator.relay.traffic(2).dropped == 1)
            assert b"under way" not in two.payloads(1)

    run(main())


def test_loss_and_duplicates() -> None:
    async def main() -> None:
        async with Operator() as operator, Node(operator.port, 1) as one, Node(operator.port, 2) as two:
            await one.up()
            await two.up()
            operator.faults.set(Loss, {ALL: Loss(50)})
            for n in range(400):
                one.link.send(2, b"%d" % n)
            traffic = operator.relay.traffic(2)
            await until(lambda: traffic.dropped + len(two.got) == 400)
            assert 150 < traffic.dropped < 250
            operator.faults.set(Loss, {ALL: Loss(0)})
            operator.faults.set(Duplicate, {ALL: Duplicate(100)})
            two.got.clear()
            one.link.send(2, b"twice")
            await until(lambda: len(two.got) == 2)
            assert two.payloads(1) == [b"twice", b"twice"]

    run(main())


def test_what_is_under_way_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with Operator() as operator, Node(operator.port, 1) as one, Node(operator.port, 2) as two:
            await one.up()
            await two.up()
            operator.relay._router.delayed._limit = 10_000
            operator.faults.set(Delay, {ALL: Delay(60_000)})
            for _ in range(20):
                one.link.send(2, bytes(991))
            await until(lambda: operator.relay.traffic(1).frames_in == 20)
            assert operator.relay.traffic(2).dropped == 10
            assert operator.relay._router.delayed.bytes == 10_000

    run(main())


def test_a_node_that_does_not_read_costs_its_own_messages_and_bounded_memory() -> None:
    async def main() -> None:
        async with Operator() as operator, Node(operator.port, 1) as one, Node(operator.port, 3) as three:
            await one.up()
            await three.up()
            stalled = await joined(operator, 2)
            stalled.writer.transport.pause_reading()  # type: ignore[attr-defined]
            traffic = operator.relay.traffic(2)
            sent = 0
            while traffic.dropped < 100:
                one.link.send(2, bytes(64 * 1024))
                one.link.send(3, b"%d" % sent)
                sent += 1
                await three.count(sent)
            member = operator.relay._members[2]
            assert member._transport is not None
            assert member._transport.get_write_buffer_size() <= net.relay.connection.MAX_QUEUED + 64 * 1024 + 9
            assert three.payloads(1) == [b"%d" % n for n in range(sent)]
            assert operator.relay.traffic(3).dropped == 0
            # It gets what had been queued, then what is sent now.
            stalled.writer.transport.resume_reading()  # type: ignore[attr-defined]
            while len((await stalled.frame()).raw) != 4 + 9:
                one.link.send(2, b"last")
                await asyncio.sleep(0)
            assert operator.told("node_down") == []

    run(main())


def test_others_hear_of_a_node_that_comes_and_goes_unless_the_link_is_cut() -> None:
    async def main() -> None:
        async with Operator() as operator, Node(operator.port, 1) as one, Node(operator.port, 2) as two:
            await one.up()
            await two.up()
            operator.faults.set(Cut, {(3, 2): Cut(True)})
            async with Node(operator.port, 3) as three:
                await three.up()
                assert sorted(three.reasons("peer_up")) == [1, 2]
                await until(lambda: 3 in one.reasons("peer_up"))
            await until(lambda: one.reasons("peer_down") == [3])
            two.link.send(1, b"done")
            await until(lambda: one.got)
            assert 3 not in two.reasons("peer_up") + two.reasons("peer_down")
            assert [told["node"] for told in operator.told("node_up")] == [1, 2, 3]
            assert [told["node"] for told in operator.told("node_down")] == [3]

    run(main())


def test_reports_are_kept_while_a_node_is_connected() -> None:
    async def main() -> None:
        async with Operator() as operator:
            async with Node(operator.port, 1) as one:
                one.link.send_report(REPORT)
                await until(lambda: operator.relay.report_of(1) is not None)
                assert operator.relay.report_of(1) == REPORT
            await until(lambda: operator.relay.report_of(1) is None)

    run(main())


def test_a_message_to_a_node_that_does_not_exist_is_told_of_and_dropped() -> None:
    async def main() -> None:
        async with Operator() as operator, Node(operator.port, 1) as one:
            await one.up()
            for _ in range(50):
                one.link.send(9, b"?")
            assert "node 1 sends to node 9" in await operator.refusal()
            await until(lambda: operator.relay.traffic(1).frames_in == 50)
            assert len(operator.told("refused")) == 2
            assert one.link.is_up

    run(main())


def test_a_busy_port_is_an_error() -> None:
    async def main() -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            operator = Operator()
            operator.port = taken.getsockname()[1]
            with pytest.raises(OSError):
                await operator.__aenter__()
            await operator.relay.close()

    run(main())


def test_a_connection_that_cannot_be_written_to_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with Operator() as operator, Node(operator.port, 1) as one, Node(operator.port, 2) as two:
            await one.up()
            await two.up()
            members = operator.relay._members

            def broken() -> None:
                raise RuntimeError("the handle is closed")

            assert members[2].push(encode_frame(NODE, 1, 2, b"passes"))
            assert operator.relay._router._unflushed == [members[2]]
            operator.relay._router._unflushed += [members[1]]
            monkeypatch.setattr(members[1], "flush", broken)
            with pytest.raises(RuntimeError):
                operator.relay._router._flush()
            await until(lambda: two.got == [(1, b"passes")])
            monkeypatch.undo()

    run(main())
