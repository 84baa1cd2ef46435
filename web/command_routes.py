"""/api/COMMAND: how typed commands come in over HTTP, the same at a node and at the orchestrator."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator
from functools import partial
from typing import Any, TypeAlias

import msgspec
from aiohttp import web

from api.base import Command, Failure, Result, encode, name_of
from api.errors import InvalidCommand
from web.bodies import Bodies
from web.errors import ApiError, status_of
from web.guard import Handler, encoded_response
from web.keys import Role

PATIENCE_S = 30.0
"""How long a request waits for a decision; longer or shorter with `?wait=SECONDS`."""
MAX_PATIENCE_S = 600.0

Answer: TypeAlias = Callable[[web.Request, Command[Any]], Awaitable[web.Response]]
"""Carries out a command. May raise InvalidCommand, and ApiError."""


def command_routes(
    kinds: Iterable[type[Command[Any]]], reading: Collection[type[Command[Any]]],
    role_for: Callable[[type[Command[Any]]], Role], bodies: Bodies, answer: Answer,
) -> Iterator[tuple[str, str, Handler, Role]]:
    """(method, path, handler, needed role) for each kind of command. Those that change nothing (`reading`) may be got,
    too, with their fields as parameters."""
    for kind in kinds:
        path = f"/api/{name_of(kind)}"
        yield "POST", path, partial(_post, answer, bodies, kind), role_for(kind)
        if kind in reading:
            yield "GET", path, partial(_get, answer, kind), Role.READ


async def _post(
    answer: Answer, bodies: Bodies, kind: type[Command[Any]], request: web.Request
) -> web.StreamResponse:
    fields: dict[str, Any] = await bodies.decode(request, dict[str, Any])
    return await _run(answer, request, kind, fields, strict=True)


async def _get(answer: Answer, kind: type[Command[Any]], request: web.Request) -> web.StreamResponse:
    fields = {key: value for key, value in request.query.items() if key != "wait"}
    return await _run(answer, request, kind, fields, strict=False)


async def _run(
    answer: Answer, request: web.Request, kind: type[Command[Any]], fields: dict[str, Any], *, strict: bool
) -> web.Response:
    name = name_of(kind)
    try:
        return await answer(request, msgspec.convert({**fields, "command": name}, kind, strict=strict))
    except (msgspec.ValidationError, InvalidCommand) as wrong:
        return response_of(Failure(error=f"{name}: {wrong}", kind="usage"))


def response_of(result: Result, body: bytes | None = None) -> web.Response:
    """`body`: the result, if that is encoded already."""
    status = status_of(result) if isinstance(result, Failure) else 200
    return encoded_response(encode(result) if body is None else body, status)


def patience(request: web.Request) -> float:
    """Raises ApiError."""
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
