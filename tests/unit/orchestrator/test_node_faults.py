"""Commands about nodes that overlap, with nodes that connect when the test says so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import cast

from api.operator_commands import FailNodeCommand
from net.relay.relay import Relay
from orchestrator.node_faults import NodeFaults
from orchestrator.supervisor import Supervisor
from orchestrator.timers import Timers
from tests.unit.net.net_tools import run, until


class Nodes:
    """The relay and the supervisor, as far as crashes go."""

    def __init__(self) -> None:
        self.up = {1, 2, 3, 4, 5}
        self.asked: list[int] = []
        self.may_kill = asyncio.Event()
        self.may_kill.set()

    def is_up(self, node: int) -> bool:
        return node in self.up

    def process(self, node: int) -> None: ...

    def host(self, node: int) -> str:
        return "127.0.0.1"

    last_host = host

    def crash(self, node: int) -> None:
        self.up.discard(node)

    async def wait_up(self, node: int, within_s: float) -> bool:
        return await self._wait(lambda: node in self.up, within_s)

    async def wait_down(self, node: int, within_s: float) -> bool:
        return await self._wait(lambda: node not in self.up, within_s)

    async def _wait(self, condition: Callable[[], bool], within_s: float) -> bool:
        if within_s > 0:
            await until(condition)
        return condition()

    async def start(self, node: int, new: bool = False) -> str:
        self.asked.append(node)
        return "here"

    async def ended(self, node: int) -> None:
        await asyncio.Event().wait()

    def failure(self, node: int) -> None: ...

    def leave_down(self, node: int) -> None: ...

    async def kill(self, node: int) -> None:
        await self.may_kill.wait()


def faults_of(nodes: Nodes, folder: Path) -> NodeFaults:
    timers = Timers(lambda event, words: None)
    faults = NodeFaults(cast(Relay, nodes), cast(Supervisor, nodes), timers, folder)
    faults.started()
    faults._started -= 100  # long ago: nobody is waited for
    return faults


def test_who_crashes_again_while_others_are_started_is_not_forgotten(tmp_path: Path) -> None:
    async def main() -> None:
        nodes = Nodes()
        faults = faults_of(nodes, tmp_path)
        for node in (2, 3):
            await faults.fail(FailNodeCommand(node=node))
        resetting = asyncio.create_task(faults.reset())
        await until(lambda: sorted(nodes.asked) == [2, 3])
        nodes.up.add(3)
        await until(lambda: 3 not in faults._crashed)
        await faults.fail(FailNodeCommand(node=3))
        nodes.up.add(2)
        await resetting
        again = asyncio.create_task(faults.reset())
        await until(lambda: nodes.asked[2:] == [3])
        nodes.up.add(3)
        assert await again == ["node 3 is up again"]

    run(main())


def test_of_two_commands_at_once_the_later_one_says_for_how_long(tmp_path: Path) -> None:
    async def main() -> None:
        nodes = Nodes()
        faults = faults_of(nodes, tmp_path)
        nodes.may_kill.clear()
        first = asyncio.create_task(faults.fail(FailNodeCommand(node=4, for_s=600)))
        second = asyncio.create_task(faults.fail(FailNodeCommand(node=4)))
        await until(lambda: 4 not in nodes.up)
        nodes.may_kill.set()
        await asyncio.gather(first, second)
        assert not faults._tokens, "it stays down"

    run(main())
