"""What tests in a browser share: a cluster with its page, and pages that may report no error."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request

from tests.cluster.harness import CALM, Cluster, until
from tests.free_ports import free_ports
from web.keys import Role, derived

PATIENCE_MS = 20_000


class Site:
    """A cluster of real processes, and the addresses of its pages."""

    def __init__(self, cluster: Cluster, port: int) -> None:
        self.cluster = cluster
        self.port = port
        until((cluster.folder / "data" / "http.key").exists)
        self.key = (cluster.folder / "data" / "http.key").read_text().strip()
        self.read_key = derived(self.key, Role.READ)

    def address(self, view: str = "", key: str | None = None, node: int = 0) -> str:
        """Without a view it is what `./run.sh` prints."""
        return f"http://127.0.0.1:{self.port + node}/#key={key or self.key}" + (f"&view={view}" if view else "")

    def call(self, path: str, body: Any = None, node: int = 0, key: str | None = None) -> httpx.Response:
        headers = {"Authorization": f"Bearer {key or self.key}"}
        method = "GET" if body is None else "POST"
        url = f"http://127.0.0.1:{self.port + node}{path}"
        return httpx.request(method, url, json=body, headers=headers, timeout=60)

    def is_up(self, node: int) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self.port + node}/healthz", timeout=5).status_code == 200
        except httpx.HTTPError:
            return False


@contextlib.contextmanager
def site(folder: Path, size: int = 5, llm: dict[str, Any] | None = None) -> Iterator[Site]:
    """Has a leader, and everything answers HTTP."""
    port = free_ports(size + 1)
    with Cluster(folder, size, llm, http={"port": port}, timing=CALM) as cluster:
        cluster.leader()
        served = Site(cluster, port)
        for number in range(size + 1):
            until(partial(served.is_up, number))
        yield served


class Surf:
    """Pages of one browser. Whatever one of them logs as an error, or asks of another host, is noted."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._contexts: list[BrowserContext] = []
        self.errors: list[str] = []
        self.elsewhere: list[str] = []
        self.allowed: tuple[str, ...] = ()
        """Errors with one of these words are expected: that a process which was killed does not answer."""

    def page(self, address: str = "", width: int = 1600, height: int = 900, **options: Any) -> Page:
        context = self._browser.new_context(viewport={"width": width, "height": height}, **options)
        self._contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", self._on_request)
        if address:
            page.goto(address)
        return page

    def close(self) -> None:
        for context in self._contexts:
            context.close()
        problems = [error for error in self.errors if not any(word in error for word in self.allowed)]
        assert not problems and not self.elsewhere, (problems, self.elsewhere)

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.errors.append(f"{message.text} {message.location.get('url', '')}")

    def _on_request(self, request: Request) -> None:
        if not request.url.startswith(("http://127.0.0.1:", "data:")):
            self.elsewhere.append(request.url)
