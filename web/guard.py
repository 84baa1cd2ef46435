"""What every request passes before its handler: its host and origin, whose key it has, and what errors look like.

The access log tells what was called, by which role, and the outcome; it holds no texts, ids or keys.
"""

from __future__ import annotations

import ipaddress
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TypeAlias
from urllib.parse import urlsplit

import msgspec
from aiohttp import hdrs, web
from aiohttp.typedefs import Middleware

from config.http_settings import HttpSettings
from web.errors import ApiError
from web.keys import Keyring, Role

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]

ROLE = web.RequestKey("role", Role)
"""What the request's key allows."""

_JSON = "application/json"
_CORS = {
    "Access-Control-Allow-Headers": "authorization, content-type, idempotency-key, last-event-id",
    "Access-Control-Allow-Methods": "GET, POST, DELETE", "Access-Control-Max-Age": "600",
}
_ALWAYS = {
    "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'", "Server": "ConsensusLLM",
}

_MOST_HOSTS = 64

_log = logging.getLogger(__name__)


class Guard:
    """`needed` tells which role a route's handler needs; None: no key at all. `nodes` gives the numbers of the nodes:
    their pages, and the orchestrator's, may call. `log` gets a line for each request."""

    def __init__(
        self, http: HttpSettings, keyring: Keyring, needed: Mapping[Handler, Role | None],
        nodes: Callable[[], Iterable[int]], log: Callable[[str], None],
    ) -> None:
        self._log = log
        self._own_hosts: set[str] = set()
        """Host headers that were found to be right: clients repeat them."""
        self._nodes = nodes
        self._http = http
        self._keyring = keyring
        self._needed = needed

    @property
    def middleware(self) -> Middleware:
        @web.middleware
        async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
            began = time.monotonic()
            status = 500
            try:
                response = await self._answer(request, handler)
                status = response.status
                return response
            finally:
                self._record(request, status, time.monotonic() - began)

        return guarded

    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            self._check_host(request)
            origin = self._check_origin(request)
        except ApiError as error:
            return error_response(error)
        try:
            response = await self._handle(request, handler)
        except ApiError as error:
            response = error_response(error)
        except web.HTTPException as error:
            response = error_response(ApiError(error.status, _words(error, request)))
        except Exception as error:  # noqa: BLE001 - a bug in one handler must not take the connection down
            _log.error("a request failed", exc_info=error)
            response = error_response(ApiError(500, f"internal error: {type(error).__name__}", retry=False))
        if origin is not None and not response.prepared:
            response.headers.update(_cross_origin(origin))
        return response

    async def _handle(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.method == hdrs.METH_OPTIONS and hdrs.ORIGIN in request.headers:
            return web.Response(status=204, headers=_CORS)
        needed = self._needed.get(request.match_info.handler, Role.READ)
        if needed is not None:
            request[ROLE] = self._authenticate(request)
            require(request, needed)
        return await handler(request)

    def _authenticate(self, request: web.Request) -> Role:
        scheme, _, key = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
        role = self._keyring.role_of(key.strip()) if scheme.lower() == "bearer" else None
        if role is None:
            what = "is wrong" if key else "is missing"
            raise ApiError(
                401, f"the API key {what}: send `Authorization: Bearer KEY`; `./run.sh key` prints it",
                code="invalid_api_key",
            )
        return role

    def _check_host(self, request: web.Request) -> None:
        """Against DNS rebinding: a page of another name must not reach the API by having its name point here."""
        host = request.headers.get(hdrs.HOST, "")
        if host in self._own_hosts:
            return
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            name = ""
        if not self._is_own(name):
            raise ApiError(
                403, 'the Host header names neither this machine nor an address; add the name to "names" in the "http" '
                "section of config.json", code="wrong_host",
            )
        if len(self._own_hosts) < _MOST_HOSTS:
            self._own_hosts.add(host)

    def _check_origin(self, request: web.Request) -> str | None:
        """Pages of this cluster alone may call it: those of the same host, at the port of one of its processes."""
        origin = request.headers.get(hdrs.ORIGIN)
        if origin is None:
            return None
        try:
            page, own = urlsplit(origin), urlsplit(f"//{request.headers[hdrs.HOST]}")
            port = page.port or (443 if page.scheme == "https" else 80)
            fine = page.hostname == own.hostname and (port == own.port or port in self._ports())
        except ValueError:
            fine = False
        if not fine:
            raise ApiError(403, "pages of another origin may not call this API", code="wrong_origin")
        return origin

    def _ports(self) -> set[int]:
        """Of this cluster's pages."""
        return {self._http.port_of(number) for number in (0, *self._nodes())}

    def _is_own(self, name: str) -> bool:
        if name in ("localhost", self._http.host, *self._http.names):
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def _record(self, request: web.Request, status: int, seconds: float) -> None:
        resource = request.match_info.route.resource
        called = "(nothing)" if resource is None else resource.canonical
        role = request[ROLE].name.lower() if ROLE in request else "-"
        self._log(f"{request.method} {called} {status} {role} {1000 * seconds:.1f} ms")


def require(request: web.Request, needed: Role) -> None:
    """Raises ApiError if the request's key allows less."""
    role = request[ROLE]
    if role < needed:
        raise ApiError(
            403, f"this key allows to {role.name.lower()}; this needs one that allows to {needed.name.lower()}",
            code="insufficient_permissions",
        )


def _cross_origin(origin: str) -> dict[str, str]:
    """Lets the browser hand the response to a page of this origin, which was checked."""
    return {"Access-Control-Allow-Origin": origin, "Vary": "Origin"}


def stream_headers(request: web.Request) -> dict[str, str]:
    """For a response that is sent while it is made."""
    origin = request.headers.get(hdrs.ORIGIN)
    return {**_ALWAYS, **({} if origin is None else _cross_origin(origin))}


def error_response(error: ApiError) -> web.Response:
    return json_response(error.body, error.status, error.headers)


def json_response(record: object, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    return encoded_response(msgspec.json.encode(record), status, headers)


def encoded_response(body: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """`body` is JSON."""
    return web.Response(body=body, status=status, content_type=_JSON, headers={**_ALWAYS, **(headers or {})})


def _words(error: web.HTTPException, request: web.Request) -> str:
    if error.status == 404:
        return "there is nothing at this address; docs/http.md lists what there is"
    if error.status == 405:
        return f"{request.method} is not possible here"
    if error.status == 413:
        return "the body is too large"
    return error.reason
