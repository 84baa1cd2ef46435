"""/api/COMMAND: the commands of a node's prompt, typed as in docs/api.md, answered as with `--json`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial
from typing import Any

import msgspec
from aiohttp import web

from api.base import Command, Failure, Result, encode, encode_gently, name_of
from api.errors import InvalidCommand
from api.node_commands import (
    BackupCommand,
    ExportCommand,
    ImportCommand,
    LastCommand,
    LogCommand,
    MembersCommand,
    QuotasCommand,
    StatusCommand,
    ViewallCommand,
    ViewCommand,
)
from server.commands import COMMANDS, carry_out
from web.bodies import Bodies
from web.errors import ApiError, status_of
from web.guard import Handler, encoded_response, require
from web.hub import Hub
from web.keys import Role

PATIENCE_S = 30.0
"""How long a request waits for a decision; longer or shorter with `?wait=SECONDS`."""
MAX_PATIENCE_S = 600.0
_LARGE = (ViewCommand, ViewallCommand, LastCommand, LogCommand)

READING = (ViewCommand, LastCommand, ViewallCommand, LogCommand, StatusCommand, MembersCommand, QuotasCommand)
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
        """(method, path, handler, needed role) for each command."""
        for kind in COMMANDS:
            path = f"/api/{name_of(kind)}"
            yield "POST", path, partial(self._post, kind), role_for(kind)
            if kind in READING:
                yield "GET", path, partial(self._get, kind), Role.READ

    async def _post(self, kind: type[Command[Any]], request: web.Request) -> web.StreamResponse:
        fields: dict[str, Any] = await self._bodies.decode(request, dict[str, Any])
        return await self._run(request, kind, fields, strict=True)

    async def _get(self, kind: type[Command[Any]], request: web.Request) -> web.StreamResponse:
        fields = {key: value for key, value in request.query.items() if key != "wait"}
        return await self._run(request, kind, fields, strict=False)

    async def _run(
        self, request: web.Request, kind: type[Command[Any]], fields: dict[str, Any], *, strict: bool
    ) -> web.Response:
        name = name_of(kind)
        try:
            command = msgspec.convert({**fields, "command": name}, kind, strict=strict)
            _authorize(request, command)
            result = await self._result(command, patience(request))
        except (msgspec.ValidationError, InvalidCommand) as wrong:
            result = Failure(error=f"{name}: {wrong}", kind="usage")
        body = await asyncio.to_thread(encode_gently, result) if kind in _LARGE else encode(result)
        return encoded_response(body, status_of(result) if isinstance(result, Failure) else 200)

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


def patience(request: web.Request) -> float:
    given = request.query.get("wait")
    if given is None:
        return PATIENCE_S
    try:
        seconds = float(given)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= MAX_PATIENCE_S:
        raise ApiError(400, f"wait is from 0 to {MAX_PATIENCE_S:g} seconds", param="wait")
    return seconds
