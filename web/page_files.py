"""The live page: its files are read once, and served from memory, at one address each, without a key.

The page holds no data: what it shows, it asks for with the user's key. It may load scripts and styles from where it
came from only, and speak to the cluster's own processes only.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
from aiohttp import hdrs, web

from config.http_settings import HttpSettings
from web.guard import Handler

FOLDER = Path(__file__).parent / "page"
_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


class PageFile(msgspec.Struct, frozen=True):
    path: str
    """In addresses: `/` for the page itself."""
    content_type: str
    body: bytes
    packed: bytes
    """The same, for those who accept gzip."""
    etag: str


def page_files(folder: Path = FOLDER) -> list[PageFile]:
    """All files of the page. Raises OSError."""
    found = []
    for file in sorted(folder.rglob("*")):
        if file.suffix not in _TYPES or not file.is_file():
            continue
        name, body = file.relative_to(folder).as_posix(), file.read_bytes()
        path = "/" if name == "index.html" else f"/page/{name}"
        etag = f'"{hashlib.sha256(body).hexdigest()[:20]}"'
        found.append(PageFile(path, _TYPES[file.suffix], body, gzip.compress(body, mtime=0), etag))
    return found


class Page:
    """`nodes` gives the numbers of the cluster's nodes, to whose addresses the page may speak."""

    def __init__(self, http: HttpSettings, nodes: Callable[[], Iterable[int]]) -> None:
        self._http = http
        self._nodes = nodes
        self._files = page_files()

    def routes(self) -> Iterator[tuple[str, str, Handler, None]]:
        """(method, path, handler, needed role) for each file."""
        for file in self._files:
            handler = partial(self._serve, file)
            yield "GET", file.path, handler, None
            yield "HEAD", file.path, handler, None

    async def _serve(self, file: PageFile, request: web.Request) -> web.Response:
        headers = {
            "Content-Security-Policy": self._policy(request), "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer", "Cross-Origin-Opener-Policy": "same-origin", "Server": "ConsensusLLM",
            "Cache-Control": "no-cache", "ETag": file.etag, "Vary": "Accept-Encoding",
        }
        if file.etag in request.headers.get(hdrs.IF_NONE_MATCH, ""):
            return web.Response(status=304, headers=headers)
        body = file.body
        if "gzip" in request.headers.get(hdrs.ACCEPT_ENCODING, ""):
            body, headers[hdrs.CONTENT_ENCODING] = file.packed, "gzip"
        return web.Response(body=body, content_type=file.content_type, charset="utf-8", headers=headers)

    def _policy(self, request: web.Request) -> str:
        """The guard has checked the host: it is an address, or a name of this cluster."""
        host = urlsplit(f"//{request.headers[hdrs.HOST]}").hostname or ""
        if ":" in host:
            host = "*"  # policies know no IPv6 addresses
        ports = sorted({self._http.port_of(number) for number in (0, *self._nodes())})
        own = " ".join(f"{host}:{port}" for port in ports)
        return (
            f"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' {own}; img-src 'self' data:; "
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
            "require-trusted-types-for 'script'; trusted-types 'none'"
        )
