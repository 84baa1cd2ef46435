"""What a user would type at a node, from the operator's prompt: for scripts that show both sides."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from console import Result
from orchestrator.node_client import NodeClient, NodeUnreachable
from orchestrator.words import Action, CommandError, Nodes, whole

ANSWERS_S = 60.0
"""How long a command at a node may take."""
LATER_S = 600.0
"""The same for one that nothing waits for."""
MAX_LOAD = 1_000_000

IN_BACKGROUND = "&"
_EXAMPLE = "node 2: create c1"


class UserCommands:
    """`emit` gets `node_answer` for commands that nothing waits for."""

    def __init__(self, nodes: Nodes, client: NodeClient, emit: Callable[[dict[str, Any]], None]) -> None:
        self._nodes = nodes
        self._client = client
        self._emit = emit
        self._later: set[asyncio.Task[None]] = set()
        self.planners: dict[str, Callable[[list[str]], Action]] = {"node": self._node, "load": self._load}

    async def close(self) -> None:
        for task in self._later:
            task.cancel()
        if self._later:
            await asyncio.wait(list(self._later))

    def _node(self, args: list[str]) -> Action:
        number, colon, command = (part.strip() for part in args[0].partition(":"))
        background = command.endswith(f" {IN_BACKGROUND}")
        command = command.removesuffix(IN_BACKGROUND).strip() if background else command
        if not colon or not command:
            raise CommandError(f"a node, a colon and a command are expected, for example: {_EXAMPLE}")
        self._nodes.single(self._nodes.placeholder([number]), _EXAMPLE)

        async def act() -> Result:
            node = self._nodes.single(await self._nodes.substitute([number], _EXAMPLE), _EXAMPLE)
            if background:
                task = asyncio.ensure_future(self._ask_later(node, command))
                self._later.add(task)
                task.add_done_callback(self._later.discard)
                return {"node": node, "text": "told; its answer comes later"}
            result = await self._client.run(node, command, ANSWERS_S)
            if not result.get("ok"):
                raise CommandError(f"node {node}: {result.get('error')}")
            return {**result, "node": node}

        return act

    async def _ask_later(self, node: int, command: str) -> None:
        try:
            result = await self._client.run(node, command, LATER_S)
        except NodeUnreachable as error:
            result = {"ok": False, "error": str(error)}
        words = "done" if result.get("ok") else f"refused: {result.get('error')}"
        self._emit({"event": "node_answer", **result, "node": node, "command": command,
                    "text": f"node {node}: {command}: {words}"})

    def _load(self, args: list[str]) -> Action:
        count = whole(args[0], 1, "how many operations", "load 2000")
        if count > MAX_LOAD:
            raise CommandError(f"'{args[0]}' is too many: at most {MAX_LOAD} at once, for example: load 2000")
        if args[1:]:
            self._nodes.single(self._nodes.placeholder(args[1:]), "load 2000 3")

        async def act() -> Result:
            whom = await self._nodes.substitute(args[1:] or ["leader"], "load 2000 3")
            node = self._nodes.single(whom, "load 2000 3")
            seconds = await self._client.load(node, count, ANSWERS_S + count / 100)
            rate = count / max(seconds, 0.001)
            text = f"{count} operations decided in {seconds:.1f} s, {rate:.0f} a second"
            return {"node": node, "operations": count, "seconds": round(seconds, 2), "text": text}

        return act
