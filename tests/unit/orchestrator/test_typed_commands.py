"""Commands as programs give them, what becomes of the words of those that people type, and further kinds of faults."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any, ClassVar

import pytest
from msgspec import UNSET

from api.errors import InvalidCommand
from api.operator_commands import (
    DelayCommand,
    FailLinkCommand,
    FaultCommand,
    IsolateCommand,
    LossCommand,
    PartitionCommand,
    SeedCommand,
)
from console.layout import Layout
from console.operator.table import OPERATOR_TABLE
from console.operator.views import status_text
from console.usage import UsageError
from net.control_messages import Report
from net.relay.faults import ALL
from net.relay.faults.fault import KINDS, Decider, Fault, register
from orchestrator.fault_history import words_of
from orchestrator.node_client import NodeClient
from tests.unit.net.net_tools import Node, run
from tests.unit.orchestrator.operator_tools import Operator, operator_of, seen


@pytest.mark.parametrize(
    ("command", "line"),
    [
        (FailLinkCommand(link=(1, 2)), "failLink 1 2"),
        (FailLinkCommand(link=("leader", 2), one_way=True, for_s=90), "failLink leader 2 --oneway --for 90s"),
        (IsolateCommand(node="leader", for_s=0.5), "isolate leader --for 0.5s"),
        (PartitionCommand(groups=[[1, 2], [3, 4, 5]]), "partition 1,2|3,4,5"),
        (DelayCommand(delay_ms=100.0), "delay 100"),
        (DelayCommand(link=(1, 2), delay_ms=300.0, jitter_ms=50.0), "delay 1 2 300 50"),
        (LossCommand(percent=0.1), "loss 0.1"),
        (SeedCommand(seed=10**17), "seed 100000000000000000"),
    ],
)
def test_a_command_is_called_as_it_could_have_been_typed(command: FaultCommand[Any], line: str) -> None:
    assert words_of(command) == line
    typed = OPERATOR_TABLE.parse(1, line).command
    assert isinstance(typed, FaultCommand)
    assert typed.words is UNSET and words_of(typed) == line and seen(typed) == seen(command)


def test_what_was_typed_otherwise_is_listed_as_it_was_typed(tmp_path: Path) -> None:
    async def main() -> None:
        async with operator_of(tmp_path) as at:
            for line in ("LOSS 5%", "delay 1e2", "partition 1,2 | 3 4,5 --FOR 1m", "failLink 1 2 --ONEWAY"):
                await at.ok(line)
            entries = (await at.ok("log"))["entries"]
            assert [entry["what"] for entry in entries] == [
                "loss 5%", "delay 1e2", "partition 1,2 | 3 4,5 --FOR 1m", "failLink 1 2 --ONEWAY",
            ]
            assert [timer["fault"] for timer in (await at.ok("status"))["timers"]] == ["partition 1,2 | 3 4,5"]

    run(main())


def test_programs_give_commands_as_json(tmp_path: Path) -> None:
    async def main() -> None:
        async with operator_of(tmp_path) as at:
            assert (await at.ok('{"command":"failLink","link":[1,2],"one_way":true}'))["links"] == [[1, 2]]
            await at.ok('{"command":"loss","percent":7,"link":[3,4],"words":"my loss"}')
            assert "there is no node 9" in await at.error('{"command":"isolate","node":9}')
            assert "no link to itself" in await at.error('{"command":"delay","link":[3,3],"delay_ms":1}')
            assert "--oneway needs a link" in await at.error('{"command":"delay","one_way":true,"delay_ms":1}')
            assert "`float` <= 100" in await at.error('{"command":"loss","percent":101}')
            assert [entry["what"] for entry in (await at.ok("log"))["entries"]] == ["failLink 1 2 --oneway", "my loss"]

    run(main())


def test_words_without_sense_are_told_at_once_where_the_command_answers_at_once() -> None:
    for line, at_once in (("watch out", True), ("log x", True), ("delay x", False)):
        with pytest.raises(UsageError) as refused:
            OPERATOR_TABLE.parse(1, line)
        assert (refused.value.at_once, refused.value.kind, refused.value.name) == (at_once, UNSET, line.split()[0])


def test_a_leader_is_a_number_where_it_is_carried_out(tmp_path: Path) -> None:
    async def main() -> None:
        async with operator_of(tmp_path) as at:
            nodes = [Node(at.port, number, cluster="demo") for number in (1, 2, 3)]
            for node in nodes:
                node.link.start()
                await node.up()
                node.link.send_report(Report("leader" if node is nodes[1] else "follower", 2, (3, 2, 9), 8, 8, 0, "ab"))
            await at.ok("wait leader")
            assert "node 2 has no link to itself" in await at.error("failLink leader 2")
            assert await at.links() == []
            assert (await at.ok("failLink LEADER 1 --oneway"))["links"] == [[2, 1]]
            assert (await at.ok("log"))["entries"][-1]["what"] == "failLink 2 1 --oneway"
            script = tmp_path / "mine.txt"
            script.write_text("failLink 3 2\nfailLink 2 leader\n")
            assert "ends at line 2, failLink 2 leader: node 2 has no link" in await at.error(f"script {script}")
            for node in nodes:
                await node.link.close()

    run(main())


@pytest.mark.parametrize("line", ["help", "exit", "stop", "script failover"])
def test_scripts_have_no_commands_about_the_prompt(tmp_path: Path, line: str) -> None:
    at = Operator(tmp_path)
    (tmp_path / "mine.txt").write_text(f"heal\n{line}\n")
    with pytest.raises(Exception, match=rf"line 2: unknown command '{line.split()[0]}'"):
        at.orchestrator.scripts.load(f"{tmp_path}/mine.txt")


def test_a_typed_command_is_checked_by_the_service_itself(tmp_path: Path) -> None:
    async def main() -> None:
        async with operator_of(tmp_path) as at:
            with pytest.raises(InvalidCommand, match="there is no node 9"):
                await at.orchestrator.execute(IsolateCommand(node=9))
            with pytest.raises(InvalidCommand, match="nodes 4, 5 are in no group"):
                await at.orchestrator.execute(PartitionCommand(groups=[[1, 2], [3]]))
            assert (await at.ok("log"))["entries"] == []

    run(main())


def test_a_nodes_answer_keeps_its_name_and_its_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run_at(self: NodeClient, node: int, line: str, timeout_s: float) -> dict[str, Any]:
        return {"command": "create", "ok": True, "context": "c1"}

    monkeypatch.setattr(NodeClient, "run", run_at)

    async def main() -> None:
        async with operator_of(tmp_path) as at:
            entry = OPERATOR_TABLE.parse(1, "node 2: create c1")
            answer = await entry.run(at.prompt, _nothing)
            assert answer.replies_to == "create"
            assert list(seen(answer).items()) == [("ok", True), ("context", "c1"), ("node", 2)]
            await at.ok("node 2: create c1 &")
            while not any(event["event"] == "node_answer" for event in at.events):  # noqa: ASYNC110
                await asyncio.sleep(0)
            told = next(event for event in at.events if event["event"] == "node_answer")
            assert list(told) == ["event", "command", "ok", "context", "node", "text"]
            assert told["command"] == "create c1"

    run(main())


async def _nothing() -> None:
    """There are no earlier commands."""


@pytest.fixture
def throttle() -> Iterator[type[Fault]]:
    @register
    class Throttle(Fault, frozen=True):
        bytes_per_s: float = 0.0
        stage: ClassVar[int] = 25

        def decider(self, random: Random) -> Decider:
            return lambda late, size, now, urgent: (late + size / self.bytes_per_s,)

        def words(self) -> str:
            return f"throttle {self.bytes_per_s:g} bytes/s"

    yield Throttle
    KINDS.remove(Throttle)


def test_a_further_kind_of_fault_is_seen_in_the_status(tmp_path: Path, throttle: type[Fault]) -> None:
    async def main() -> None:
        async with operator_of(tmp_path) as at:
            assert "others" not in await at.ok("status"), "it does nothing"
            at.orchestrator.faults.set(throttle, {ALL: throttle(1000.0), (1, 2): throttle(500.0)})
            await at.ok("loss 5")
            status = await at.ok("status")
            assert status["others"] == {"bytes_per_s": 1000}
            assert status["own"][0]["others"] == {"bytes_per_s": 500}
            shown = status_text(at.orchestrator.status(), Layout())
            assert "the other links: loss 5 %, throttle 1000 bytes/s" in shown
            assert "1 -> 2: loss 5 %, throttle 500 bytes/s" in shown
            assert "throttle 1000 bytes/s" in at.status_line()
            assert "still on: loss 5 %, throttle 1000 bytes/s, single links: 1" in (await at.ok("heal"))["text"]
            await at.ok("reset")
            assert at.orchestrator.faults.quiet

    run(main())
