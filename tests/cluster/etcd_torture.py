"""What torture needs for nodes on etcd: a fleet whose members of etcd are behind links that can be cut, and faults."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Sequence
from pathlib import Path
from random import Random

from tests.cluster.etcd_links import Cut, Link
from tests.cluster.etcd_members import EtcdMembers
from tests.cluster.fault_plan import KINDS as ALL_KINDS
from tests.cluster.fault_plan import NODES, Draw, Fault
from tests.cluster.fleet import START_S, Fleet
from tests.cluster.nemesis import Nemesis

NODE_KINDS = ("kill one", "kill several", "kill all", "pause")


def kinds(members: Sequence[int]) -> dict[str, Draw]:
    """As in fault_plan.py. Of faults of members the nodes are their numbers; of cuts, the commands are the members."""
    minority = (len(members) - 1) // 2

    def some(random: Random) -> tuple[tuple[int, ...], tuple[str, ...]]:
        """No more than etcd stands."""
        return tuple(random.sample(members, random.randint(1, minority))), ()

    def one(random: Random) -> tuple[tuple[int, ...], tuple[str, ...]]:
        return (random.choice(members),), ()

    def majority(random: Random) -> tuple[tuple[int, ...], tuple[str, ...]]:
        return tuple(random.sample(members, random.randint(minority + 1, len(members)))), ()

    def links(random: Random) -> tuple[tuple[int, ...], tuple[str, ...]]:
        """One node and one member, one node and all members, or any."""
        nodes = tuple(random.sample(NODES, random.choice((1, 1, 2, 3))))
        return nodes, tuple(map(str, random.sample(members, random.choice((1, len(members) - 1, len(members))))))

    return {
        **{kind: ALL_KINDS[kind] for kind in NODE_KINDS},
        "kill member": some, "pause member": some, "wiped member": one, "no majority": majority,
        "compaction": lambda random: ((), ()), **{cut.value: links for cut in Cut},
    }


class EtcdFleet(Fleet):
    """Five nodes, `size` members of etcd, and a link from each to each."""

    def __init__(self, folder: Path, size: int) -> None:
        self.etcd = EtcdMembers(folder / "etcd", size)
        super().__init__(folder)
        self.links = {
            (pid, number): Link(int(self.etcd.endpoint(number).rsplit(":", 1)[1]))
            for pid in self.members for number in self.etcd.numbers
        }

    async def start(self) -> None:
        await asyncio.to_thread(self.etcd.__enter__)
        for link in self.links.values():
            await link.start()
        for pid, member in self.members.items():
            path = self.folder / f"config-{member.data.name}.json"
            settings = json.loads(path.read_text())
            endpoints = [f"http://127.0.0.1:{self.links[pid, number].port}" for number in self.etcd.numbers]
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
        if fault.kind in tuple(Cut):
            return await self._cut(fault.nodes, [int(number) for number in fault.commands], fault.seconds,
                                   Cut(fault.kind))
        async with self._members:
            await asyncio.to_thread(self._etcd.ready)
            match fault.kind:
                case "kill member":
                    for number in fault.nodes:
                        self._etcd.kill(number)
                    await asyncio.sleep(fault.seconds)
                    for number in fault.nodes:
                        self._etcd.start(number)
                case "wiped member":
                    self._etcd.kill(fault.nodes[0])
                    self._etcd.lose_disk(fault.nodes[0])
                    await asyncio.to_thread(self._etcd.replace, fault.nodes[0])
                case "pause member" | "no majority":
                    await self._pause_members(fault.nodes, fault.seconds)
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

    async def _cut(self, nodes: Sequence[int], numbers: Sequence[int], seconds: float, how: Cut) -> bool:
        links = [self._nodes.links[node, number] for node in nodes for number in numbers]
        for link in links:
            link.cut(how)
        await asyncio.sleep(seconds)
        for link in links:
            link.mend()
        return True
