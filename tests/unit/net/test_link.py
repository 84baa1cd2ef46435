from __future__ import annotations

import asyncio
import os
import signal
import sys
import textwrap
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

import net.link
import net.link_connection
from net.control_messages import Challenge, Crash, Refusal, Refused, Report, Welcome, control_frame
from net.frames import CONTROL, MAX_PAYLOAD, FrameError, encode_frame
from net.frames import NODE as KIND_NODE
from net.link_connection import Credentials, LinkConnection, Owner
from net.relay.admission import Admission
from net.relay.faults.cut import Cut
from tests.free_ports import free_port
from tests.unit.net.net_tools import HOST, LIMIT_S, Node, Operator, joined, run, until

REPORT = Report(role="follower", leader=2, ballot=(1, 2, 1), decided=0, applied=0, queued=0, digest="")


def test_comes_back_after_the_orchestrator_did() -> None:
    async def main() -> None:
        operator = Operator()
        operator.port = free_port()  # a second one gets it, too
        async with operator, Node(operator.port, 1) as one, Node(operator.port, 2) as two:
            await one.up()
            await two.up()
            one.link.send_report(REPORT)
            await operator.relay.close()
            await until(lambda: not one.link.is_up and not two.link.is_up)
            one.link.send(2, b"lost")
            assert one.link.traffic.dropped == 1
            again = Operator()
            again.port = operator.port
            async with again:
                await one.up()
                await two.up()
                one.link.send(2, b"hello again")
                await until(lambda: two.got)
                assert two.payloads(1) == [b"hello again"]
                await until(lambda: again.relay.report_of(1) == REPORT)
                assert [kind for kind, _ in one.heard if kind in ("up", "down")] == ["up", "down", "up"]

    run(main())


def test_an_orchestrator_that_does_not_know_urgent_frames_gets_none(monkeypatch: pytest.MonkeyPatch) -> None:
    welcome = Admission.welcome

    def of_old(*of: Any) -> Welcome:
        return msgspec.structs.replace(welcome(*of), urgent=False, hints=False)

    monkeypatch.setattr(Admission, "welcome", of_old)

    async def main() -> None:
        async with Operator() as operator, Node(operator.port, 1) as one:
            await one.up()
            two = await joined(operator, 2, urgent=True)
            one.link.send(2, b"vote", urgent=True)
            assert (await two.frame()).kind == KIND_NODE
            two.close()

    run(main())


def test_what_is_closed_before_it_is_open_is_written_to_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """As uvloop closes what is not opened in time: without a word to the protocol."""
    class Closed(asyncio.Transport):
        written = 0

        def is_closing(self) -> bool:
            return False

        def get_extra_info(self, name: str, default: Any = None) -> Any:
            return default

        def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
            """It takes nothing."""

        def write(self, data: object) -> None:
            self.written += 1

    async def main() -> None:
        opened: list[LinkConnection] = []
        transport = Closed()

        async def create_connection(make: Any, *where: Any, **options: Any) -> None:
            connection = make()
            opened.append(connection)
            connection.connection_made(transport)
            assert connection.queue.push(b"an answer to the challenge", urgent=True)
            raise TimeoutError

        monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", create_connection)
        async with Node(1, 1) as one:
            await until(lambda: len(opened) > 1)
            assert transport.written == 0 and not opened[0].queue.push(b"more")
            for _ in range(2):
                assert (one.link.problem or "").startswith("no orchestrator at")
                opened[0].connection_lost(OSError("late"))

    asyncio.run(asyncio.wait_for(main(), LIMIT_S))


def test_waits_for_an_orchestrator_that_is_not_there_yet() -> None:
    async def main() -> None:
        early = Operator()
        early.port = free_port()
        async with early:
            pass
        async with Node(early.port, 1) as one:
            await until(lambda: one.link.problem)
            assert f"no orchestrator at {HOST}:{early.port}" in str(one.link.problem)
            late = Operator()
            late.port = early.port
            async with late:
                await one.up()
                assert one.link.problem is None

    run(main())


@pytest.mark.parametrize(
    ("node", "words"),
    [
        ({"number": 1, "secret": "wrong horse"}, "does not know this cluster's secret"),
        ({"number": 1}, "does not know this cluster's secret"),
        ({"number": 8, "secret": "correct horse"}, "node 8 is not in this orchestrator's config"),
        ({"number": 1, "secret": "correct horse", "cluster": "other"}, "the orchestrator belongs to the cluster"),
    ],
)
def test_a_lasting_refusal_is_told_once_with_its_reason(
    node: dict[str, object], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts = []

    class Counted(LinkConnection):
        def __init__(self, owner: Owner, credentials: Credentials) -> None:
            super().__init__(owner, credentials)
            attempts.append(self)

    monkeypatch.setattr(net.link, "LinkConnection", Counted)
    monkeypatch.setattr(net.link, "REFUSED_S", 0.05)

    async def main() -> None:
        async with Operator(secret="correct horse") as operator, Node(operator.port, **node) as one:  # type: ignore[arg-type]
            await until(lambda: len(attempts) > 3)
            assert [kind for kind, _ in one.heard] == ["refused"]
            assert words in one.reasons("refused")[0]
            assert not one.link.is_up

    run(main())


def refusing(reasons: list[str]) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    """Listens at the port, and refuses each connection with the next reason, and the last one for ever."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reason = reasons.pop(0) if len(reasons) > 1 else reasons[0]
        writer.write(control_frame(0, 1, Challenge(b"n" * 32, "test", False)))
        await reader.read(1000)
        writer.write(control_frame(0, 1, Refused(Refusal.SECRET, reason)))
        await reader.read()
        writer.close()

    return serve


def test_who_proves_nothing_is_quoted_once_in_a_while_however_its_words_change(
    monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net.link, "REFUSED_S", 0.01)
    reasons = [f"reason {number}" for number in range(9)]

    async def main() -> None:
        server = await asyncio.start_server(refusing(reasons), HOST, 0)
        async with server, Node(server.sockets[0].getsockname()[1], 1) as one:
            await until(lambda: len(reasons) == 1)
            assert one.reasons("refused") == ["reason 0"]
            monkeypatch.setattr(net.link, "SAY_AGAIN_S", 0.0)
            await until(lambda: len(one.reasons("refused")) > 1)
            assert one.reasons("refused")[1] in ("reason 7", "reason 8")

    run(main())


def test_a_refusal_of_another_kind_is_told_at_once() -> None:
    async def main() -> None:
        async with Node(1, 1) as one:
            for code in Refusal:
                for number in range(3):
                    one.link._duplicate_since = 0.0  # its number is taken for long
                    one.link._refused(code, f"{code} {number}")
            assert one.reasons("refused") == [f"{code} 0" for code in Refusal]

    run(main())


@pytest.mark.parametrize(
    ("challenge", "words"),
    [(True, "the orchestrator is run by another user"), (False, "the orchestrator sent a Refused at the wrong time")],
)
def test_another_user_at_the_port_is_not_quoted(
    challenge: bool, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net.link_connection, "is_own_user", lambda transport: False)

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if challenge:
            writer.write(control_frame(0, 1, Challenge(b"n" * 32, "test", False)))
        writer.write(control_frame(0, 1, Refused(Refusal.SECRET, "run ./run.sh rescue")))
        await reader.read()
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(refuse, HOST, 0)
        async with server, Node(server.sockets[0].getsockname()[1], 1) as one:
            await until(lambda: one.reasons("refused"))
            assert one.reasons("refused")[0].startswith(words)

    run(main())


def test_a_shared_secret_opens_the_door() -> None:
    async def main() -> None:
        async with Operator(secret="correct horse") as operator, Node(operator.port, 1, "correct horse") as one:
            await one.up()
            assert operator.told("refused") == []

    run(main())


def test_an_orchestrator_that_does_not_know_the_secret_is_refused_and_cannot_crash_the_node() -> None:
    async def main() -> None:
        async def impostor(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(control_frame(0, 1, Challenge(b"n" * 32, "test", True)))
            await reader.read(1000)
            writer.write(control_frame(0, 1, Crash()))
            await reader.read()
            writer.close()

        server = await asyncio.start_server(impostor, HOST, 0)
        async with server, Node(server.sockets[0].getsockname()[1], 1, secret="correct horse") as one:
            await until(lambda: one.reasons("refused"))
            assert "a Crash at the wrong time" in one.reasons("refused")[0]
            assert one.crashed == 0

    run(main())


def test_an_orchestrator_without_a_secret_says_who_lacks_it() -> None:
    async def main() -> None:
        async with Operator() as operator, Node(operator.port, 1, secret="correct horse") as one:
            await until(lambda: one.reasons("refused"))
            assert "this orchestrator has none" in one.reasons("refused")[0]
            assert operator.told("node_up") == []

    run(main())


def test_a_taken_number_is_retried_for_a_while_before_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with Operator() as operator, Node(operator.port, 1, incarnation=1) as first:
            await first.up()
            async with Node(operator.port, 1, incarnation=2) as patient:
                await until(lambda: operator.told("refused"))
                assert patient.reasons("refused") == []
                await first.link.close()
                await patient.up()
                monkeypatch.setattr(net.link, "DUPLICATE_GRACE_S", 0.1)
                async with Node(operator.port, 1, incarnation=3) as third:
                    await until(lambda: third.reasons("refused"))
                    assert "node 1 is already running" in third.reasons("refused")[0]
                    assert patient.link.is_up

    run(main())


def test_nonsense_from_the_other_side_is_a_refusal_with_a_reason() -> None:
    async def main() -> None:
        async def web_server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            await reader.read()
            writer.close()

        server = await asyncio.start_server(web_server, HOST, 0)
        async with server, Node(server.sockets[0].getsockname()[1], 1) as one:
            await until(lambda: one.reasons("refused"))
            assert "the orchestrator sent a frame" in one.reasons("refused")[0]

    run(main())


def test_a_message_before_the_welcome_is_not_delivered() -> None:
    async def main() -> None:
        async def hasty(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(control_frame(0, 1, Challenge(b"n" * 32, "test", False)))
            writer.write(encode_frame(KIND_NODE, 2, 1, b"too early"))
            await reader.read()
            writer.close()

        server = await asyncio.start_server(hasty, HOST, 0)
        async with server, Node(server.sockets[0].getsockname()[1], 1) as one:
            await until(lambda: one.reasons("refused"))
            assert one.got == []

    run(main())


def test_a_version_that_differs_is_told() -> None:
    async def main() -> None:
        async def newer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(control_frame(0, 1, Challenge(b"n" * 32, "test", False, version=2)))
            await reader.read()
            writer.close()

        server = await asyncio.start_server(newer, HOST, 0)
        async with server, Node(server.sockets[0].getsockname()[1], 1) as one:
            await until(lambda: one.reasons("refused"))
            assert "speaks version 2" in one.reasons("refused")[0]

    run(main())


def test_what_waits_to_be_sent_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(net.link_connection, "MAX_QUEUED", 1024 * 1024)

    async def main() -> None:
        async with Operator() as operator, Node(operator.port, 1) as one:
            await one.up()
            member = operator.relay._members[1]
            assert member._transport is not None
            member._transport.pause_reading()
            sent = 0
            while one.link.traffic.dropped < 10:
                one.link.send(2, bytes(65536))
                sent += 1
                await asyncio.sleep(0)
            assert one.link._connection is not None and one.link._connection._transport is not None
            assert one.link._connection._transport.get_write_buffer_size() <= 1024 * 1024 + 65536 + 9
            member._transport.resume_reading()
            passed = sent - one.link.traffic.dropped
            await until(lambda: operator.relay.traffic(1).frames_in == passed)

    run(main())


def test_a_hint_is_told_from_a_message_and_takes_the_same_way() -> None:
    async def main() -> None:
        async with Operator() as operator, Node(operator.port, 1) as one, Node(operator.port, 2) as two:
            await one.up()
            await two.up()
            one.link.send_hint(2, b"a hint")
            one.link.send(2, b"a message")
            await two.count(1)
            assert (two.hints, two.got) == ([(1, b"a hint")], [(1, b"a message")])
            assert (one.link.traffic.frames_out, two.link.traffic.frames_in) == (2, 2)
            operator.faults.set(Cut, {(1, 2): Cut(True)})
            one.link.send_hint(2, b"lost")
            await until(lambda: operator.relay.traffic(2).dropped == 1)
            assert len(two.hints) == 1
            assert one.link._connection is not None
            one.link._connection.queue.pause()
            one.link.send_hint(2, b"in the way")
            assert one.link.traffic.dropped == 1 and not one.link._connection.queue._frames, "nothing waits behind it"
            one.link._connection.queue.resume()

    run(main())


def test_a_node_of_release_0_1_0_gets_no_hint() -> None:
    """It says nothing of hints in its Hello, and would hang up on a frame of that kind."""
    async def main() -> None:
        async with Operator() as operator, Node(operator.port, 1) as one:
            await one.up()
            old = await joined(operator, 2)
            one.link.send_hint(2, b"a hint")
            one.link.send(2, b"a message")
            frame = await old.frame()
            while frame.kind == CONTROL:
                frame = await old.frame()
            assert (frame.kind, bytes(frame.payload)) == (KIND_NODE, b"a message")
            old.close()

    run(main())


def test_a_message_that_fits_no_frame_is_a_mistake_of_the_caller() -> None:
    async def main() -> None:
        async with Operator() as operator, Node(operator.port, 1) as one:
            await one.up()
            with pytest.raises(FrameError):
                one.link.send(2, bytes(MAX_PAYLOAD + 1))

    run(main())


def test_crash_reaches_the_node() -> None:
    async def main() -> None:
        async with Operator() as operator, Node(operator.port, 1) as one:
            await one.up()
            operator.relay.crash(1)
            await until(lambda: one.crashed)

    run(main())


def test_a_crash_is_immediate_and_flushes_nothing() -> None:
    program = """
        import asyncio, sys
        from net.link import NodeLink

        class Events:
            def on_up(self): print("up", flush=True); sys.stdout.write("never flushed")
            def on_down(self, reason): print("down", flush=True)
            def on_message(self, src, payload): ...
            def on_peer_up(self, node): ...
            def on_peer_down(self, node): ...
            def on_refused(self, reason): ...

        async def main():
            link = NodeLink(host="127.0.0.1", port=int(sys.argv[1]), cluster="test", node=1, secret=None,
                            incarnation=1, events=Events())
            link.start()
            await asyncio.Event().wait()

        asyncio.run(main())
    """

    async def main() -> None:
        async with Operator() as operator:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", textwrap.dedent(program), str(operator.port), stdout=asyncio.subprocess.PIPE,
                env={key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"},
            )
            assert process.stdout is not None
            assert await process.stdout.readline() == b"up\n"
            assert operator.relay.process(1) == process.pid
            operator.relay.crash(1)
            assert await operator.relay.wait_down(1, LIMIT_S)
            assert await process.wait() == -signal.SIGKILL
            assert await process.stdout.read() == b""

    run(main())


def test_refused_while_running_goes_on_as_a_lost_connection() -> None:
    async def main() -> None:
        async with Operator() as operator, Node(operator.port, 1) as one:
            await one.up()
            operator.relay._members[1].refuse(Refusal.PROTOCOL, "node 1 sent nonsense")
            await until(lambda: one.reasons("refused"))
            assert one.reasons("refused") == one.reasons("down") == ["node 1 sent nonsense"]
            await one.up()

    run(main())


def test_works_on_the_standard_event_loop_too() -> None:
    async def main() -> None:
        async with Operator() as operator, Node(operator.port, 1) as one, Node(operator.port, 2) as two:
            await one.up()
            await two.up()
            one.link.send(2, bytes(300_000))
            await until(lambda: two.got)
            assert two.payloads(1) == [bytes(300_000)]

    asyncio.run(asyncio.wait_for(main(), LIMIT_S))


