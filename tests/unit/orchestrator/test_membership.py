"""`addNode`, `removeNode`, `replaceNode`, against nodes that only connect and answers made here."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from net.control_messages import Report
from orchestrator import membership
from orchestrator.errors import CommandError
from orchestrator.memory import remember, remembered
from orchestrator.node_client import NodeUnreachable
from orchestrator.supervisor import Supervisor
from tests.unit.net.net_tools import Node, run, until
from tests.unit.orchestrator.operator_tools import Operator, operator_of

ID = (1 << 62) + 7
REPORT = Report("follower", 1, (1, 1, 1), 1, 1, 0, "", ID, 1, [1, 2, 3, 4, 5])


class Members:
    """Answers for all nodes, as if they had decided at once."""

    def __init__(self, at: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
        self.numbers, self.number = [1, 2, 3, 4, 5], 1
        self.asked: list[tuple[int, str]] = []
        self.lost: set[int] = set()
        """Nodes that die when they are asked for a change."""
        self.refusal: str | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        monkeypatch.setattr(at.orchestrator._membership._client, "run", self.run)

    async def run(self, node: int, line: str, timeout_s: float) -> dict[str, Any]:
        self.asked.append((node, line))
        _, *change = line.split()
        if change:
            await self.gate.wait()
            if node in self.lost:
                raise NodeUnreachable(f"node {node}: exited before it answered")
            if self.refusal is not None:
                return {"ok": False, "error": self.refusal}
            self.change(change[0], int(change[1]))
        members = [{"node": number, "votes": True} for number in self.numbers]
        return {"ok": True, "cluster": f"{ID:016x}", "number": self.number, "members": members}

    def change(self, kind: str, node: int) -> None:
        self.number += 1
        self.numbers = sorted({*self.numbers, node} if kind == "add" else set(self.numbers) - {node})


@contextlib.asynccontextmanager
async def cluster(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Operator, Members, list[Node]]]:
    async with operator_of(folder) as at, contextlib.AsyncExitStack() as stack:
        nodes = [await stack.enter_async_context(Node(at.port, n, cluster="demo")) for n in (1, 2, 3)]
        for node in nodes:
            await node.up()
            node.link.send_report(REPORT)
        await until(lambda: at.relay.known.members)
        monkeypatch.setattr("orchestrator.membership.SHOWN_S", 0.01)  # they report nothing more by themselves
        yield at, Members(at, monkeypatch), nodes


def report(nodes: list[Node], members: Members) -> None:
    for node in nodes:
        node.link.send_report(msgspec.structs.replace(REPORT, configuration=members.number, members=members.numbers))


def test_a_node_is_started_and_added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with cluster(tmp_path, monkeypatch) as (at, members, nodes):
            assert "there is no node 6" in await at.error("failNode 6")
            added = await at.ok("addNode 6")
            assert added["members"] == [1, 2, 3, 4, 5, 6] and added["number"] == 2
            assert added["text"].startswith("node 6 is a member now; node 6 is up, in the background; ")
            assert members.asked[-1] == (1, "members add 6"), "at the leader, or else the first"
            report(nodes, members)
            await until(lambda: at.relay.known.members == (1, 2, 3, 4, 5, 6))
            assert at.events[-1]["event"] == "members" and at.events[-1]["members"] == [1, 2, 3, 4, 5, 6]
            assert remembered(at.config.data_dir, "demo").members == (1, 2, 3, 4, 5, 6)
            await at.ok("failLink 6 1")
            await at.ok("failNode 6")
            assert "node 6 is a member already; fixNode 6 starts it" in await at.error("addNode 6")

    run(main())


def test_a_node_that_cannot_be_started_is_not_let_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with cluster(tmp_path, monkeypatch) as (at, members, _):
            at.write("print('no such disk'); raise SystemExit(1)")
            assert "no such disk" in await at.error("addNode 6")
            assert members.asked == [(1, "members")] and 6 not in at.relay.nodes

    run(main())


def test_a_node_that_stops_before_it_is_waited_for_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spawn = Supervisor._spawn

    async def spawn_and_end(supervisor: Supervisor, node: int) -> asyncio.subprocess.Process:
        process = await spawn(supervisor, node)
        await process.wait()
        return process

    monkeypatch.setattr(Supervisor, "_spawn", spawn_and_end)

    async def main() -> None:
        async with cluster(tmp_path, monkeypatch) as (at, _, _nodes):
            at.write("print('no such disk'); raise SystemExit(1)")
            assert "no such disk" in await at.error("addNode 6")

    run(main())


def test_a_change_that_is_not_decided_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with cluster(tmp_path, monkeypatch) as (at, members, _):
            members.refusal = "not decided within 30 s, and not asked for any more"
            said = await at.error("addNode 6")
            assert "node 1: not decided within 30 s" in said and "node 6 is no member: addNode 6 tries again" in said
            status = await at.ok("status")
            assert [each["node"] for each in status["nodes"] if each.get("member") is False] == [6]
            members.refusal = None
            assert (await at.ok("addNode 6"))["text"].startswith("node 6 is a member now; the members are")

    run(main())


def test_a_node_is_removed_and_not_started_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with cluster(tmp_path, monkeypatch) as (at, members, nodes):
            await at.ok("failNode 5")
            await at.ok("failNode 4 --for 60s")
            for node in (4, 5):
                await at.ok(f"removeNode {node}")
            report(nodes, members)
            await until(lambda: at.relay.nodes == [1, 2, 3])
            assert (await at.ok("status"))["timers"] == []
            assert (await at.ok("reset"))["text"] == "all faults are removed"
            assert "there is no node 5: the nodes are 1, 2, 3" in await at.error("fixNode 5")
            assert "there is no node 5" in await at.error("removeNode 5")

    run(main())


def test_another_node_is_asked_when_one_is_lost_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with cluster(tmp_path, monkeypatch) as (at, members, _):
            monkeypatch.setattr(membership, "LEAVES_S", 0.01)
            members.lost = {2}
            assert (await at.ok("removeNode 1"))["members"] == [2, 3, 4, 5]
            assert members.asked == [(2, "members remove 1"), (3, "members"), (3, "members remove 1")]
            members.asked.clear()
            members.lost = {1, 2, 3}
            assert "exited before it answered" in await at.error("removeNode 5")

    run(main())


def test_a_change_that_was_made_before_its_node_was_lost_is_made_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with cluster(tmp_path, monkeypatch) as (at, members, _):
            members.lost = {1}
            members.gate.clear()
            removing = asyncio.ensure_future(at.ok("removeNode 5"))
            await until(lambda: members.asked)
            members.change("remove", 5)
            members.gate.set()
            assert (await removing)["number"] == 2
            assert members.asked == [(1, "members remove 5"), (2, "members")]

    run(main())


def test_one_change_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with cluster(tmp_path, monkeypatch) as (at, members, _):
            members.gate.clear()
            removing = asyncio.ensure_future(at.ok("removeNode 5"))
            await until(lambda: members.asked)
            assert await at.error("addNode 6") == "another change of the members is under way: removeNode 5"
            members.gate.set()
            await removing

    run(main())


def test_a_disk_is_replaced_while_its_node_is_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with cluster(tmp_path, monkeypatch) as (at, members, _):
            assert "failNode 2 first" in await at.error("replaceNode 2")
            replaced = await at.ok("replaceNode 4")
            assert (1, "members replace 4") in members.asked
            assert "does not count any more" in replaced["text"] and "node 4 is up" in replaced["text"]

    run(main())


@pytest.mark.parametrize("line", [
    "addNode", "addNode x", "addNode 0", "addNode 65536", "removeNode", "replaceNode 1 2",
])
def test_what_is_not_understood_is_said(tmp_path: Path, line: str) -> None:
    async def main() -> None:
        async with operator_of(tmp_path) as at:
            assert "for example" in await at.error(line)

    run(main())


def test_a_script_may_name_a_node_that_it_adds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with cluster(tmp_path, monkeypatch) as (at, _, _):
            script = tmp_path / "grow.txt"
            script.write_text("failLink 6 1\naddNode 6\n")
            assert "line 1: there is no node 6" in await at.error(f"script {script}")
            script.write_text("addNode 6\nfailLink 6 1\n")
            await at.ok(f"script {script}")

    run(main())


def test_a_script_goes_by_the_nodes_that_it_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with cluster(tmp_path, monkeypatch) as (at, _, _nodes):
            script = tmp_path / "shrink.txt"

            def load(*lines: str) -> None:
                script.write_text("\n".join(lines))
                at.orchestrator.scripts.load(str(script))

            load("removeNode 5", "partition 1 2 | 3 4", "addNode 5", "partition 1 2 | 3 4 5", "finally", "failNode 5")
            load("removeNode 5", "finally", "addNode 5", "fixNode 5")
            for lines, words in (
                (("removeNode 5", "failNode 5"), "line 2: there is no node 5: the nodes are 1, 2, 3, 4"),
                (("removeNode 5", "partition 1 2 | 3 4 5"), "line 2: there is no node 5"),
                (("removeNode 5", "addNode 5", "partition 1 2 | 3 4"), "line 3: node 5 is in no group"),
            ):
                with pytest.raises(CommandError, match=words):
                    load(*lines)

    run(main())


def test_a_file_that_differs_is_told_at_once(tmp_path: Path) -> None:
    async def main() -> None:
        async with operator_of(tmp_path) as at:
            known = at.relay.known
            remember(at.config.data_dir, "demo", msgspec.structs.replace(
                known, cluster_id=ID, configuration=4, members=(1, 2, 7)))
            assert at.events == []
        async with operator_of(tmp_path) as at:
            at.orchestrator.announce()
            assert at.events[0]["event"] == "members" and at.events[0]["configured"] == [1, 2, 3, 4, 5]
            assert "are 1, 2, 7, as they have decided; config.json lists 1, 2, 3, 4, 5" in at.events[0]["text"]
            assert at.relay.nodes == [1, 2, 7]

    run(main())
