"""PySyncObj: five processes; the load is generated inside them, as in its users' programs. Nothing is synced."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.drive import WARM_UP_S, difference, load_sample, places, running
from bench.processes import Processes, free_ports
from bench.results import LoadSample

NODES = (1, 2, 3, 4, 5)
BEST: dict[str, Any] = {
    "appendEntriesPeriod": 0.01, "logCompactionMinEntries": 2**31, "logCompactionMinTime": 10**9,
}


def available() -> bool:
    return importlib.util.find_spec("pysyncobj") is not None


class PySyncObj:
    def __init__(self, folder: Path, name: str, settings: dict[str, Any]) -> None:
        self.name = name
        self.processes = Processes(folder)
        self._settings = settings
        self._address = {node: f"127.0.0.1:{port}" for node, port in zip(NODES, free_ports(5), strict=True)}

    async def start(self) -> None:
        for node in NODES:
            self.start_node(node)
        await self.settled()

    def start_node(self, node: int) -> None:
        own = self._address[node]
        partners = [address for address in self._address.values() if address != own]
        arguments = json.dumps({"own": own, "partners": partners, "settings": self._settings})
        self.processes.start(
            f"node-{node}", [sys.executable, "-m", "bench.pysyncobj_node", arguments], pipes=True,
        )

    async def stop(self) -> None:
        self.processes.close()

    def kill(self, node: int) -> None:
        self.processes.kill(f"node-{node}")

    async def leader(self) -> int:
        until = time.monotonic() + 60
        while True:
            states = await asyncio.gather(*(self.order(node, {"do": "status"}) for node in self.processes.nodes()))
            leaders = {state["leader"] for state in states}
            if len(leaders) == 1 and None not in leaders and all(state["ready"] for state in states):
                found = next(node for node in NODES if self._address[node] in leaders)
                if found in self.processes.nodes():
                    return found
            if time.monotonic() > until:
                raise TimeoutError(f"PySyncObj has no leader: {states}")
            await asyncio.sleep(0.05)

    async def settled(self) -> None:
        await self.leader()

    async def order(self, node: int, what: dict[str, Any]) -> dict[str, Any]:
        process = self.processes.running[f"node-{node}"]
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(json.dumps(what).encode() + b"\n")
        process.stdin.flush()
        line = await asyncio.to_thread(process.stdout.readline)
        answer: dict[str, Any] = json.loads(line)
        return answer

    async def measure(self, cases: Sequence[tuple[str, int]], seconds: float) -> dict[str, LoadSample]:
        """As `drive.measure`."""
        async with running(self):
            return {f"{where}/{in_flight}": await self._load(where, in_flight, seconds) for where, in_flight in cases}

    async def _load(self, where: str, in_flight: int, seconds: float) -> LoadSample:
        nodes = places(where, await self.leader(), self.processes.nodes())
        what = {"do": "load", "in_flight": in_flight // len(nodes), "seconds": seconds, "warm_up": WARM_UP_S}
        running = asyncio.gather(*(self.order(node, what) for node in nodes))
        await asyncio.sleep(WARM_UP_S)
        before = self.processes.cpu()
        await asyncio.sleep(seconds)
        cpu = difference(before, self.processes.cpu())
        answers = await running
        return load_sample(
            sum(answer["operations"] for answer in answers), seconds,
            [latency for answer in answers for latency in answer["latencies"]],
            sum(answer["errors"] for answer in answers), cpu,
        )
