"""etcd: five members, or so many as are wanted, with default settings; operations are Puts of 200 bytes (key and value)
over gRPC."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.drive import Channel, places
from bench.grpc_wire import PutChannel, put_request
from bench.processes import Processes, free_ports

NODES = (1, 2, 3, 4, 5)
SIZE = 200
KEYS = 1000
CONNECTIONS = 4
"""More connections make no difference; fewer are slightly slower."""


def available() -> bool:
    return shutil.which("etcd") is not None and shutil.which("etcdctl") is not None


def version() -> str | None:
    """None if it is not installed."""
    if not available():
        return None
    return subprocess.run(["etcd", "--version"], capture_output=True, text=True, check=True).stdout.split()[2]


class Etcd:
    name = "etcd"

    def __init__(self, folder: Path, nodes: Sequence[int] = NODES) -> None:
        self.folder = folder
        self.processes = Processes(folder)
        ports = free_ports(2 * len(nodes))
        self._client = dict(zip(nodes, ports[: len(nodes)], strict=True))
        self._peer = dict(zip(nodes, ports[len(nodes) :], strict=True))
        self._channels: dict[int, list[PutChannel]] = {}
        self._requests = [
            put_request(key := f"key-{number}".encode(), b"x" * (SIZE - len(key))) for number in range(KEYS)
        ]

    async def start(self) -> None:
        for node in self._client:
            self.start_node(node, "new")
        await self.settled()

    @property
    def endpoints(self) -> list[str]:
        """The members' URLs for clients."""
        return [self.endpoint(node) for node in self._client]

    def endpoint(self, node: int) -> str:
        return f"http://127.0.0.1:{self._client[node]}"

    def start_node(self, node: int, state: str = "existing") -> None:
        cluster = ",".join(f"n{other}=http://127.0.0.1:{port}" for other, port in self._peer.items())
        client, peer = f"http://127.0.0.1:{self._client[node]}", f"http://127.0.0.1:{self._peer[node]}"
        self.processes.start(f"node-{node}", [
            "etcd", "--name", f"n{node}", "--data-dir", str(self.folder / f"n{node}"),
            "--listen-client-urls", client, "--advertise-client-urls", client,
            "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
            "--initial-cluster", cluster, "--initial-cluster-state", state,
        ])

    async def stop(self) -> None:
        for channels in self._channels.values():
            for channel in channels:
                channel.close()
        self.processes.close()

    def kill(self, node: int) -> None:
        for channel in self._channels.pop(node, []):
            channel.close()
        self.processes.kill(f"node-{node}")

    async def leader(self) -> int:
        until = time.monotonic() + 60
        while True:
            states = await self._statuses()
            leaders = {state["Status"].get("leader", 0) for state in states}
            if len(states) == len(self.processes.nodes()) and len(leaders) == 1 and 0 not in leaders:
                for state in states:
                    if state["Status"]["header"]["member_id"] in leaders:
                        port = int(state["Endpoint"].rsplit(":", 1)[1])
                        return next(node for node, own in self._client.items() if own == port)
            if time.monotonic() > until:
                raise TimeoutError(f"etcd has no leader: {states}")
            await asyncio.sleep(0.1)

    async def settled(self) -> None:
        await self.leader()

    async def _statuses(self) -> list[dict[str, Any]]:
        endpoints = ",".join(f"http://127.0.0.1:{self._client[node]}" for node in self.processes.nodes())
        process = await asyncio.create_subprocess_exec(
            "etcdctl", "endpoint", "status", "-w", "json", "--command-timeout", "2s", "--endpoints", endpoints,
            env={"ETCDCTL_API": "3", "PATH": "/usr/bin:/bin:/usr/local/bin"},
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        )
        out, _ = await process.communicate()
        try:
            found: list[dict[str, Any]] = json.loads(out)
        except ValueError:
            return []
        return found

    async def channels(self, where: str, in_flight: int) -> list[Channel]:
        nodes = places(where, await self.leader(), self.processes.nodes())
        found: list[Channel] = []
        for node in nodes:
            if node not in self._channels:
                self._channels[node] = [await self._connect(node) for _ in range(CONNECTIONS)]
            found += self._channels[node][: max(1, min(CONNECTIONS, in_flight // len(nodes)))]
        return found

    async def _connect(self, node: int) -> PutChannel:
        port = self._client[node]
        _, channel = await asyncio.get_running_loop().create_connection(
            lambda: PutChannel(f"127.0.0.1:{port}", self._requests), "127.0.0.1", port,
        )
        return channel
