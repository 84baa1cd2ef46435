"""Runs a user's command at a node from the operator's prompt: for scripts that show both sides."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from api.open_records import extended
from api.operator_commands import LoadCommand, NodeCommand
from api.operator_events import NodeAnswerEvent
from api.operator_results import LoadResult, NodeAnswerResult
from orchestrator.errors import CommandError
from orchestrator.node_client import NodeClient, NodeUnreachable
from orchestrator.node_numbers import NodeNumbers

ANSWERED_S = 60.0
"""How long a command at a node may take."""
BACKGROUND_S = 600.0
"""The same in the background."""


class UserCommands:
    """`emit` gets the answers to commands in the background."""

    def __init__(self, numbers: NodeNumbers, client: NodeClient, emit: Callable[[NodeAnswerEvent], None]) -> None:
        self._numbers = numbers
        self._client = client
        self._emit = emit
        self._background: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        for task in self._background:
            task.cancel()
        if self._background:
            await asyncio.wait(list(self._background))

    async def at_node(self, command: NodeCommand) -> NodeAnswerResult:
        node = await self._numbers.number(command.node)
        if command.background:
            task = asyncio.ensure_future(self._answer_later(node, command.line))
            self._background.add(task)
            task.add_done_callback(self._background.discard)
            return extended(NodeAnswerResult(), {"node": node, "text": "sent; the answer comes later"})
        answer = await self._client.run(node, command.line, ANSWERED_S)
        if not answer.get("ok"):
            raise CommandError(f"node {node}: {answer.get('error')}")
        name = answer.pop("command")
        return extended(NodeAnswerResult(), {**answer, "node": node}, replies_to=name)

    async def load(self, command: LoadCommand) -> LoadResult:
        node = await self._numbers.number(command.node)
        seconds = await self._client.load(node, command.count, ANSWERED_S + command.count / 100)
        rate = command.count / max(seconds, 0.001)
        text = f"{command.count} operations decided in {seconds:.1f} s, {rate:.0f} a second"
        return LoadResult(node=node, operations=command.count, seconds=round(seconds, 2), text=text)

    async def _answer_later(self, node: int, line: str) -> None:
        try:
            answer = await self._client.run(node, line, BACKGROUND_S)
        except NodeUnreachable as error:
            answer = {"ok": False, "error": str(error)}
        outcome = "done" if answer.get("ok") else f"refused: {answer.get('error')}"
        text = f"node {node}: {line}: {outcome}"
        self._emit(extended(NodeAnswerEvent(), {**answer, "node": node, "command": line, "text": text}))
