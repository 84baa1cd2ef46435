"""A backup of a running cluster becomes another cluster, with everything that was in the first."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.harness import ROOT, Cluster, until

ALL_CANDIDATES = 5


def run_sh(command: str, cluster: Cluster, *arguments: str) -> subprocess.CompletedProcess[str]:
    """What ./run.sh does once everything is installed."""
    return subprocess.run(
        [sys.executable, "-m", "launcher", command, *arguments], cwd=ROOT, capture_output=True, text=True,
        env={**os.environ, "CONFIG": str(cluster.config)}, timeout=60, check=False,
    )


def converse(cluster: Cluster) -> None:
    """A choice, a poll, an open question, a failure to choose, and an import."""
    one, other = cluster.nodes[1], cluster.nodes[2]
    for context in ("chosen", "polled", "open", "empty"):
        one.ok(f"create {context}")
    for context in ("chosen", "polled", "open"):
        one.ok(f"query {context} What is {context}?")
    until(lambda: all(len(turns(cluster, 2, context)[0]["candidates"]) == ALL_CANDIDATES for context in (
        "chosen", "polled", "open"
    )))
    other.ok("choose chosen 3")
    other.ok("choose polled auto")
    until(lambda: turns(cluster, 2, "polled")[0]["chosen"])
    one.ok("query chosen And then?")
    one.ok("cancel chosen")


def turns(cluster: Cluster, pid: int, context: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = cluster.nodes[pid].read(f"view {context}")["turns"]
    return found


def everything(cluster: Cluster, pid: int) -> dict[str, Any]:
    shown = cluster.nodes[pid].ok("viewall")
    return {"conversations": shown["conversations"], "changed": shown["changed"]}


@pytest.mark.parametrize("size", [5, 3])
def test_backup_and_restore(tmp_path: Path, size: int) -> None:
    file = tmp_path / "a backup"
    with Cluster(tmp_path / "first") as first:
        first.leader()
        converse(first)
        digest = first.converged()["digest"]
        done = run_sh("backup", first, str(file))
        assert (done.returncode, done.stderr) == (0, ""), done
        assert f"4 conversations of cluster test written to {file}." in done.stdout
        assert file.stat().st_mode & 0o777 == 0o600
        before = everything(first, 1)
        again = run_sh("backup", first, str(file))
        assert again.returncode == 1 and "--force overwrites it" in again.stderr
        assert run_sh("backup", first, str(file), "--force").returncode == 0
        assert [found.name for found in tmp_path.iterdir() if found.is_file()] == [file.name]

    second = Cluster(tmp_path / "second", size, cluster="other")
    done = run_sh("restore", second, str(file))
    assert done.returncode == 0 and "./run.sh starts them" in done.stdout, done
    with second:
        leader = second.leader()
        assert second.converged()["digest"] == digest
        assert second.owner()["cluster_id"] == second.nodes[leader].ok("members")["cluster"]
        for pid in second.pids:
            assert everything(second, pid) == before
        assert {status["standing"] for status in second.statuses().values()} == {"voter"}
        second.nodes[leader].ok("choose open 2")
        follower = next(pid for pid in second.pids if pid != leader)
        second.nodes[follower].ok("create more")
        second.network.ok(f"failNode {leader}")
        second.nodes[follower].ok("create even-more")
        refused = run_sh("restore", second, str(file))
        assert refused.returncode == 1 and "there are conversations already" in refused.stderr


def test_a_restored_cluster_and_its_origin_refuse_each_other(tmp_path: Path) -> None:
    """They have the same name, the same nodes, and all of each other's conversations."""
    file = tmp_path / "backup"
    with Cluster(tmp_path / "first", 3) as first:
        first.leader()
        first.nodes[1].ok("create c1")
        assert run_sh("backup", first, str(file)).returncode == 0
        second = Cluster(tmp_path / "second", 3, orchestrator=first.settings["orchestrator"])
        assert run_sh("restore", second, str(file)).returncode == 0
        origin = first.nodes[1].ok("members")["cluster"]
        first.nodes[3].kill()
        second.start([3])
        guest = second.nodes[3]
        try:
            refused = guest.wait(lambda event: event["event"] == "refused")
            assert f"this is cluster test {origin}, node 3 belongs to cluster test " in refused["reason"]
            first.nodes[2].ok("create c2", within=60)
            assert guest.ok("members")["cluster"] != origin
            assert [each["context"] for each in guest.ok("viewall")["conversations"]] == ["c1"]
        finally:
            guest.close()


def test_nobody_runs(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path / "cluster")
    done = run_sh("backup", cluster, str(tmp_path / "backup"))
    assert done.returncode == 1 and "no node of cluster 'test' runs here" in done.stderr
    assert run_sh("backup", cluster).returncode == 2


def test_without_a_majority(cluster: Cluster, tmp_path: Path) -> None:
    """What is there can be saved; it says that there may be more."""
    cluster.nodes[1].ok("create c1")
    cluster.converged()
    for pid in (3, 4, 5):
        cluster.nodes[pid].kill()
    done = run_sh("backup", cluster, str(tmp_path / "backup"))
    assert done.returncode == 0 and "1 conversation of cluster test written" in done.stdout
    assert "warning: no majority was reachable" in done.stdout
