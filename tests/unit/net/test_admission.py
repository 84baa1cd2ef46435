"""Who is let in, who is refused, and what becomes of them."""

from __future__ import annotations

import os

import pytest

import net.relay.connection
import net.relay.relay
from net.auth import new_nonce, node_proof
from net.control_messages import Challenge, Hello, Refusal, Refused, Welcome
from net.frames import CONTROL, HEADER, MAX_FRAME, MAX_HANDSHAKE_FRAME, NODE, encode_frame
from tests.unit.net.net_tools import Node, Operator, Raw, hello, joined, run, until


@pytest.mark.parametrize(
    ("first", "words"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "at most"),
        (HEADER.pack(MAX_HANDSHAKE_FRAME + 1, CONTROL, 1, 0), "at most"),
        (encode_frame(CONTROL, 1, 0, b"\xc1garbage"), "invalid control message"),
        (encode_frame(NODE, 1, 2, b"hello"), "before the handshake"),
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
            assert "did not identify itself" in await operator.refusal()

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
                assert len(operator.told("refused")) == 1
            for stranger in crowd:
                stranger.close()

    run(main())


def test_whatever_strangers_send_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        deep = b"\x91" * 3_000 + b"\x01"
        async with Operator() as operator:
            for n in range(100):
                for sent in (
                    HEADER.pack(MAX_FRAME + n, CONTROL, 1, 0), HEADER.pack(5 + len(deep), CONTROL, 1, 0) + deep,
                    HEADER.pack(7, 1, 1, 2) + b"hi", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
                    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
                ):
                    stranger = await Raw.connect(operator.port)
                    stranger.write(sent)
                    await stranger.closed()
            assert len(operator.told("refused")) == 1

    run(main())
    assert caplog.records == []


def test_a_flood_of_refusals_is_a_few_lines() -> None:
    async def main() -> None:
        async with Operator() as operator:
            for n in range(100):
                raw = await Raw.connect(operator.port)
                await raw.hear()
                raw.control(1, hello(1, cluster=f"other{n}"))
                await raw.closed()
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
        (encode_frame(NODE, 2, 3, b"not mine"), "with the source of node 2"),
        (HEADER.pack(MAX_FRAME + 1, NODE, 1, 2), "at most"),
        (encode_frame(CONTROL, 1, 0, b"\x00"), "invalid control message"),
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
            assert refused.reason == "node 1 is already running at 127.0.0.1", "strangers learn no process ids"
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
