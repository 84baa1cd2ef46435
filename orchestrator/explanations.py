"""`explain on all`: every node explains the protocol at its own prompt."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from api.operator_commands import ExplainAllCommand
from api.operator_results import ExplainAllResult
from orchestrator.errors import CommandError
from orchestrator.node_client import NodeClient, NodeUnreachable

ANSWERED_S = 5.0
"""A node does it at once, or is paused."""


class Explanations:
    """`up`: the numbers of the nodes that are connected."""

    def __init__(self, up: Callable[[], Sequence[int]], client: NodeClient) -> None:
        self._up = up
        self._client = client

    async def switch(self, command: ExplainAllCommand) -> ExplainAllResult:
        """Raises CommandError if no node does it."""
        up = list(self._up())
        if not up:
            raise CommandError("no node is up")
        reasons = await asyncio.gather(*(self._switch(node, command.on) for node in up))
        failed = {node: reason for node, reason in zip(up, reasons, strict=True) if reason is not None}
        nodes = [node for node in up if node not in failed]
        if not nodes:
            raise CommandError("; ".join(failed.values()))
        who = ("node " if len(nodes) == 1 else "nodes ") + ", ".join(map(str, nodes))
        done = (
            f"each step of the protocol is explained at {who}; explain off all ends it" if command.on
            else f"no more explanations at {who}"
        )
        return ExplainAllResult(
            on=command.on, nodes=nodes, failed={str(node): reason for node, reason in failed.items()},
            text="; ".join([done, *failed.values()]),
        )

    async def _switch(self, node: int, on: bool) -> str | None:
        """Why it does not do it; None if it does."""
        try:
            answer = await self._client.run(node, f"explain {'on' if on else 'off'} pane", ANSWERED_S)
        except NodeUnreachable as error:
            return str(error)
        return None if answer.get("ok") else f"node {node}: {answer.get('error')}"
