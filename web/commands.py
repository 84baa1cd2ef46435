"""/api/COMMAND: the commands of a node's prompt, typed as in docs/api.md, answered as with `--json`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

from aiohttp import web

from api.base import Command, Result, encode_gently
from api.node_commands import (
    BackupCommand,
    ExportCommand,
    ImportCommand,
    LastCommand,
    LogCommand,
    MembersCommand,
    QuotasCommand,
    SearchCommand,
    StatusCommand,
    ViewallCommand,
    ViewCommand,
)
from server.commands import COMMANDS, carry_out
from web.bodies import Bodies
from web.command_routes import command_routes, patience, response_of
from web.errors import ApiError
from web.guard import Handler, require
from web.hub import Hub
from web.keys import Role

_LARGE = (ViewCommand, ViewallCommand, LastCommand, LogCommand)

READING = (
    ViewCommand, LastCommand, ViewallCommand, SearchCommand, LogCommand, StatusCommand, MembersCommand, QuotasCommand,
)
"""Commands that change nothing, as far as a key to read allows: GET, too, with their fields as parameters."""
ON_FILES = (ExportCommand, ImportCommand, BackupCommand)
"""They read and write files of the node's machine, as the node's user."""


def role_for(kind: type[Command[Any]]) -> Role:
    """What is needed to give such a command."""
    if kind in ON_FILES:
        return Role.OPERATE
    return Role.READ if kind in READING else Role.WRITE


class Commands:
    def __init__(self, hub: Hub, bodies: Bodies) -> None:
        self._hub = hub
        self._bodies = bodies

    def routes(self) -> Iterator[tuple[str, str, Handler, Role]]:
        return command_routes(COMMANDS, READING, role_for, self._bodies, self._answer)

    async def _answer(self, request: web.Request, command: Command[Any]) -> web.Response:
        _authorize(request, command)
        result = await self._result(command, patience(request))
        large = isinstance(command, _LARGE)
        return response_of(result, await asyncio.to_thread(encode_gently, result) if large else None)

    async def _result(self, command: Command[Any], patience_s: float) -> Result:
        """Raises InvalidCommand; ApiError if there is no answer in time."""
        try:
            return await self._hub.result(carry_out(self._hub.session, command), patience_s)
        except TimeoutError:
            reason = self._hub.session.waiting_for()
            raise ApiError(
                504, f"no answer within {patience_s:g} s ({reason}); a change may still take effect",
                code="not_decided_yet",
            ) from None


def _authorize(request: web.Request, command: Command[Any]) -> None:
    """What a route asks for is enough, but for a change of the members or of a quota."""
    changes = isinstance(command, MembersCommand) and command.change is not None
    if changes or (isinstance(command, QuotasCommand) and command.quota is not None):
        require(request, Role.OPERATE)
