"""1 -> 3 -> 5 -> 7 -> 5 members while users work at all nodes and a leader is killed: nothing is refused."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from tests.cluster import workers
from tests.cluster.fleet import START_S, Fleet, Member
from tests.cluster.judgement import SETTLE_S, linearizable, settled
from tests.cluster.workers import Crowd
from tests.simulation.history import dump

ENOUGH = 20
"""Conversations that users must have made meanwhile."""
CALM_S = 1.0
"""Users work this long on each size of the cluster."""
CHANGE_S = 150.0


class GrowingFleet(Fleet):
    """Node 1 founds; the others are there to join. All have one data directory, as on one machine."""

    def _config(self, data: str, size: int, port: int) -> Path:
        (self.folder / "data").mkdir(parents=True, exist_ok=True)
        path = self.folder / "config.json"
        path.write_text(json.dumps({
            "cluster": "growth", "data_dir": "data", "orchestrator": {"port": port}, "nodes": [{"id": 1}],
            "llm": {"provider": "fake", "delay_s": 0.02},
        }))
        return path

    def _member(self, pid: int, size: int, port: int) -> Member:
        config = self._config("data", size, port)
        member = Member(pid, config, self.folder / "data", self.folder, self.problems)
        member._arguments.append("--join")
        return member

    async def start(self) -> None:
        await self.network.start()
        await self.members[1].start()

    async def command(self, line: str) -> dict[str, object]:
        """At the network; it must succeed."""
        assert self.network.prompt is not None
        answer = await asyncio.wait_for(self.network.prompt.say(line), CHANGE_S)
        assert answer is not None and answer.said["ok"], answer
        return answer.said

    async def add(self, pid: int) -> None:
        await self.members[pid].start()
        await self.command(f"addNode {pid}")

    async def remove(self, pid: int) -> None:
        member = self.members[pid]
        member.doomed = True
        await self.command(f"removeNode {pid}")
        assert await member.gone(START_S) and member.code == 0, "told, and left"
        del self.members[pid]


async def _grow_and_shrink(fleet: GrowingFleet) -> None:
    await asyncio.sleep(CALM_S)
    for pid in (2, 3):
        await fleet.add(pid)
    await asyncio.sleep(CALM_S)
    await fleet.add(4)
    victim = fleet.members[fleet.leader or 1]
    adding = asyncio.ensure_future(fleet.add(5))
    await fleet.members[5].up.wait()
    victim.kill()
    await adding
    await victim.gone(START_S)
    await victim.start()
    await asyncio.sleep(CALM_S)
    for pid in (6, 7):
        await fleet.add(pid)
    await asyncio.sleep(CALM_S)
    await fleet.remove(1)
    await fleet.remove(fleet.leader or 7)
    await asyncio.sleep(CALM_S)


async def _run(folder: Path) -> tuple[GrowingFleet, Crowd, list[str]]:
    fleet = GrowingFleet(folder, 7)
    crowd = Crowd(fleet, seed=1)
    try:
        await fleet.start()
        working = asyncio.ensure_future(crowd.run())
        await _grow_and_shrink(fleet)
        async with asyncio.timeout(SETTLE_S):  # on a busy machine they may not have done enough yet
            while crowd.counts["create"] <= ENOUGH:  # noqa: ASYNC110 - a counter has no event
                await asyncio.sleep(0.1)
        crowd.stopping.set()
        await asyncio.wait_for(working, SETTLE_S)
        problems = await settled(fleet, crowd)
    finally:
        await fleet.close()
        dump(crowd.history(), folder / "history.jsonl")
    return fleet, crowd, problems + fleet.problems


def test_members_come_and_go_while_users_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(workers, "PER_NODE", 2)
    monkeypatch.setattr(workers, "THINK_S", 0.5)
    fleet, crowd, problems = asyncio.run(_run(tmp_path / "run"))
    with capsys.disabled():
        print(f"\n{dict(crowd.counts)}")
    assert not problems
    assert len(fleet.members) == 5
    assert crowd.counts["busy"] == 0, "nothing is refused"
    assert crowd.counts["create"] > ENOUGH
    assert linearizable(crowd.history()).ok
