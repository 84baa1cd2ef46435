"""GET /healthz: the process runs. GET /readyz: it can serve; that is, it is level and reaches a majority."""

from __future__ import annotations

from aiohttp import web

from web.guard import json_response
from web.hub import Hub


class Health:
    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    async def alive(self, request: web.Request) -> web.Response:
        return json_response({"ok": True, "node": self._hub.number})

    async def ready(self, request: web.Request) -> web.Response:
        reason = self._hub.farewell if self._hub.leaving.is_set() else await self._hub.session.not_ready()
        body = {"ok": reason is None, "node": self._hub.number}
        return json_response(body if reason is None else {**body, "reason": reason}, 200 if reason is None else 503)
