"""A cluster whose every connection is encrypted, and keeps running while its certificates change."""

from __future__ import annotations

import os
import shutil
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.cluster.harness import ROOT, Cluster, until
from tests.free_ports import free_ports

NODES = (1, 2, 3)


def cert(cluster: Cluster, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "launcher", "cert", *words], cwd=ROOT, text=True, capture_output=True,
        env={**os.environ, "CONFIG": str(cluster.config)},
    )


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path, len(NODES), http={"port": free_ports(len(NODES) + 1)}, tls={})
    assert cert(made).returncode == 0
    with made:
        yield made


def test_a_cluster_runs_on_certificates_and_takes_new_ones_without_a_restart(cluster: Cluster) -> None:
    files = cluster.folder / "tls"
    assert {file.stat().st_mode & 0o777 for file in files.iterdir()} == {0o600}
    cluster.leader()
    cluster.nodes[1].ok("create before")
    _served(cluster, files / "ca.crt")

    older = cluster.folder / "older"
    files.rename(older)
    assert cert(cluster).returncode == 0
    cluster.nodes[1].ok("create meanwhile")  # what is connected stays so
    cluster.network.kill()
    cluster.start_network()
    until(lambda: len(cluster.network.ok("status")["nodes"]) == len(NODES))
    cluster.leader()
    for node in NODES:
        cluster.nodes[node].ok(f"create after-{node}")
    held = {one["context"] for one in cluster.nodes[3].ok("viewall")["conversations"]}
    assert held == {"before", "meanwhile", "after-1", "after-2", "after-3"}
    _served(cluster, files / "ca.crt")
    with pytest.raises(httpx.ConnectError):
        _ready(cluster, 1, older / "ca.crt")

    for kind in (".crt", ".key"):
        shutil.copy(files / f"node-2{kind}", files / f"node-3{kind}")
    cluster.nodes[3].kill()
    cluster.start([3])
    assert cluster.nodes[3].popen.wait(30) == 1
    assert "has the name consensusllm:test/node-2" in cluster.nodes[3].log.read_text()
    assert cert(cluster, "node", "3").returncode == 0
    cluster.start([3])
    cluster.nodes[3].ok("create at-last")


def test_what_it_cannot_make_it_says(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, 1)
    for words, said in (
        (["for", "whom"], "cert network HOST"), (["node", "x"], "cert node 3 HOST"),
        (["client", "a/b"], "cert client NAME"), (["node", "1"], "./run.sh cert ca"),
    ):
        refused = cert(cluster, *words)
        assert refused.returncode in (1, 2) and said in refused.stderr, refused
    assert "put \"tls\": {}" in cert(cluster).stdout
    assert "move it away first" in cert(cluster, "ca").stderr
    assert cert(cluster, "client", "alice").returncode == 0 and (tmp_path / "tls" / "client-alice.key").exists()


def _served(cluster: Cluster, authority: Path) -> None:
    for node in NODES:
        until(lambda node=node: _ready(cluster, node, authority))  # type: ignore[misc]


def _ready(cluster: Cluster, node: int, authority: Path) -> bool:
    context = ssl.create_default_context(cafile=str(authority))
    port = cluster.settings["http"]["port"] + node
    try:
        return httpx.get(f"https://127.0.0.1:{port}/readyz", verify=context, timeout=5).status_code == 200
    except httpx.TimeoutException:
        return False
    except httpx.ConnectError as error:
        if "CERTIFICATE" in str(error):
            raise
        return False  # it does not listen yet
