"""python -m bench.reconnection: how long the cluster takes once the network is back.

The network is killed and started again. Times count from when it listens: until all five nodes are connected, until a
command that was given meanwhile is decided and answered, and until both."""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import uvloop

from bench.drive import running
from bench.ours import NODES, TIMEOUT_S, Client, Ours

AWAY_S = (1.0, 4.0)
"""How long the network is away, in turn: nodes have tried in vain for a while."""
POLL_S = 0.001


class Times(NamedTuple):
    """In ms."""

    start: float
    """Of the network's process, until it listens; the others count from then."""
    connected: float
    decided: float

    @property
    def both(self) -> float:
        return max(self.connected, self.decided)


async def once(system: Ours, client: Client, away_s: float, number: int) -> Times:
    system.kill_network()
    await asyncio.sleep(away_s / 2)
    asked = asyncio.ensure_future(client.ask(f"create c{number}"))
    await asyncio.sleep(away_s / 2)
    system.network_events.clear()
    begun = time.perf_counter()
    system.start_network()
    while not _listens(system.port):  # noqa: ASYNC110 - another process gives no event
        await asyncio.sleep(POLL_S)
    listens = time.perf_counter()
    result, = await asked
    decided = time.perf_counter()
    if not result["ok"]:
        raise RuntimeError(result["error"])
    connected = await _connected(system)
    await system.settled()
    return Times((listens - begun) * 1e3, (connected - listens) * 1e3, (decided - listens) * 1e3)


async def _connected(system: Ours) -> float:
    """When the network had all nodes."""
    async with asyncio.timeout(TIMEOUT_S):
        while True:
            up = [at for at, line in list(system.network_events) if b'"node_up"' in line]
            if len(up) == len(NODES):
                return max(up)
            await asyncio.sleep(0.01)


def _listens(port: int) -> bool:
    """Asks the kernel: a connection would be noticed."""
    local = f"0100007F:{port:04X} 00000000:0000 0A "
    return any(local in line for line in Path("/proc/net/tcp").read_text().splitlines())


async def measure(folder: Path, times: int) -> list[Times]:
    async with running(Ours(folder)) as system:
        clients = [await system.client(node) for node in NODES]
        return [
            await once(system, clients[number % len(clients)], AWAY_S[number % len(AWAY_S)], number)
            for number in range(times)
        ]


def table(found: list[Times]) -> str:
    columns = {
        "process starts until it listens": [each.start for each in found],
        "listens until all nodes are connected": [each.connected for each in found],
        "listens until a waiting command is answered": [each.decided for each in found],
        "listens until both": [each.both for each in found],
    }
    rows = [f"| {name} | {statistics.median(values):.0f} | {max(values):.0f} |" for name, values in columns.items()]
    return "\n".join(["| the network, killed and started again | median ms | most ms |", "|---|---|---|", *rows])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.reconnection", description=__doc__)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--disk", default=None, metavar="DIR", help="where the nodes write (default: as tempfile)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-", dir=arguments.disk) as folder:
        found = uvloop.run(measure(Path(folder), arguments.times))
    print(table(found))
    print(f"\n{len(found)} times, on loopback")


if __name__ == "__main__":
    main()
