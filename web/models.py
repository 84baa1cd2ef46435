"""The models of a cluster: who answers, and who chooses. GET /v1/models."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Literal

import msgspec
from aiohttp import web

from web.errors import ApiError
from web.guard import json_response
from web.hub import Hub

CONSENSUS, ASK, NODE = "consensus", "ask", "node-"


class Model(msgspec.Struct, frozen=True):
    name: str
    kind: Literal["query", "ask"]
    """Who is asked: every node, or the leader alone."""
    node: int | None = None
    """Whose answer is chosen; None: that which the nodes, or the leader, give."""


def model_of(name: str, members: Collection[int]) -> Model:
    """Raises ApiError."""
    if name == CONSENSUS:
        return Model(name, "query")
    if name == ASK:
        return Model(name, "ask")
    digits = name.removeprefix(NODE)
    if name.startswith(NODE) and digits.isascii() and digits.isdigit() and len(digits) < 6 and int(digits) in members:
        return Model(name, "query", int(digits))
    known = ", ".join((CONSENSUS, ASK, *(f"{NODE}{member}" for member in sorted(members))))
    raise ApiError(
        404, f"there is no model '{name[:64]}': the models are {known}", param="model", code="model_not_found"
    )


class Models:
    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    async def list(self, request: web.Request) -> web.Response:
        names = [CONSENSUS, ASK, *(f"{NODE}{member}" for member in sorted(self._hub.session.members))]
        return json_response({"object": "list", "data": [_record(name) for name in names]})

    async def get(self, request: web.Request) -> web.Response:
        return json_response(_record(model_of(request.match_info["model"], self._hub.session.members).name))


def _record(name: str) -> Mapping[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "consensusllm"}
