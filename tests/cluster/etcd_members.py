"""Members of a real etcd cluster, each in its own process and folder, on free ports."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import signal
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.harness import until
from tests.free_ports import free_port

START_S = 30.0

needs_etcd = pytest.mark.skipif(
    shutil.which("etcd") is None, reason="etcd is not installed (Debian: apt install etcd-server)"
)


class EtcdMembers:
    """`size` members; `options` are for all of them. With `tls`, a folder with certificates of an authority `ca`,
    of `member` and of `client`, clients are served by TLS."""

    def __init__(self, folder: Path, size: int = 3, options: Sequence[str] = (), tls: Path | None = None) -> None:
        self.folder = folder
        self.numbers = list(range(1, size + 1))
        self.options = list(options)
        self.token = ""
        """Of a login."""
        self._tls: ssl.SSLContext | None = None
        if tls is not None:
            self._tls = ssl.create_default_context(cafile=str(tls / "ca.crt"))
            self._tls.load_cert_chain(tls / "client.crt", tls / "client.key")
            self.options += ["--cert-file", str(tls / "member.crt"), "--key-file", str(tls / "member.key")]
        self._client = {number: free_port() for number in self.numbers}
        self._peer = {number: free_port() for number in self.numbers}
        self._running: dict[int, subprocess.Popen[bytes]] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> EtcdMembers:
        for number in self.numbers:
            self.start(number, "new")
        self.ready()
        return self

    def __exit__(self, *_: object) -> None:
        for number in list(self._running):
            self.kill(number)

    @property
    def endpoints(self) -> list[str]:
        return [self.endpoint(number) for number in self.numbers]

    def endpoint(self, number: int) -> str:
        return f"{'http' if self._tls is None else 'https'}://127.0.0.1:{self._client[number]}"

    def start(self, number: int, state: str = "existing") -> None:
        peers = {each: f"http://127.0.0.1:{port}" for each, port in self._peer.items()}
        client = self.endpoint(number)
        with (self.folder / f"{number}.log").open("ab") as log:
            self._running[number] = subprocess.Popen(
                ["etcd", "--name", f"m{number}", "--data-dir", str(self.folder / f"m{number}"),
                 "--listen-client-urls", client, "--advertise-client-urls", client,
                 "--listen-peer-urls", peers[number], "--initial-advertise-peer-urls", peers[number],
                 "--initial-cluster", ",".join(f"m{each}={url}" for each, url in peers.items()),
                 "--initial-cluster-state", state, "--heartbeat-interval", "50", "--election-timeout", "500",
                 *self.options],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL,
            )

    def ready(self) -> None:
        """Waits until every member that runs knows a leader."""
        until(lambda: all(self.status(number).get("leader") for number in self._running), START_S)

    def status(self, number: int) -> dict[str, Any]:
        """Empty if it does not answer."""
        with contextlib.suppress(OSError):
            return self.ask(number, "/v3/maintenance/status", {}, within=5)
        return {}

    def leader(self) -> int:
        """The member that leads, once one does."""
        def found() -> int | None:
            statuses = {number: self.status(number) for number in self._running}
            return next((number for number, status in statuses.items()
                         if status.get("leader") and status["leader"] == status["header"]["member_id"]), None)

        number: int = until(found, START_S)
        return number

    def ask(self, number: int, path: str, request: dict[str, Any], within: float = START_S) -> dict[str, Any]:
        """Raises OSError."""
        headers = {"Authorization": self.token} if self.token else {}
        asked = urllib.request.Request(self.endpoint(number) + path, json.dumps(request).encode(), headers)
        try:
            with urllib.request.urlopen(asked, timeout=within, context=self._tls) as answer:
                found: dict[str, Any] = json.loads(answer.read())
                return found
        except urllib.error.HTTPError as error:
            raise OSError(error.read().decode()) from error

    def revision(self, number: int = 1) -> int:
        return int(self.ask(number, "/v3/kv/range", {"key": "eA=="})["header"]["revision"])

    def compact(self, number: int = 1) -> None:
        """All history."""
        def done() -> bool:
            try:
                self.ask(number, "/v3/kv/compaction", {"revision": str(self.revision(number))})
            except OSError as error:
                return "has been compacted" in str(error)  # else the members may be electing a leader
            return True

        until(done, START_S)

    def kill(self, number: int) -> None:
        """As by `kill -9`."""
        process = self._running.pop(number)
        process.kill()
        process.wait()

    def signal(self, number: int, sign: signal.Signals) -> None:
        """After SIGSTOP it is stopped: on a busy machine that takes effect only when a thread of it is next run."""
        self._running[number].send_signal(sign)
        if sign == signal.SIGSTOP:
            os.waitid(os.P_PID, self._running[number].pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def lose_disk(self, number: int) -> None:
        """Of one that is down."""
        shutil.rmtree(self.folder / f"m{number}")

    def replace(self, number: int) -> None:
        """A member that is down, and has lost its disk, becomes another one at the same place."""
        until(lambda: self._replaced(number), START_S, 0.2)
        self.start(number)

    def _replaced(self, number: int) -> bool:
        """Takes the next step; whether all is done."""
        other, peer = next(iter(self._running)), f"http://127.0.0.1:{self._peer[number]}"
        with contextlib.suppress(OSError):  # the members may be busy with each other, and refuse for a while
            listed = self.ask(other, "/v3/cluster/member/list", {})["members"]
            there = next((member for member in listed if member["peerURLs"] == [peer]), None)
            if there is None:
                self.ask(other, "/v3/cluster/member/add", {"peerURLs": [peer]})
            elif there.get("name"):
                self.ask(other, "/v3/cluster/member/remove", {"ID": there["ID"]})
            else:
                return True  # one that was added has no name until it has started
        return False


def login(etcd: EtcdMembers, name: str, password: str) -> None:
    etcd.token = ""
    etcd.token = etcd.ask(1, "/v3/auth/authenticate", {"name": name, "password": password})["token"]


def logged_in(etcd: EtcdMembers, name: str, password: str) -> bool:
    """False as long as the member has no leader. (Newer releases tell nobody else how they are.)"""
    with contextlib.suppress(OSError):
        login(etcd, name, password)
        return True
    return False


def allow(etcd: EtcdMembers, user: str, password: str, prefix: str) -> None:
    """Nobody else may do anything then, but root."""
    def coded(text: str) -> str:
        return base64.b64encode(text.encode()).decode()

    for path, request in (
        ("role/add", {"name": "root"}), ("user/add", {"name": "root", "password": "root"}),
        ("user/grant", {"user": "root", "role": "root"}),
        ("user/add", {"name": user, "password": password}), ("role/add", {"name": "writer"}),
        ("role/grant", {"name": "writer", "perm": {
            "permType": "READWRITE", "key": coded(prefix), "range_end": coded(prefix[:-1] + "0")}}),
        ("user/grant", {"user": user, "role": "writer"}), ("enable", {}),
    ):
        etcd.ask(1, f"/v3/auth/{path}", request)
