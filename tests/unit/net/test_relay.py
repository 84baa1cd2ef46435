from __future__ import annotations

import asyncio
import os
import socket

import pytest

import net.relay.connection
import net.relay.relay
from net.auth import new_nonce, node_proof
from net.control_messages import Challenge, Hello, Refusal, Refused, Report, Welcome
from net.frames import CONTROL, HEADER, MAX_FRAME, MAX_HANDSHAKE_FRAME, NODE, encode_frame
from tests.unit.net.net_tools import Node, Operator, Raw, run, until

REPORT = Report(role="leader", leader=1, ballot=(3, 1, 7), decided=6, applied=6, queued=0, digest="ab")


async def joined(operator: Operator, number: int, incarnation: int = 1) -> Raw:
    """A connection that has shaken hands as a node, byte by byte under the test's control."""
    raw = await Raw.connect(operator.port)
    assert isinstance(await raw.hear(), Challenge)
    raw.control(number, hello(number, incarnation))
    assert isinstance(await raw.hear(), Welcome)
    return raw


def hello(number: int, incarnation: int = 1, cluster: str = "test", proof: bytes = b"") -> Hello:
    return Hello(cluster, number, os.getpid(), incarnation, new_nonce(), proof)


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
            operator.faults.fail((1, 2))
            one.link.send(2, b"lost")
            two.link.send(1, b"passes")
            await until(lambda: one.got)
            await until(lambda: operator.relay.traffic(2).dropped == 1)
            operator.faults.fix((1, 2))
            one.link.send(2, b"again")
            await until(lambda: two.got)
            assert two.payloads(1) == [b"again"]

    run(main())


def test_delayed_messages_arrive_later_and_in_order() -> None:
    async def main() -> None:
        async with Operator() as operator, Node(operator.port, 1) as one, Node(operator.port, 2) as two:
            await one.up()
            await two.up()
            operator.faults.set_delay(0.15, 0)
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
            operator.faults.set_delay(0, 0.05)
            sent = [b"%d" % n for n in range(200)]
            for payload in sent:
                one.link.send(2, payload)
            await until(lambda: len(two.got) == 200)
            assert two.payloads(1) != sent
            assert sorted(two.payloads(1)) == sorted(sent)
            operator.faults.set_delay(0.1, 0)
            one.link.send(2, b"under way")
            await until(lambda: operator.relay.traffic(1).frames_in == 201)
            operator.faults.fail((1, 2))
            await until(lambda: operator.relay.traffic(2).dropped == 1)
            assert b"under way" not in two.payloads(1)

    run(main())


def test_loss_and_duplicates() -> None:
    async def main() -> None:
        async with Operator() as operator, Node(operator.port, 1) as one, Node(operator.port, 2) as two:
            await one.up()
            await two.up()
            operator.faults.set_loss(50)
            for n in range(400):
                one.link.send(2, b"%d" % n)
            traffic = operator.relay.traffic(2)
            await until(lambda: traffic.dropped + len(two.got) == 400)
            assert 150 < traffic.dropped < 250
            operator.faults.set_loss(0)
            operator.faults.set_duplicates(100)
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
            operator.relay._delays._limit = 10_000
            operator.faults.set_delay(60, 0)
            for _ in range(20):
                one.link.send(2, bytes(991))
            await until(lambda: operator.relay.traffic(1).frames_in == 20)
            assert operator.relay.traffic(2).dropped == 10
            assert operator.relay._delays.bytes == 10_000

    run(main())


@pytest.mark.parametrize(
    ("first", "words"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "at most"),
        (HEADER.pack(MAX_HANDSHAKE_FRAME + 1, CONTROL, 1, 0), "at most"),
        (encode_frame(CONTROL, 1, 0, b"\xc1garbage"), "makes no sense"),
        (encode_frame(NODE, 1, 2, b"hello"), "before it was let in"),
        (encode_frame(7, 1, 2, b""), "unknown kind 7"),
    ],
)
def test_a_stranger_is_sent_away_and_touches_nobody(first: bytes, words: str) -> None:
    async def main() -> None:
        async with Operator() as operator, Node(operator.port, 1) as one, Node(operator.port, 2) as two:
            await one.up()
            await two.up()
            stranger = await Raw.connect(operator.port)
            stranger.write(first)
            assert isinstance(await stranger.hear(), Challenge)
            refused = await stranger.hear()
            assert isinstance(refused, Refused)
            assert refused.code is Refusal.PROTOCOL
            assert words in refused.reason
            await stranger.closed()
            assert words in await operator.refusal()
            one.link.send(2, b"still here")
            await until(lambda: two.got)
            assert operator.told("node_down") == []

    run(main())


def test_a_stranger_who_says_nothing_is_sent_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(net.relay.connection, "HANDSHAKE_S", 0.05)

    async def main() -> None:
        async with Operator() as operator:
            stranger = await Raw.connect(operator.port)
            await stranger.closed()
            assert "did not say who it is" in await operator.refusal()

    run(main())


def test_a_stranger_who_never_hangs_up_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(net.relay.connection, "LINGER_S", 0.05)

    async def main() -> None:
        async with Operator() as operator:
            stranger = await Raw.connect(operator.port)
            stranger.write(b"\xff" * 100)
            await until(lambda: operator.told("refused"))
            await until(lambda: not operator.relay._strangers)

    run(main())


def test_crowds_of_strangers_keep_no_node_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(net.relay.relay, "MAX_STRANGERS", 8)

    async def main() -> None:
        async with Operator() as operator:
            crowd = [await Raw.connect(operator.port) for _ in range(30)]
            async with Node(operator.port, 1) as one:
                await one.up()
                assert len(operator.relay._strangers) <= 8
                assert len(operator.told("refused")) == 2
            for stranger in crowd:
                stranger.close()

    run(main())


def test_a_flood_of_refusals_is_a_few_lines() -> None:
    async def main() -> None:
        async with Operator() as operator:
            for n in range(200):
                stranger = await Raw.connect(operator.port)
                stranger.write(HEADER.pack(MAX_FRAME + n, CONTROL, 1, 0))
                await stranger.closed()
            assert len(operator.told("refused")) == 10

    run(main())


@pytest.mark.parametrize(
    ("said", "code", "words"),
    [
        (hello(9), Refusal.UNKNOWN, "node 9 is not in this orchestrator's config: it has 1, 2, 3"),
        (hello(1, cluster="\x1b[2Jother"), Refusal.CLUSTER, r"the cluster '\x1b[2Jother'"),
        (hello(1, proof=b"x" * 32), Refusal.SECRET, "has a secret"),
        (Hello("test", 1, 1, 1, new_nonce(), b"", version=99), Refusal.VERSION, "version 99"),
    ],
)
def test_an_unfit_hello_is_refused_with_the_reason(said: Hello, code: Refusal, words: str) -> None:
    async def main() -> None:
        async with Operator() as operator:
            raw = await Raw.connect(operator.port)
            await raw.hear()
            raw.control(said.node, said)
            refused = await raw.hear()
            assert isinstance(refused, Refused)
            assert refused.code is code
            assert words in refused.reason
            assert words in await operator.refusal()
            await raw.closed()
            assert operator.told("node_up") == []

    run(main())


def test_a_proof_is_worth_nothing_on_another_connection() -> None:
    async def main() -> None:
        async with Operator(secret="correct horse") as operator:
            first = await Raw.connect(operator.port)
            challenge = await first.hear()
            assert isinstance(challenge, Challenge)
            nonce = new_nonce()
            proof = node_proof("correct horse", "test", 1, challenge.nonce, nonce)
            said = Hello("test", 1, os.getpid(), 1, nonce, proof)
            second = await Raw.connect(operator.port)
            await second.hear()
            second.control(1, said)
            refused = await second.hear()
            assert isinstance(refused, Refused)
            assert refused.code is Refusal.SECRET
            first.control(1, said)
            assert isinstance(await first.hear(), Welcome)

    run(main())


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (encode_frame(NODE, 2, 3, b"not mine"), "in the name of node 2"),
        (HEADER.pack(MAX_FRAME + 1, NODE, 1, 2), "at most"),
        (encode_frame(CONTROL, 1, 0, b"\x00"), "makes no sense"),
    ],
)
def test_a_node_that_breaks_the_rules_loses_its_connection_only(bad: bytes, words: str) -> None:
    async def main() -> None:
        async with Operator() as operator, Node(operator.port, 2) as two, Node(operator.port, 3) as three:
            await two.up()
            await three.up()
            one = await joined(operator, 1)
            one.message(1, 3, b"good")
            one.write(bad)
            one.message(1, 3, b"too late")
            refused = await one.hear()
            assert isinstance(refused, Refused)
            assert words in refused.reason
            assert refused.reason.startswith("node 1 ")
            await one.closed()
            await until(lambda: three.got)
            two.link.send(3, b"still here")
            await until(lambda: len(three.got) == 2)
            assert three.got == [(1, b"good"), (2, b"still here")]
            assert [told["node"] for told in operator.told("node_down")] == [1]
            await joined(operator, 1)

    run(main())


def test_a_second_process_with_the_same_number_is_refused() -> None:
    async def main() -> None:
        async with Operator() as operator:
            first = await joined(operator, 1, incarnation=1)
            second = await Raw.connect(operator.port)
            await second.hear()
            second.control(1, hello(1, incarnation=2))
            refused = await second.hear()
            assert isinstance(refused, Refused)
            assert refused.code is Refusal.DUPLICATE
            assert f"running already as process {os.getpid()}" in refused.reason
            two = await joined(operator, 2)
            first.message(1, 2, b"still me")
            while (frame := await two.frame()).kind == CONTROL:
                pass
            assert bytes(frame.payload) == b"still me"
            first.close()
            await until(lambda: not operator.relay.is_up(1))
            await joined(operator, 1, incarnation=2)

    run(main())


def test_the_same_process_coming_back_replaces_its_stale_connection() -> None:
    async def main() -> None:
        async with Operator() as operator:
            stale = await joined(operator, 1)
            await joined(operator, 1)
            await stale.closed()
            assert operator.relay.is_up(1)

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
            operator.faults.fail((3, 2))
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
            assert operator.relay._dirty == [members[2]]
            operator.relay._dirty += [members[1]]
            monkeypatch.setattr(members[1], "flush", broken)
            with pytest.raises(RuntimeError):
                operator.relay._flush()
            await until(lambda: two.got == [(1, b"passes")])
            monkeypatch.undo()

    run(main())
