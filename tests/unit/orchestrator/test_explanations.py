"""`explain on all`: asked of every node that is up, and what each says."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest

from api.errors import InvalidCommand
from api.operator_commands import ExplainAllCommand
from console.operator.table import parse_line
from orchestrator.errors import CommandError
from orchestrator.explanations import Explanations
from orchestrator.node_client import NodeClient, NodeUnreachable
from tests.unit.orchestrator.operator_tools import operator_of


class Nodes:
    def __init__(self, **failing: Exception | str) -> None:
        self._failing = failing
        self.lines: list[tuple[int, str]] = []

    async def run(self, node: int, line: str, timeout_s: float) -> dict[str, Any]:
        self.lines.append((node, line))
        why = self._failing.get(f"n{node}")
        if isinstance(why, Exception):
            raise why
        return {"ok": True} if why is None else {"ok": False, "error": why}

    def explain(self, line: str, *up: int) -> Any:
        command = parse_line(line)
        assert isinstance(command, ExplainAllCommand)
        return asyncio.run(Explanations(lambda: up, cast(NodeClient, self)).switch(command))


def test_every_node_that_is_up_explains_or_says_why_not() -> None:
    nodes = Nodes(n3=NodeUnreachable("node 3: no answer"), n4="it runs in the background")
    result = nodes.explain("explain on all", 1, 2, 3, 4)
    assert nodes.lines == [(node, "explain on pane") for node in (1, 2, 3, 4)]
    assert (result.on, result.nodes) == (True, [1, 2])
    assert result.failed == {"3": "node 3: no answer", "4": "node 4: it runs in the background"}
    assert result.text == (
        "each step of the protocol is explained at nodes 1, 2; explain off all ends it; node 3: no answer; "
        "node 4: it runs in the background"
    )
    assert nodes.explain("explain OFF all", 2).text == "no more explanations at node 2"
    assert nodes.lines[-1] == (2, "explain off pane")


def test_nobody_explains(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="node 4: it runs in the background"):
        Nodes(n4="it runs in the background").explain("explain on all", 4)
    for line, words in {
        "explain on": "about every node; explain on about one is typed there", "explain perhaps all": "neither on nor",
        "explain on 3": "about every node",
    }.items():
        with pytest.raises(InvalidCommand, match=words):
            parse_line(line)

    async def scenario() -> None:
        async with operator_of(tmp_path) as at:
            assert await at.error("explain on all") == "no node is up"
            assert (at.complete("explain"), at.complete("explain", "on")) == (["on", "off"], ["all"])

    asyncio.run(scenario())
