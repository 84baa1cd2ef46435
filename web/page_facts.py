"""GET /api/page: what the live page has to know at first: whose it is, what its key allows, and where the nodes are."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec
from aiohttp import hdrs, web
from msgspec import UNSET, UnsetType

from config.http_settings import HttpSettings
from web.guard import ROLE, json_response
from web.keys import Role, derived


class PageFacts(msgspec.Struct, frozen=True):
    cluster: str
    node: int
    """Whose address this is; 0 for the network orchestrator's."""
    role: str
    """What the key allows: `read`, `write` or `operate`."""
    ports: dict[str, int]
    """By the number of the node, 0 for the orchestrator: all are on the same host."""
    read_key: str | UnsetType = UNSET
    """One to share, which allows to watch only; for those whose key allows everything."""


class FactsForPage:
    """Of node `number`, or of the orchestrator, if 0."""

    def __init__(self, http: HttpSettings, cluster: str, number: int, nodes: Callable[[], Iterable[int]]) -> None:
        self._http = http
        self._cluster = cluster
        self._number = number
        self._nodes = nodes

    async def get(self, request: web.Request) -> web.Response:
        role = request[ROLE]
        _, _, key = request.headers[hdrs.AUTHORIZATION].partition(" ")
        return json_response(PageFacts(
            self._cluster, self._number, role.name.lower(),
            {str(number): self._http.port_of(number) for number in sorted({0, *self._nodes()})},
            derived(key.strip(), Role.READ) if role is Role.OPERATE else UNSET,
        ))
