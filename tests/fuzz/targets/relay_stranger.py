"""The relay, and somebody who connects without knowing the secret."""

from __future__ import annotations

from net.control_messages import Hello
from net.frames import HINT, URGENT
from tests.fuzz.loop import Loop
from tests.fuzz.relays import HARMFUL, SECRET, TWO, Honest, control, say, to
from tests.fuzz.target import Target

_loop = Loop(lambda: Honest.open(SECRET))


def check(data: bytes) -> None:
    async def attempt(honest: Honest) -> None:
        raw = await honest.stranger()
        await raw.hear()
        await say(raw, data)
        assert all(event["node"] != HARMFUL for event in honest.operator.told("node_up")), "it was let in"
        await honest.works()

    _loop.run(attempt)


def seeds() -> list[bytes]:
    hello = Hello("test", HARMFUL, 77, 1, bytes(32), b"p" * 32, hints=True, cluster_id=5, urgent=True)
    return [
        control(hello), control(hello) + to(TWO, b"hi"), to(TWO, b"hi"), to(TWO, b"hi", HINT), to(TWO, b"x", URGENT),
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00", control(hello) * 2,
    ]


TARGET = Target("the relay, by a stranger", check, seeds, examples=150, close=_loop.close)
