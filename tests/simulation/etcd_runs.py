"""Runs of nodes on the fake etcd with faults drawn from a seed: `python -m tests.simulation.etcd_runs [N]`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from random import Random

from engine.etcd.http import HttpError
from engine.interface import Busy
from tests.simulation.etcd_gateway import EXHAUSTED, UNAVAILABLE, Json, Refuse
from tests.simulation.etcd_world import ENDPOINTS, EtcdWorld
from tests.simulation.virtual_loop import run
from tests.simulation.world import Violation

ROUNDS = 60
_FAULTY = ("/v3/kv/txn", "/v3/kv/range", "/v3/lease/grant", "/v3/lease/keepalive")


class Faults:
    """Between `begin` and `end` requests fail, before or after they take effect."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self.rate = 0.0

    def before(self, endpoint: str, path: str, request: Json) -> None:
        if path in _FAULTY and self._random.random() < self.rate:
            raise self._random.choice([
                HttpError("has closed the connection"), Refuse(UNAVAILABLE, "etcdserver: leader changed"),
                Refuse(EXHAUSTED, "etcdserver: too many requests", 429),
            ])

    def after(self, endpoint: str, path: str, request: Json) -> None:
        if path in _FAULTY and self._random.random() < self.rate:
            raise self._random.choice([
                HttpError("has closed the connection"), Refuse(UNAVAILABLE, "etcdserver: request timed out"),
            ])


async def one(seed: int) -> int:
    """Returns the number of operations. Raises Violation."""
    random = Random(seed)
    world = EtcdWorld(3, seed, snapshot_every=random.choice((3, 10, 40)))
    faults = Faults(random)
    world.etcd.before, world.etcd.after = faults.before, faults.after
    slow = random.choice((0.002, 0.02))
    world.etcd.delay = lambda: random.expovariate(1 / slow)
    world.start(*world.numbers)
    names = 0
    for _ in range(ROUNDS):
        for node in list(world.nodes.values()):
            if node.failed is not None:
                raise Violation(f"node {node.number} has failed: {node.failed}")
            for _ in range(random.choice((0, 0, 1, 1, 5))):
                names += 1
                try:
                    node.create(f"c{names}")
                except Busy as busy:
                    raise Violation("nothing is full") from busy
            if random.random() < 0.1:
                await _read(world, node.number)
        if random.random() < 0.25:
            await _fault(world, faults, random)()
        await asyncio.sleep(random.expovariate(1 / 0.2))
    faults.rate = 0.0
    for endpoints in (world.etcd.cut, world.etcd.silent, world.etcd.hung):
        endpoints.clear()
    world.start(*(number for number in world.numbers if number not in world.nodes))
    await world.settled()
    await world.kill(1)  # and once more from what is there
    world.start(1)
    await world.settled()
    position = world.nodes[1].engine.status().applied
    await world.close()
    return position


async def _read(world: EtcdWorld, number: int) -> None:
    """Shows what was acknowledged before, wherever it was."""
    before, engine = list(world.acknowledged), world.nodes[number].engine
    reading = engine.read()

    def done(_: object) -> None:
        if not reading.cancelled() and not set(before) <= set(engine.store.conversations):
            asyncio.get_running_loop().call_exception_handler({"message": "a read does not show what was acknowledged"})

    reading.add_done_callback(done)


def _fault(world: EtcdWorld, faults: Faults, random: Random) -> Callable[[], Awaitable[None]]:
    async def kill() -> None:
        number = random.choice(world.numbers)
        if number in world.nodes:
            await world.kill(number)
        else:
            world.start(number)

    async def again() -> None:
        number = random.choice(world.numbers)
        if number in world.nodes and world.nodes[number].engine._sender.incarnation:  # else the first may come second
            world.start(number)

    async def change(what: Callable[[], None]) -> None:
        what()

    def cut() -> None:
        etcd.cut.clear()
        etcd.cut.add(endpoint)
        etcd.break_watches(endpoint)

    def silence() -> None:
        etcd.silent.clear()
        etcd.silent.add(endpoint)

    def hang() -> None:
        etcd.hung = {endpoint}
        silence()

    etcd, endpoint = world.etcd, random.choice(ENDPOINTS)
    return random.choice([
        kill, kill, again, lambda: change(etcd.break_watches), lambda: change(etcd.compact),
        lambda: change(lambda: setattr(faults, "rate", random.choice((0.0, 0.1, 0.5)))),
        lambda: change(lambda: setattr(etcd, "fragments", not etcd.fragments)),
        lambda: change(cut), lambda: change(silence), lambda: change(hang),
        lambda: asyncio.sleep(random.uniform(1, 5)),
    ])


def main() -> int:
    total = 0
    for seed in range(1, int(sys.argv[1] if len(sys.argv) > 1 else 100) + 1):
        try:
            total += run(lambda seed=seed: one(seed))  # type: ignore[misc]
        except Violation as violation:
            print(f"seed {seed}: {violation}")
            return 1
    print(f"{total} operations, no violation")
    return 0


if __name__ == "__main__":
    sys.exit(main())
