"""/api/COMMAND at the orchestrator: the commands of the operator's prompt, typed as in docs/api.md."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial
from typing import Any

import msgspec
from aiohttp import web

from api import operator_commands as commands
from api.base import Command, Failure, Result, encode, name_of
from api.errors import InvalidCommand
from api.operator_results import TextResult
from orchestrator.service import Orchestrator
from web.bodies import Bodies
from web.commands import patience
from web.errors import status_of
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
        """(method, path, handler, needed role) for each command."""
        for kind in self._orchestrator.command_kinds:
            if kind in WITHOUT:
                continue
            path = f"/api/{name_of(kind)}"
            yield "POST", path, partial(self._post, kind), role_for(kind)
            if kind in READING:
                yield "GET", path, partial(self._get, kind), Role.READ

    async def close(self) -> None:
        """What is still being carried out is called off."""
        for task in self._running:
            task.cancel()
        if self._running:
            await asyncio.wait(self._running)

    async def _post(self, kind: type[Command[Any]], request: web.Request) -> web.StreamResponse:
        fields: dict[str, Any] = await self._bodies.decode(request, dict[str, Any])
        return await self._run(request, kind, fields, strict=True)

    async def _get(self, kind: type[Command[Any]], request: web.Request) -> web.StreamResponse:
        fields = {key: value for key, value in request.query.items() if key != "wait"}
        return await self._run(request, kind, fields, strict=False)

    async def _run(
        self, request: web.Request, kind: type[Command[Any]], fields: dict[str, Any], *, strict: bool
    ) -> web.Response:
        name, seconds = name_of(kind), patience(request)
        try:
            command = msgspec.convert({**fields, "command": name}, kind, strict=strict)
            result = await self._result(command, seconds)
        except (msgspec.ValidationError, InvalidCommand) as wrong:
            result = Failure(error=f"{name}: {wrong}", kind="usage")
        if result is None:
            result = TextResult(text=f"{name} is still being carried out; /api/events tells what becomes of it")
            return encoded_response(encode(result), 202)
        return encoded_response(encode(result), status_of(result) if isinstance(result, Failure) else 200)

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
