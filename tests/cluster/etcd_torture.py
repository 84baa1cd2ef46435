"""What torture needs for nodes on etcd: a fleet whose members of etcd are behind links that can be cut, and faults."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from collections.abc import Sequence
from pathlib import Path
from random import Random

from tests.cluster.etcd_members import EtcdMembers
from tests.cluster.fault_plan import KINDS as ALL_KINDS
from tests.cluster.fault_plan import NODES, Draw, Fault
from tests.cluster.fleet import START_S, Fleet
from tests.cluster.nemesis import Nemesis

MEMBERS = (1, 2, 3)


def _member(random: Random) -> tuple[tuple[int, ...], tuple[str, ...]]:
    return (random.choice(MEMBERS),), ()


def _cut(random: Random) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Nodes that reach none of the members, or not all."""
    nodes = tuple(random.sample(NODES, random.randint(1, 3)))
    return nodes, tuple(map(str, random.sample(MEMBERS, random.randint(1, 3))))


KINDS: dict[str, Draw] = {
    **{kind: ALL_KINDS[kind] for kind in ("kill one", "kill several", "kill all", "pause")},
    "kill member": _member, "pause member": _member, "wiped member": _member, "no majority": _member,
    "compaction": lambda random: ((), ()), "cut off": _cut,
}
"""As in fault_plan.py. Of faults of members the nodes are their numbers; of "cut off", the commands are the members."""


class Link:
    """A TCP proxy from a node to a member; once cut, nothing passes any more, and nobody is told."""

    def __init__(self, port: int) -> None:
        self.port = 0
        self._to = port
        self._open = asyncio.Event()
        self._open.set()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def cut(self) -> None:
        self._open.clear()

    def mend(self) -> None:
        """What came meanwhile is lost with its connections, as after a while on a real network."""
        if not self._open.is_set():
            for task in self._tasks:
                task.cancel()
            self._open.set()

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await self._open.wait()
            theirs = await asyncio.open_connection("127.0.0.1", self._to)
            ways = [asyncio.ensure_future(self._pass(reader, theirs[1])),
                    asyncio.ensure_future(self._pass(theirs[0], writer))]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                theirs[1].close()
        writer.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                await self._open.wait()
                writer.write(data)
                await writer.drain()


class EtcdFleet(Fleet):
    """Five nodes, three members of etcd, and a link from each to each."""

    def __init__(self, folder: Path) -> None:
        self.etcd = EtcdMembers(folder / "etcd", len(MEMBERS))
        super().__init__(folder)
        self.links = {
            (pid, number): Link(int(self.etcd.endpoint(number).rsplit(":", 1)[1]))
            for pid in self.members for number in MEMBERS
        }

    async def start(self) -> None:
        await asyncio.to_thread(self.etcd.__enter__)
        for link in self.links.values():
            await link.start()
        for pid, member in self.members.items():
            path = self.folder / f"config-{member.data.name}.json"
            settings = json.loads(path.read_text())
            endpoints = [f"http://127.0.0.1:{self.links[pid, number].port}" for number in MEMBERS]
            path.write_text(json.dumps(settings | {"engine": {"type": "etcd", "endpoints": endpoints}}))
        await asyncio.gather(*(member.start() for member in self.members.values()))
        await self.all_show(lambda seen: all(one["leader"] for one in seen), START_S)

    async def close(self) -> None:
        for member in self.members.values():
            await member.close()
        for link in self.links.values():
            if link.port:
                await link.close()
        await asyncio.to_thread(self.etcd.__exit__)


class EtcdNemesis(Nemesis):
    """One fault of the members at a time, so that they can always be put right again."""

    def __init__(self, fleet: EtcdFleet) -> None:
        super().__init__(fleet, None, 0)
        self._nodes = fleet
        self._etcd = fleet.etcd
        self._members = asyncio.Lock()

    async def stop(self) -> None:
        for member in self._paused:
            member.signal(signal.SIGCONT)
        for link in self._nodes.links.values():
            link.mend()
        for node in self._nodes.members.values():
            if not node.running:
                await node.start()
        await asyncio.to_thread(self._etcd.ready)

    async def _other(self, fault: Fault) -> bool:
        if fault.kind == "cut off":
            return await self._cut_off(fault.nodes, [int(number) for number in fault.commands], fault.seconds)
        async with self._members:
            await asyncio.to_thread(self._etcd.ready)
            match fault.kind:
                case "kill member":
                    self._etcd.kill(fault.nodes[0])
                    await asyncio.sleep(fault.seconds)
                    self._etcd.start(fault.nodes[0])
                case "wiped member":
                    self._etcd.kill(fault.nodes[0])
                    self._etcd.lose_disk(fault.nodes[0])
                    await asyncio.to_thread(self._etcd.replace, fault.nodes[0])
                case "pause member":
                    await self._pause_members(fault.nodes, fault.seconds)
                case "no majority":
                    await self._pause_members([number for number in MEMBERS if number not in fault.nodes],
                                              fault.seconds)
                case "compaction":
                    await asyncio.to_thread(self._etcd.compact)
            await asyncio.to_thread(self._etcd.ready)
        return True

    async def _pause_members(self, numbers: Sequence[int], seconds: float) -> None:
        for number in numbers:
            self._etcd.signal(number, signal.SIGSTOP)
        await asyncio.sleep(seconds)
        for number in numbers:
            self._etcd.signal(number, signal.SIGCONT)

    async def _cut_off(self, nodes: Sequence[int], numbers: Sequence[int], seconds: float) -> bool:
        cut = [self._nodes.links[node, number] for node in nodes for number in numbers]
        for link in cut:
            link.cut()
        await asyncio.sleep(seconds)
        for link in cut:
            link.mend()
        return True
