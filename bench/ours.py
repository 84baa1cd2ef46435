"""ConsensusLLM: the orchestrator and five nodes, driven through the nodes' control sockets as by a user.

An operation is what a user types: a question (`query`), then giving it up (`cancel`), in turn, in many conversations.
Both are replicated, change the store, and are answered when they are applied. The question is as long as makes 200
bytes an operation on average. No LLM ever answers: its answers would be operations that nobody counts.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from pathlib import Path
from typing import Any

from bench.drive import Channel
from bench.processes import Processes, free_ports, python

NODES = (1, 2, 3, 4, 5)
SIZE = 200
CONVERSATIONS = 1000
PATIENCE_S = 30.0
_RESULT = b'"event":"result"'
_GOOD = b'"ok":true'


class Transport(asyncio.Protocol):
    """A client of a node's control socket."""

    def __init__(self) -> None:
        self.results: deque[dict[str, Any]] = deque()
        self.receive = self.keep
        self._rest = b""
        self._transport: asyncio.Transport | None = None
        self._arrived = asyncio.Event()

    async def open(self, path: Path) -> None:
        await asyncio.get_running_loop().create_unix_connection(lambda: self, str(path))

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

    def keep(self, lines: bytes) -> None:
        records = [json.loads(line) for line in lines.splitlines()]
        self.results.extend(record for record in records if record["event"] == "result")
        self._arrived.set()

    async def ask(self, command: str, count: int = 1) -> list[dict[str, Any]]:
        """Types lines and returns their results."""
        self.results.clear()
        self.write(command.encode() + b"\n")
        async with asyncio.timeout(PATIENCE_S):
            while len(self.results) < count:
                self._arrived.clear()
                await self._arrived.wait()
        return list(self.results)


class Talker(Channel):
    """Operations through one door, in conversations of its own."""

    def __init__(self, door: Transport, prefix: str, conversations: int) -> None:
        super().__init__()
        self.door = door
        self._sent: deque[float] = deque()
        text = "x" * (2 * SIZE - len(encoded_cancel(prefix)) - len(prefix) - 12)
        self._names = [f"{prefix}-{number}" for number in range(conversations)]
        self._lines = [line for name in self._names for line in (f"query {name} {text}\n".encode(),
                                                                 f"cancel {name}\n".encode())]
        self._next = 0

    async def prepare(self) -> None:
        for start in range(0, len(self._names), 500):
            names = self._names[start : start + 500]
            for result in await self.door.ask("\n".join(f"create {name}" for name in names), len(names)):
                if not result["ok"] and "already" not in result["error"]:
                    raise RuntimeError(result["error"])
        self.door.receive = self._receive

    def issue(self, count: int) -> None:
        self._sent.extend([time.perf_counter()] * count)
        end = self._next + count
        lines = self._lines[self._next : end]
        while end >= len(self._lines):
            end -= len(self._lines)
            lines += self._lines[:end][: len(self._lines)]
        self._next = end
        self.door.write(b"".join(lines))

    def _receive(self, lines: bytes) -> None:
        count = lines.count(_RESULT)
        if count:
            bad = sum(_RESULT in line and _GOOD not in line for line in lines.splitlines()) \
                if lines.count(_GOOD) < count else 0
            sent = [self._sent.popleft() for _ in range(count)]
            self.answered(sent[bad:], bad)


def encoded_cancel(prefix: str) -> bytes:
    """About what the second operation of each pair weighs."""
    return bytes(len(prefix) + 8)


class Ours:
    name = "ConsensusLLM"

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.processes = Processes(folder)
        self.config = folder / "config.json"
        self.config.write_text(json.dumps({
            "cluster": "bench", "orchestrator": {"port": free_ports(1)[0]}, "nodes": [{"id": node} for node in NODES],
            "llm": {"provider": "fake", "delay_s": 3000, "timeout_s": 3600, "max_concurrent": 1},
        }))
        self._doors: list[Transport] = []
        self._count = 0
        self._talkers: dict[tuple[int, int, int], list[Talker]] = {}

    # Starting and stopping.

    async def start(self) -> None:
        self.start_network()
        for node in NODES:
            self.start_node(node)
        await self.settled()
        await self._keep_llms_busy()

    async def _keep_llms_busy(self) -> None:
        """With a question that nobody answers or gives up: what is asked from now on waits, as data."""
        door = await self.door(NODES[0])
        await door.ask("create busy\nquery busy What is the answer?", 2)
        self._doors.remove(door)
        door.close()

    def start_network(self) -> None:
        command = [python(), "network_server.py", "--config", str(self.config), "--json"]
        self.processes.start("network", command, pipes=True)
        self._swallow("network")

    def start_node(self, node: int) -> None:
        """Its own user wants to hear nothing of what others do."""
        self.processes.start(
            f"node-{node}", [python(), "node.py", str(node), "--config", str(self.config)], typed=b"quiet\n",
        )

    def _swallow(self, name: str) -> None:
        """Nobody reads the orchestrator's events, and its pipe must not fill up."""
        out = self.processes.running[name].stdout
        assert out is not None
        asyncio.get_running_loop().run_in_executor(None, lambda: deque(out, maxlen=0))

    async def stop(self) -> None:
        for door in self._doors:
            door.close()
        self.processes.close()

    def kill(self, node: int) -> None:
        self._talkers = {key: value for key, value in self._talkers.items() if key[0] != node}
        self.processes.kill(f"node-{node}")

    def operate(self, command: str) -> None:
        """A command for the orchestrator's prompt."""
        stdin = self.processes.running["network"].stdin
        assert stdin is not None
        stdin.write(command.encode() + b"\n")
        stdin.flush()

    # Asking.

    async def door(self, node: int, within: float = PATIENCE_S) -> Transport:
        """A new one."""
        until = time.monotonic() + within
        while True:
            door = Transport()
            try:
                await door.open(self.folder / "data" / f"node-{node}.sock")
            except OSError:
                if time.monotonic() > until:
                    raise
                await asyncio.sleep(0.01)
                continue
            self._doors.append(door)
            return door

    async def status(self, node: int) -> dict[str, Any]:
        door = await self.door(node)
        try:
            return (await door.ask("status"))[0]
        finally:
            self._doors.remove(door)
            door.close()

    async def leader(self) -> int:
        """The node that leads, once all that run agree."""
        until = time.monotonic() + PATIENCE_S
        while True:
            states = [await self.status(node) for node in self.up()]
            leaders = {state["leader"] for state in states}
            if len(leaders) == 1 and None not in leaders and leaders < {*self.up(), None}:
                return int(leaders.pop())
            if time.monotonic() > until:
                raise TimeoutError(f"no leader: {states}")
            await asyncio.sleep(0.02)

    def up(self) -> list[int]:
        return [node for node in NODES if f"node-{node}" in self.processes.running]

    async def settled(self) -> None:
        """All nodes that run follow one leader and have applied the same."""
        until = time.monotonic() + PATIENCE_S
        while True:
            await self.leader()
            states = [await self.status(node) for node in self.up()]
            if len({state["applied"] for state in states}) == 1:
                return
            if time.monotonic() > until:
                raise TimeoutError(f"not level: {states}")
            await asyncio.sleep(0.05)

    # Load.

    async def channels(self, where: str, in_flight: int, conversations: int = CONVERSATIONS) -> list[Channel]:
        """`where`: leader, follower (one of them) or spread (all nodes). A client may have 4,096 commands waiting."""
        leader = await self.leader()
        follower = next(node for node in self.up() if node != leader)
        nodes = {"leader": [leader], "follower": [follower], "spread": self.up()}[where]
        found: list[Channel] = []
        for node in nodes:
            found += await self.talkers(node, -(-in_flight // len(nodes) // 2048), conversations)
        return found

    async def talkers(self, node: int, count: int, conversations: int = CONVERSATIONS) -> list[Talker]:
        key = (node, count, conversations)
        if key not in self._talkers:
            made: list[Talker] = []
            for _ in range(count):
                self._count += 1
                door = await self.door(node)
                await door.ask("quiet")
                talker = Talker(door, f"b{self._count}", max(1, conversations // count))
                await talker.prepare()
                made.append(talker)
            self._talkers[key] = made
        return self._talkers[key]

    async def forget_talkers(self) -> None:
        """Closes all clients: whoever is connected is told of what happens."""
        for talkers in self._talkers.values():
            for talker in talkers:
                talker.door.close()
        self._talkers.clear()
