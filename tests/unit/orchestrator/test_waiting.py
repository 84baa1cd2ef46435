"""`wait behind`, and how long a new leader took; what a script's `status` looks like; scripts step by step."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from api.base import keys
from api.errors import InvalidCommand
from api.open_records import extended
from api.operator_commands import ScriptCommand, WaitCommand
from api.operator_events import StepResultEvent
from console.layout import Layout
from console.operator.events import event_text
from console.operator.table import parse_line
from net.relay.relay import Relay
from orchestrator.errors import CommandError
from orchestrator.node_client import NodeClient
from orchestrator.waiting import Waiting
from tests.unit.orchestrator.operator_tools import operator_of


class Report(msgspec.Struct):
    applied: int
    role: str = "follower"
    leader: int = 3
    ballot: tuple[int, int, int] = (2, 3, 1)


class Nodes:
    """As a relay knows them; `until` looks once."""

    nodes = members = (1, 2, 3)

    def __init__(self, **reports: int) -> None:
        self._reports = {int(name[1:]): Report(applied) for name, applied in reports.items()}
        self._reports[3].role = "leader"

    def is_up(self, node: int) -> bool:
        return node in self._reports

    def report_of(self, node: int) -> Report | None:
        return self._reports.get(node)

    async def until(self, condition: Any, within_s: float) -> bool:
        return bool(condition())


def waiting(nodes: Nodes) -> Waiting:
    return Waiting(cast(Relay, nodes), NodeClient(Path("nowhere")), lambda: (1.26, "failNode 1"))


def test_a_node_is_behind_when_its_report_says_so() -> None:
    behind = parse_line("wait behind 2 100 --within 1s")
    assert behind == WaitCommand(what="behind", node=2, operations=100, within_s=1)
    result = asyncio.run(waiting(Nodes(n1=50, n2=50, n3=150)).wait(behind))
    assert (result.applied, result.text) == (100, "node 2 is 100 operations behind")
    for late in (Nodes(n1=50, n2=51, n3=150), Nodes(n1=150, n3=150)):
        with pytest.raises(CommandError, match="after 1 s: node 2 is not 100 operations behind"):
            asyncio.run(waiting(late).wait(behind))
    with pytest.raises(InvalidCommand, match="which node"):
        asyncio.run(waiting(Nodes(n3=1)).wait(WaitCommand(what="behind")))


def test_a_new_leader_is_told_with_the_time_since_the_last_fault() -> None:
    new = asyncio.run(waiting(Nodes(n1=1, n2=1, n3=1)).wait(WaitCommand(what="leader", new=True)))
    assert (new.leader, new.after_s, new.text) == (3, 1.3, "node 3 leads, 1.3 s after failNode 1")
    assert asyncio.run(waiting(Nodes(n1=1, n2=1, n3=1)).wait(WaitCommand(what="leader"))).text == "node 3 leads"


def test_the_nodes_of_a_wait_are_checked_first(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with operator_of(tmp_path) as at:
            assert "there is no node 9" in await at.error("wait behind 9 1")
            step = extended(StepResultEvent("status", "f.txt", 1, "status"), keys(at.orchestrator.status()))
        text = event_text(step)
        assert callable(text) and "no link faults" in text(Layout(100))

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("script tour --step", ScriptCommand(file="tour", paused=True)), ("script tour", ScriptCommand(file="tour")),
        ("script my tour.txt --step", ScriptCommand(file="my tour.txt", paused=True)),
    ],
)
def test_a_script_may_wait_before_each_line(line: str, command: ScriptCommand) -> None:
    assert parse_line(line) == command
    with pytest.raises(InvalidCommand, match="a file or a scenario is missing"):
        parse_line("script --step")
