"""Real nodes on a real etcd of three members: the same commands, results and guarantees as with the embedded engine."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from launcher.certificates import make_authority, make_certificate
from tests.cluster.etcd_members import EtcdMembers, allow, logged_in, needs_etcd
from tests.cluster.harness import ROOT, Cluster, until

pytestmark = needs_etcd


def on(etcd: EtcdMembers, prefix: str = "test", **more: Any) -> dict[str, Any]:
    """The `engine` section."""
    return {"type": "etcd", "endpoints": etcd.endpoints, "prefix": prefix, **more}


@pytest.fixture(scope="module")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdMembers]:
    with EtcdMembers(tmp_path_factory.mktemp("etcd")) as members:
        yield members


@pytest.fixture(scope="module")
def cluster(etcd: EtcdMembers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("nodes"), 3, engine=on(etcd)) as running:
        running.leader()
        yield running


def run_sh(command: str, cluster: Cluster, *arguments: str) -> subprocess.CompletedProcess[str]:
    """What ./run.sh does once everything is installed."""
    return subprocess.run(
        [sys.executable, "-m", "launcher", command, *arguments], cwd=ROOT, capture_output=True, text=True,
        env={**os.environ, "CONFIG": str(cluster.config)}, timeout=60, check=False,
    )


def reset_done(cluster: Cluster) -> subprocess.CompletedProcess[str] | None:
    """None as long as a node that has left seems to run: what it could not take back in time expires."""
    done = run_sh("reset", cluster, "--yes")
    return None if "stop all nodes first" in done.stderr else done


def turns(cluster: Cluster, pid: int, context: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = cluster.nodes[pid].read(f"view {context}")["turns"]
    return found


def answered(cluster: Cluster, pid: int, context: str) -> None:
    until(lambda: len(turns(cluster, pid, context)[-1]["candidates"]) == len(cluster.pids))


def test_commands(cluster: Cluster) -> None:
    """A conversation from all sides, and what is refused."""
    one, two, three = (cluster.nodes[pid] for pid in cluster.pids)
    one.ok("create c1")
    assert "already exists" in two.do("create c1")["error"]
    assert two.ok("query c1 Why?")["turn"] == 1
    answered(cluster, 3, "c1")
    assert three.ok("choose c1 2")["node"] == 2
    assert "already chosen: node 2" in one.do("choose c1 1")["error"]
    assert one.ok("ask c1 And?")["turn"] == 2
    until(lambda: turns(cluster, 2, "c1")[1]["chosen"])
    two.ok("query c1 Which?")
    answered(cluster, 1, "c1")
    two.ok("choose c1 auto")
    until(lambda: turns(cluster, 3, "c1")[2]["chosen"])
    three.ok("query c1 Never mind")
    one.ok("retry c1")
    two.ok("cancel c1")
    assert [found["context"] for found in three.read("viewall")["conversations"]] == ["c1"]
    status = cluster.converged()
    assert status["standing"] == "voter"
    until(lambda: len((shown := one.ok("status"))["links"]) == 2 and shown["leader"] in cluster.pids)
    log = one.ok("log 1000")["log"]  # answers that came too late may be in it since
    assert [entry["position"] for entry in log] == list(range(1, len(log) + 1)) and len(log) >= status["applied"]
    assert "another engine" in one.do("explain on")["error"]


def test_members(cluster: Cluster) -> None:
    before = cluster.nodes[1].ok("members")
    assert [member["node"] for member in before["members"]] == cluster.pids
    assert all(member["votes"] for member in before["members"])
    assert cluster.owner()["cluster_id"] == before["cluster"]
    cluster.nodes[2].ok("members add 4")
    four = cluster._process(["node.py", "4", "--join"], "node-4")
    four.wait(lambda event: event["event"] == "connected" and event["to"] == "etcd")
    until(lambda: four.ok("members")["members"][-1]["votes"])
    until(lambda: len(cluster.nodes[1].ok("members")["members"]) == 4)
    cluster.nodes[1].ok("members remove 4")
    four.wait(lambda event: event["event"] == "removed")
    assert four.popen.wait(30) == 0


def test_nodes_and_members_are_killed(cluster: Cluster, etcd: EtcdMembers) -> None:
    """Any node, a member of etcd, the leader of either; everything that was acknowledged is there."""
    leader = cluster.leader()
    etcd.kill(etcd.leader())
    cluster.nodes[leader].ok("create without-a-member")
    cluster.nodes[leader].kill()
    left = [pid for pid in cluster.pids if pid != leader]
    cluster.nodes[left[0]].ok("create without-a-leader")
    assert cluster.leader(among=left) != leader
    for number in etcd.numbers:
        if not etcd.status(number):
            etcd.start(number)
    etcd.ready()
    cluster.start([leader])
    shown = cluster.nodes[leader].read("viewall")
    assert {"without-a-member", "without-a-leader"} <= {each["context"] for each in shown["conversations"]}
    cluster.converged()


def test_without_a_majority_of_members_users_are_told(cluster: Cluster, etcd: EtcdMembers) -> None:
    """What waits says why, views are marked, and all goes on when the members are back."""
    node = cluster.nodes[1]
    two = etcd.numbers[:2]
    for number in two:
        etcd.signal(number, signal.SIGSTOP)
    try:
        line = node.send("create waits")
        node.wait(lambda event: event["event"] == "waiting" and event["line"] == line, 30)
        assert cluster.nodes[2].ok("viewall")["stale"]
        for pid in (2, 3):
            until(lambda pid=pid: "etcd" in cluster.nodes[pid].ok("status").get("notice", ""))  # type: ignore[misc]
    finally:
        for number in two:
            etcd.signal(number, signal.SIGCONT)
    assert node.result(line)["ok"]
    until(lambda: "notice" not in cluster.nodes[2].ok("status"))
    cluster.leader()


def test_a_wiped_node_and_compacted_history(cluster: Cluster, etcd: EtcdMembers) -> None:
    node = cluster.nodes[1]
    for number in range(5):
        node.ok(f"create more-{number}")
    etcd.compact()
    cluster.nodes[3].kill()
    for path in (cluster.folder / "data").glob("node-3*"):
        path.unlink()
    node.ok("create meanwhile")
    etcd.compact()
    cluster.start([3])
    assert any(each["context"] == "meanwhile" for each in cluster.nodes[3].read("viewall")["conversations"])
    cluster.converged()


def test_a_second_process_of_a_node_takes_its_place(cluster: Cluster, etcd: EtcdMembers, tmp_path: Path) -> None:
    """On another machine, so that no lock tells."""
    with Cluster(tmp_path, 1, engine=on(etcd), nodes=[{"id": pid} for pid in cluster.pids]) as elsewhere:
        elsewhere.nodes[1].ok("create from-elsewhere")
        with contextlib.suppress(BrokenPipeError):  # it may have noticed, and stopped, already
            cluster.nodes[1].send("create too-late")
        failed = cluster.nodes[1].wait(lambda event: event["event"] == "failed")
        assert "another process runs as node 1" in failed["error"]
        assert cluster.nodes[1].popen.wait(30) == 1
    cluster.start([1])
    until(lambda: cluster.leader())
    shown = {each["context"] for each in cluster.nodes[1].read("viewall")["conversations"]}
    assert "from-elsewhere" in shown and "too-late" not in shown


def test_backups_move_between_the_engines(cluster: Cluster, etcd: EtcdMembers, tmp_path: Path) -> None:
    file, back = tmp_path / "from-etcd", tmp_path / "from-paxos"
    digest = cluster.converged()["digest"]
    assert run_sh("backup", cluster, str(file)).returncode == 0
    embedded = Cluster(tmp_path / "embedded", 3)
    assert run_sh("restore", embedded, str(file)).returncode == 0
    with embedded:
        embedded.leader()
        assert embedded.converged()["digest"] == digest
        embedded.nodes[1].ok("create there")
        digest = embedded.converged()["digest"]
        assert run_sh("backup", embedded, str(back)).returncode == 0
    again = Cluster(tmp_path / "again", 3, engine=on(etcd, "again"))
    done = run_sh("restore", again, str(back))
    assert done.returncode == 0 and "./run.sh starts them" in done.stdout, done
    refused = run_sh("restore", again, str(back))
    assert refused.returncode == 1 and "there are conversations already" in refused.stderr
    with again:
        again.leader()
        status = again.converged()
        assert status["digest"] == digest
        again.nodes[2].ok("query there Still?")
        answered(again, 3, "there")
        assert again.converged()["applied"] > status["applied"]
        running = run_sh("reset", again, "--yes")
        assert running.returncode == 1 and "stop all nodes first" in running.stderr
        for pid in again.pids:
            again.nodes[pid].finish()
    done = until(partial(reset_done, again))
    assert done.returncode == 0 and "keys in etcd" in done.stdout, done


def test_users_certificates_and_an_etcd_without_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user who may use the prefix only, over TLS; and then the space is used up."""
    tls = tmp_path / "tls"
    make_authority(tls, "test")
    for name in ("member", "client"):
        make_certificate(tls, "test", name, ["127.0.0.1"])
    etcd = EtcdMembers(tmp_path / "etcd", 1, ["--quota-backend-bytes", "1500000"], tls)
    engine = on(etcd, tls={"ca": "tls/ca.crt", "cert": "tls/client.crt", "key": "tls/client.key"}, user="consensus",
                password_env="TEST_ETCD_PASSWORD")
    monkeypatch.setenv("TEST_ETCD_PASSWORD", "of no worth")
    with etcd:
        allow(etcd, "consensus", "of no worth", "test/")
        with Cluster(tmp_path, 1, engine=engine) as cluster:
            node = cluster.nodes[1]
            node.ok("create c1")
            line = node.send(*(f"query c1 {'x' * 100_000}\ncancel c1" for _ in range(20)))
            node.wait(lambda event: "out of space" in str(event.get("reason")))
            look = CommandAtSocket(cluster, 1)
            until(lambda: look("view c1")["stale"] is False)
            until(lambda: "out of space" in look("status").get("notice", ""))
            etcd.kill(1)
            etcd.options[1] = "100000000"
            etcd.start(1)
            until(partial(logged_in, etcd, "root", "root"))
            for alarm in etcd.ask(1, "/v3/maintenance/alarm", {"action": "GET"})["alarms"]:
                etcd.ask(1, "/v3/maintenance/alarm", {"action": "DEACTIVATE", **alarm})
            assert node.result(line, 60)["ok"]
            until(lambda: "notice" not in look("status"))  # the node's other work at etcd is resumed a moment later


class CommandAtSocket:
    """Another user of a node, who does not wait for what is typed at its prompt."""

    def __init__(self, cluster: Cluster, node: int) -> None:
        self._command = [sys.executable, "ctl.py", "--node", str(node), "--config", str(cluster.config), "--json"]

    def __call__(self, line: str) -> dict[str, Any]:
        done = subprocess.run([*self._command, *line.split()], cwd=ROOT, capture_output=True, timeout=60, check=True)
        found: dict[str, Any] = json.loads(done.stdout)
        return found


def test_what_cannot_be_is_said(cluster: Cluster, etcd: EtcdMembers, tmp_path: Path) -> None:
    """Another cluster's prefix; data of the embedded engine; an orchestrator; rescue."""
    with Cluster(tmp_path / "other", 1, engine=on(etcd), cluster="other") as other:
        failed = other.nodes[1].wait(lambda event: event["event"] == "failed")
        assert "holds cluster test, not other" in failed["error"]
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "node-1.db").write_bytes(b"conversations")
    with Cluster(tmp_path, 1, engine=on(etcd)) as mixed:
        assert mixed.nodes[1].popen.wait(30) == 1
        assert "holds conversations of the embedded engine" in mixed.nodes[1].log.read_text()
    done = subprocess.run(
        [sys.executable, "network_server.py", "--config", str(cluster.config)], cwd=ROOT, capture_output=True,
        text=True, timeout=30, check=False,
    )
    assert done.returncode == 2 and "nodes need no orchestrator" in done.stderr
    assert "rescue is for the embedded engine" in run_sh("rescue", cluster).stderr
