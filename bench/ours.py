"""ConsensusLLM: the orchestrator and five nodes, driven through the nodes' control sockets as by a user.

An operation is what a user types: a question (`query`), then its cancellation (`cancel`), in many conversations.
Both are replicated, change the store, and are answered when they are applied. The question's length is chosen for 200
bytes per operation on average. No LLM ever answers: its answers would be operations that are not counted.

Nothing here but the outside contract is used, so that every release can be driven: see bench/compare.py.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from bench.drive import Channel, places
from bench.processes import ROOT, Processes, free_ports, python
from kvstore.quotas import MAX_QUOTA

NODES = (1, 2, 3, 4, 5)
SIZE = 200
CONVERSATIONS = 1000
TIMEOUT_S = 30.0
_RESULT = b'"event":"result"'
_OK = b'"ok":true'


class Client(asyncio.Protocol):
    """Of a node's control socket."""

    def __init__(self) -> None:
        self.results: deque[dict[str, Any]] = deque()
        self.receive = self._keep
        """Takes whole lines."""
        self._rest = b""
        self._transport: asyncio.Transport | None = None
        self._arrived = asyncio.Event()

    @classmethod
    async def connect(cls, path: Path) -> Client:
        _, client = await asyncio.get_running_loop().create_unix_connection(cls, str(path))
        return client

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        if self._rest:
            data = self._rest + data
        end = data.rfind(b"\n") + 1
        self._rest = data[end:]
        if end:
            self.receive(data[:end])

    def write(self, data: bytes) -> None:
        assert self._transport is not None
        self._transport.write(data)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _keep(self, lines: bytes) -> None:
        records = [json.loads(line) for line in lines.splitlines()]
        self.results.extend(record for record in records if record["event"] == "result")
        self._arrived.set()

    async def ask(self, *commands: str) -> list[dict[str, Any]]:
        """The results of commands, one of each."""
        self.results.clear()
        self.write("".join(f"{command}\n" for command in commands).encode())
        async with asyncio.timeout(TIMEOUT_S):
            while len(self.results) < len(commands):
                self._arrived.clear()
                await self._arrived.wait()
        return list(self.results)


class ClientChannel(Channel):
    """Operations through one client, in conversations of its own, whose names begin with `prefix`."""

    def __init__(self, client: Client, prefix: str, conversations: int) -> None:
        super().__init__()
        self._client = client
        self._sent: deque[float] = deque()
        # A query weighs its text, its conversation's name and some 12 bytes; a cancel the name and some 8.
        text = "x" * (2 * SIZE - 2 * len(prefix) - 20)
        self._names = [f"{prefix}-{number}" for number in range(conversations)]
        self._lines = [line for name in self._names for line in (f"query {name} {text}\n".encode(),
                                                                 f"cancel {name}\n".encode())]
        self._next = 0

    async def prepare(self) -> None:
        await self._client.ask("quiet")
        for start in range(0, len(self._names), 500):
            names = self._names[start : start + 500]
            for result in await self._client.ask(*(f"create {name}" for name in names)):
                if not result["ok"] and "already" not in result["error"]:
                    raise RuntimeError(result["error"])
        self._client.receive = self._receive

    def issue(self, count: int) -> None:
        self._sent.extend([time.perf_counter()] * count)
        end = self._next + count
        lines = self._lines[self._next : end]
        while end >= len(self._lines):
            end -= len(self._lines)
            lines += self._lines[:end][: len(self._lines)]
        self._next = end
        self._client.write(b"".join(lines))

    def _receive(self, lines: bytes) -> None:
        count = lines.count(_RESULT)
        if count:
            errors = sum(_RESULT in line and _OK not in line for line in lines.splitlines()) \
                if lines.count(_OK) < count else 0
            sent = [self._sent.popleft() for _ in range(count)]
            self.answered(sent[errors:], errors)


class Ours:
    """The cluster of the checkout at `root`."""

    name = "ConsensusLLM"

    def __init__(
        self, folder: Path, root: Path = ROOT, nodes: Sequence[int] = NODES, etcd: Sequence[str] = (),
    ) -> None:
        """`etcd`: the members' URLs, if that is the engine; then there is no orchestrator."""
        self.folder = folder
        self.processes = Processes(folder, root)
        self._python = python(root)
        self.port = free_ports(1)[0]
        """The network's."""
        self.network_events: deque[tuple[float, bytes]] = deque(maxlen=100)
        """The last of them, and when they came."""
        self._config = folder / "config.json"
        self._nodes = nodes
        self._has_network = not etcd
        engine = {"engine": {"type": "etcd", "endpoints": list(etcd)}} if etcd else {}
        self._config.write_text(json.dumps({
            "cluster": "bench", "orchestrator": {"port": self.port}, "nodes": [{"id": node} for node in nodes],
            **engine,
            "data_dir": "data", "llm": {"provider": "fake", "delay_s": 3000, "timeout_s": 3600, "max_concurrent": 1},
        }))
        self._clients: list[Client] = []
        self._prefixes = 0
        self._channels: dict[tuple[int, int, int], list[ClientChannel]] = {}
        """By node, how many, and how many conversations."""

    # Starting and stopping.

    async def start(self) -> None:
        if self._has_network:
            self.start_network()
        for node in self._nodes:
            self.start_node(node)
        await self.settled()
        await self._raise_quotas()
        await self._occupy_llms()

    async def _raise_quotas(self) -> None:
        """A bench asks and creates more than anybody's cluster should by default. Older checkouts know no quotas."""
        client = await self.client(self._nodes[0])
        await client.ask(*(f"quotas {name} {MAX_QUOTA}" for name in ("conversations", "turns", "bytes", "total")))
        self._close(client)

    async def _occupy_llms(self) -> None:
        """With a question that stays open: later questions wait, as data."""
        client = await self.client(self._nodes[0])
        await client.ask("create busy", "query busy What is the answer?")
        self._close(client)

    def start_network(self) -> None:
        command = [self._python, "network_server.py", "--config", str(self._config), "--json"]
        process = self.processes.start("network", command, pipes=True)
        assert process.stdout is not None
        # Even if nobody wants the orchestrator's events, its pipe must not fill up.
        asyncio.get_running_loop().run_in_executor(None, self._read_network, process.stdout)

    def _read_network(self, lines: Iterable[bytes]) -> None:
        for line in lines:
            self.network_events.append((time.perf_counter(), line))

    def start_node(self, node: int) -> None:
        """Its own user does not want events of others."""
        command = [self._python, "node.py", str(node), "--config", str(self._config)]
        self.processes.start(f"node-{node}", command, typed=b"quiet\n")

    async def stop(self) -> None:
        for client in self._clients:
            client.close()
        self.processes.close()

    # Faults.

    def kill(self, node: int) -> None:
        self._channels = {key: value for key, value in self._channels.items() if key[0] != node}
        self.processes.kill(f"node-{node}")

    def kill_network(self) -> None:
        self.processes.kill("network")

    def isolate(self, node: int) -> None:
        self._operate(f"isolate {node}")

    def heal(self, node: int) -> None:
        """All links."""
        self._operate("heal")

    def _operate(self, command: str) -> None:
        """A command for the orchestrator's prompt."""
        stdin = self.processes.running["network"].stdin
        assert stdin is not None
        stdin.write(command.encode() + b"\n")
        stdin.flush()

    # Asking.

    async def client(self, node: int) -> Client:
        """A new one, once the node listens."""
        until = time.monotonic() + TIMEOUT_S
        while True:
            try:
                client = await Client.connect(self.folder / "data" / f"node-{node}.sock")
            except OSError:
                if time.monotonic() > until:
                    raise
                await asyncio.sleep(0.01)
                continue
            self._clients.append(client)
            return client

    def _close(self, client: Client) -> None:
        self._clients.remove(client)
        client.close()

    async def status(self, node: int) -> dict[str, Any]:
        client = await self.client(node)
        try:
            return (await client.ask("status"))[0]
        finally:
            self._close(client)

    async def leader(self) -> int:
        """The node that leads, once all that run agree."""
        return int((await self._agreed("leader"))[0]["leader"])

    async def settled(self) -> None:
        """Waits until all running nodes follow one leader and have applied the same."""
        await self._agreed("leader", "applied")

    async def _agreed(self, *keys: str) -> list[dict[str, Any]]:
        """The states of all nodes that run, once they are equal in `keys`, and the leader is one of them."""
        until = time.monotonic() + TIMEOUT_S
        while True:
            states = [await self.status(node) for node in self.processes.nodes()]
            if len({tuple(state[key] for key in keys) for state in states}) == 1 \
                    and states[0]["leader"] in self.processes.nodes():
                return states
            if time.monotonic() > until:
                raise TimeoutError(f"the nodes do not agree on {' and '.join(keys)}: {states}")
            await asyncio.sleep(0.02)

    # Load.

    async def channels(self, where: str, in_flight: int, conversations: int = CONVERSATIONS) -> list[ClientChannel]:
        """A client may have 4,096 commands waiting."""
        nodes = places(where, await self.leader(), self.processes.nodes())
        each = -(-in_flight // len(nodes) // 2048)
        return [channel for node in nodes for channel in await self._node_channels(node, each, conversations)]

    async def _node_channels(self, node: int, count: int, conversations: int) -> list[ClientChannel]:
        key = (node, count, conversations)
        if key not in self._channels:
            made: list[ClientChannel] = []
            for _ in range(count):
                self._prefixes += 1
                channel = ClientChannel(await self.client(node), f"b{self._prefixes}", max(1, conversations // count))
                await channel.prepare()
                made.append(channel)
            self._channels[key] = made
        return self._channels[key]
