"""Load: so many operations in flight, a new one for each that is acknowledged."""

from __future__ import annotations

import asyncio

import pytest

from bench import profile
from bench.drive import Channel, load, longest_gap, operations, places
from bench.packages import costs
from bench.processes import ROOT


class Delayed(Channel):
    """Acknowledges each operation after `delay_s`; every `failing`th one fails."""

    def __init__(self, delay_s: float, failing: int = 0) -> None:
        super().__init__()
        self.delay_s = delay_s
        self.failing = failing
        self.issued = 0
        self.most = 0

    def issue(self, count: int) -> None:
        loop = asyncio.get_running_loop()
        self.most = max(self.most, self.in_flight)
        for _ in range(count):
            self.issued += 1
            failed = self.failing and self.issued % self.failing == 0
            sent, errors = ([], 1) if failed else ([loop.time()], 0)
            loop.call_later(self.delay_s, self.answered, sent, errors)


def test_load_keeps_operations_in_flight_and_leaves_none() -> None:
    async def scenario() -> None:
        channels = [Delayed(0.001), Delayed(0.001)]
        sample = await load(channels, 8, 0.05, lambda: {"node": 0.0})
        assert [channel.most for channel in channels] == [4, 4]
        assert [channel.in_flight for channel in channels] == [0, 0]
        assert sum(channel.issued for channel in channels) > 8 <= sample.operations
        assert sample.errors == 0

    asyncio.run(scenario())


def test_load_goes_on_until_something_is_acknowledged() -> None:
    async def scenario() -> None:
        sample = await load([Delayed(0.5)], 1, 0.01, dict)
        assert sample.operations == 1
        assert sample.seconds > 0.01

    asyncio.run(scenario())


def test_failures_are_counted_apart() -> None:
    async def scenario() -> None:
        channel = Delayed(0.0, failing=2)
        async with asyncio.timeout(10):
            await operations([channel], 4, 100)
        assert channel.meter.total >= 100
        assert channel.meter.errors >= 98

    asyncio.run(scenario())


@pytest.mark.parametrize(("acknowledged", "gap"), [
    ([0.0, 1.0, 2.5, 3.0], 1.5),
    ([0.0, 1.0, 2.5], 1.5),
    ([0.0, 0.9], 2.0),
    ([-3.0, 0.9, 1.1, 3.0], 1.9),
    ([0.5, 1.2, 1.3], 0.7),
])
def test_the_longest_gap_is_one_that_ends_after_the_fault(acknowledged: list[float], gap: float) -> None:
    assert longest_gap([(at, 1) for at in acknowledged], 1.0, 3.0) == pytest.approx(gap)


def test_places() -> None:
    assert [list(places(where, 1, [1, 2, 3])) for where in ("leader", "follower", "spread")] == [[1], [2], [1, 2, 3]]


def test_a_stack_belongs_to_the_innermost_function_of_a_package() -> None:
    node, driver, store = ROOT / "node.py", ROOT / "engine" / "driver.py", ROOT / "kvstore" / "store.py"
    raw = "\n".join([
        f"main ({node}:9);work ({driver}:5);apply ({store}:80);encode (/usr/lib/msgspec.py:1) 7",
        f"main ({node}:9);run (/usr/lib/asyncio/runners.py:1) 2",
        f"main ({node}:9);Condition.wait (threading.py:1) 100",
    ])
    assert profile.attribute(raw) == {("kvstore/store.py", "apply"): 7, (profile.LOOP, ""): 2}


def test_every_package_on_the_way_of_an_operation_has_a_cost() -> None:
    assert {package for package, _, cost in costs(2000, 100) if cost >= 0} == {
        "console", "engine", "paxos", "net", "storage", "kvstore", "llm", "server",
    }
