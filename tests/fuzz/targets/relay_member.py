"""The relay, and a node that was let in and then sends whatever it likes."""

from __future__ import annotations

from net.control_messages import Hello, Report
from net.frames import HINT, URGENT
from tests.fuzz.loop import Loop
from tests.fuzz.relays import HARMFUL, ONE, TWO, Honest, control, say, to
from tests.fuzz.target import Target

_loop = Loop(lambda: Honest.open(None))


def check(data: bytes) -> None:
    async def attempt(honest: Honest) -> None:
        await say(await honest.member(), data)
        await honest.works()
        assert honest.operator.relay.members == [ONE, TWO, HARMFUL], "it changed who belongs to the cluster"

    _loop.run(attempt)


def seeds() -> list[bytes]:
    report = Report("leader", 3, (1, 3, 3), 4, 4, 0, "0f", 9, 1, [1, 2, 3], [2])
    hello = Hello("test", HARMFUL, 77, 1, bytes(32), b"", hints=True, cluster_id=5, urgent=True)
    frames = [to(ONE, b"hi"), to(TWO, b"x" * 300, URGENT), to(ONE, b"hint", HINT), to(9, b"?"), to(HARMFUL, b"me")]
    return [control(report), control(hello), b"".join(frames), control(report) + b"".join(frames), *frames]


TARGET = Target("the relay, by a member", check, seeds, examples=150, close=_loop.close)
