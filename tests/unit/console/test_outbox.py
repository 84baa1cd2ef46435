"""Output never blocks the event loop, whoever reads it."""

from __future__ import annotations

import asyncio
import os
import threading
from functools import partial

from console.outbox import Outbox, write_all


def test_everything_arrives_in_order() -> None:
    async def scenario() -> None:
        taken: list[str] = []
        outbox = Outbox(taken.append)
        for number in range(1000):
            outbox.write(f"{number}\n")
        await outbox.drained()
        assert "".join(taken) == "".join(f"{number}\n" for number in range(1000))
        outbox.close()

    asyncio.run(scenario())


def assert_true(value: bool) -> None:
    assert value


def test_a_slow_reader_fills_it_and_makes_room_again() -> None:
    async def scenario() -> None:
        go = threading.Event()
        outbox = Outbox(lambda text: assert_true(go.wait(10)), bound=100)
        outbox.write("x" * 100)
        assert outbox.full
        waiting_writer = asyncio.ensure_future(outbox.writable())
        await asyncio.sleep(0)
        assert not waiting_writer.done()
        go.set()
        async with asyncio.timeout(5):
            await waiting_writer
            await outbox.drained()
        assert not outbox.full
        outbox.close()

    asyncio.run(scenario())


def test_a_reader_who_leaves_is_noticed_and_nobody_waits() -> None:
    async def scenario() -> None:
        reading, writing = os.pipe()
        outbox = Outbox(partial(write_all, writing), bound=1000)
        outbox.write("x" * 10_000_000)
        waiting = [asyncio.ensure_future(outbox.writable()), asyncio.ensure_future(outbox.drained())]
        os.close(reading)
        async with asyncio.timeout(5):
            await outbox.gone.wait()
            await asyncio.gather(*waiting)
        outbox.write("lost")
        assert not outbox.full
        os.close(writing)

    asyncio.run(scenario())


def test_a_descriptor_that_somebody_made_non_blocking() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    size = 1_000_000
    writer = threading.Thread(target=write_all, args=(writing, "x" * size))
    writer.start()
    received = 0
    while received < size:
        received += len(os.read(reading, 65536))
    writer.join()
    os.close(reading)
    os.close(writing)
