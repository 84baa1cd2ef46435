"""/api/COMMAND at the orchestrator: the commands of the operator's prompt, typed as in docs/api.md."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

from aiohttp import web

from api import operator_commands as commands
from api.base import Command, Result, encode, name_of
from api.operator_results import TextResult
from orchestrator.service import Orchestrator
from web.bodies import Bodies
from web.command_routes import command_routes, patience, response_of
from web.guard import Handler, encoded_response
from web.keys import Role

READING = (
    commands.NetworkStatusCommand, commands.HistoryCommand, commands.HeldCommand, commands.WaitCommand,
)
"""Commands that change nothing: a key to read is enough."""
WITHOUT = (commands.WatchCommand, commands.SayCommand, commands.SleepCommand)
"""What they do, they do for a prompt or a script; /api/events is for those who watch."""


class OperatorCommands:
    def __init__(self, orchestrator: Orchestrator, bodies: Bodies) -> None:
        self._orchestrator = orchestrator
        self._bodies = bodies
        self._running: set[asyncio.Task[Result]] = set()

    def routes(self) -> Iterator[tuple[str, str, Handler, Role]]:
        kinds = [kind for kind in self._orchestrator.command_kinds if kind not in WITHOUT]
        return command_routes(kinds, READING, role_for, self._bodies, self._answer)

    async def close(self) -> None:
        """What is still being carried out is called off."""
        for task in self._running:
            task.cancel()
        if self._running:
            await asyncio.wait(self._running)

    async def _answer(self, request: web.Request, command: Command[Any]) -> web.Response:
        result = await self._result(command, patience(request))
        if result is not None:
            return response_of(result)
        text = f"{name_of(type(command))} is still being carried out; /api/events tells what becomes of it"
        return encoded_response(encode(TextResult(text=text)), 202)

    async def _result(self, command: Command[Any], within_s: float) -> Result | None:
        """None if there is none in time: the command goes on all the same. Raises InvalidCommand."""
        task: asyncio.Task[Result] = asyncio.ensure_future(self._orchestrator.execute(command))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        await asyncio.wait([task], timeout=within_s)
        return task.result() if task.done() else None


def role_for(kind: type[Command[Any]]) -> Role:
    """What is needed to give such a command."""
    return Role.READ if kind in READING else Role.OPERATE
