"""Several hosts on one machine: network namespaces, joined by a bridge. Linux only, and only for root."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.cluster.harness import ROOT, Cluster, Process

NETWORK = 6
"""The number of the orchestrator's host; node N is on host N."""
PORT = 7400


def missing() -> str | None:
    """Why this machine has no such hosts, in words; None if it has: one is made to find out."""
    if shutil.which("ip") is None or shutil.which("tc") is None:
        return "the programs ip and tc (Debian: iproute2) are not installed"
    try:
        with Hosts(1) as hosts:
            hosts.limit(1, 1000)
    except (AssertionError, subprocess.CalledProcessError) as error:
        return f"this system or user cannot make hosts: {error}"
    return None


class Hosts:
    """`count` hosts, 10.77.0.1 and so on."""

    def __init__(self, count: int) -> None:
        self._prefix = f"c{os.getpid()}"
        self._bridge = f"{self._prefix}-b"
        self._numbers = range(1, count + 1)

    def __enter__(self) -> Hosts:
        try:
            self._make()
        except AssertionError:
            self.__exit__()
            raise
        return self

    def _make(self) -> None:
        _ip("netns", "add", self._bridge)
        self._in(self._bridge, "link", "add", "bridge", "type", "bridge")
        self._in(self._bridge, "link", "set", "bridge", "up")
        for number in self._numbers:
            host = self.name(number)
            _ip("netns", "add", host)
            port = f"port{number}"
            self._in(host, "link", "add", "eth0", "type", "veth", "peer", "name", port, "netns", self._bridge)
            self._in(self._bridge, "link", "set", port, "master", "bridge", "up")
            self._in(host, "address", "add", f"{address(number)}/24", "dev", "eth0")
            self._in(host, "link", "set", "lo", "up")
            self._in(host, "link", "set", "eth0", "up")

    def __exit__(self, *_: object) -> None:
        for name in (*map(self.name, self._numbers), self._bridge):
            _ip("netns", "del", name, check=False)

    def name(self, number: int) -> str:
        return f"{self._prefix}-{number}"

    def runs(self, number: int) -> list[str]:
        """What to put before a command that runs on that host."""
        return ["ip", "netns", "exec", self.name(number)]

    def cut(self, number: int) -> None:
        """Pulls the host's cable: nothing is closed, and nobody is told."""
        self._in(self._bridge, "link", "set", f"port{number}", "down")

    def mend(self, number: int) -> None:
        self._in(self._bridge, "link", "set", f"port{number}", "up")

    def limit(self, number: int, kilobits: int) -> None:
        """What the host may receive in a second."""
        limit = f"tc qdisc replace dev port{number} root tbf rate {kilobits}kbit burst 16kb latency 400ms"
        subprocess.run(["ip", "netns", "exec", self._bridge, *limit.split()], check=True, capture_output=True)

    def _in(self, host: str, *words: str) -> None:
        _ip("-n", host, *words)


class SpreadCluster(Cluster):
    """One node a host, each with its own configuration, certificates and disk; the orchestrator on one more."""

    def __init__(self, folder: Path, hosts: Hosts, size: int = 5) -> None:
        super().__init__(
            folder, size, secret="v3-Gq8ZrW1-uLx5KpT0n", tls={}, orchestrator={"host": address(NETWORK), "port": PORT},
        )
        self._hosts = hosts
        subprocess.run(
            [sys.executable, "-m", "launcher", "cert"], cwd=ROOT, check=True, capture_output=True,
            env={**os.environ, "CONFIG": str(self.config)},
        )

    def _process(self, arguments: list[str], name: str) -> Process:
        number = int(arguments[1]) if len(arguments) > 1 else NETWORK
        home = self.folder / f"host-{number}"
        if not home.exists():
            self._move_in(home, "network" if number == NETWORK else f"node-{number}")
        process = Process(
            [*arguments, "--config", str(home / "config.json"), "--json"], self.folder / f"{name}.err",
            self._hosts.runs(number),
        )
        self.started.append(process)
        return process

    def _move_in(self, home: Path, certificate: str) -> None:
        """A machine gets its own files and no other's."""
        (home / "tls").mkdir(parents=True)
        (home / "config.json").write_text(json.dumps(self.settings))
        for file in ("ca.crt", f"{certificate}.crt", f"{certificate}.key"):
            shutil.copy(self.folder / "tls" / file, home / "tls")


def address(number: int) -> str:
    return f"10.77.0.{number}"


def _ip(*words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    made = subprocess.run(["ip", *words], capture_output=True, text=True)
    assert not check or made.returncode == 0, f"ip {' '.join(words)}: {made.stderr}"
    return made
