"""Convenience features with real processes: ctl.py, files, explanations, the log, signals, sizes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.harness import CALM, PATIENCE_S, ROOT, Cluster, Event, until


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three nodes, for tests that do not change their state."""
    with Cluster(tmp_path_factory.mktemp("user"), size=3) as cluster:
        cluster.leader()
        yield cluster


def ctl(cluster: Cluster, node: int, *words: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "ctl.py"), "--config", str(cluster.config), "--node", str(node), *words],
        cwd=cwd, capture_output=True, text=True, timeout=PATIENCE_S,
    )


def answered(cluster: Cluster, context: str) -> None:
    """Waits until every node has seen all answers."""
    for process in cluster.nodes.values():
        process.wait(lambda e: e["event"] == "candidate" and e["context"] == context and e["have"] == 3)


def test_ctl_speaks_for_scripts(running: Cluster) -> None:
    created = ctl(running, 2, "create", "scripts")
    assert (created.returncode, created.stdout) == (0, "scripts: created\n")
    assert all(line.startswith("still trying: ") for line in created.stderr.splitlines()), "it is told after 2 s"
    again = ctl(running, 2, "--json", "create", "scripts")
    result = json.loads(again.stdout)
    assert again.returncode == 1 and not result["ok"] and "'scripts' already" in result["error"]
    asked = ctl(running, 1, "query", "scripts", "two\nlines")
    assert asked.returncode == 0 and asked.stdout.startswith("scripts: question 1 sent to every node")
    assert running.nodes[3].read("view scripts")["turns"][0]["query"] == "two\nlines"
    wrong = ctl(running, 2, "crate", "c2")
    assert wrong.returncode == 2 and "did you mean create?" in wrong.stderr and not wrong.stdout
    answered(running, "scripts")
    answer = ctl(running, 3, "--wait", "choose", "scripts", "auto")
    assert answer.returncode == 0 and answer.stdout.startswith("Node "), answer.stderr
    at_network = subprocess.run(
        [sys.executable, str(ROOT / "ctl.py"), "--config", str(running.config), "--network", "status"],
        capture_output=True, text=True, timeout=PATIENCE_S,
    )
    assert at_network.returncode == 0 and at_network.stdout.count(" up ") == 3, at_network.stderr
    status = json.loads(ctl(running, 2, "--json", "status").stdout)
    assert status["node"] == 2 and {"in_flight", "waiting", "replies", "failures"} <= set(status["llm"])


def test_one_answer_is_made_out_of_the_others(running: Cluster) -> None:
    node = running.nodes[1]
    node.ok("create made")
    node.ok("query made Why?")
    answered(running, "made")
    made = ctl(running, 2, "choose", "made", "synth", "--wait")
    assert made.returncode == 0 and made.stdout.startswith("Node "), made.stderr
    by_name = ctl(running, 2, "--json", "--wait", "choose", "made", "synth", "3")
    said = json.loads(by_name.stdout)["last"]["candidates"]["0"]
    assert by_name.returncode == 0 and (said["by"], said["out_of"]) == (3, [1, 2, 3]), by_name.stderr
    assert said["text"].startswith('Node 3 on "Why?') and said["tokens_in"] > 50, "it has read the answers"
    absent = ctl(running, 2, "choose", "made", "synth", "9", "--wait")
    assert absent.returncode == 1 and "there is no node 9: the nodes are 1, 2, 3" in absent.stderr
    assert ctl(running, 3, "choose", "made", "0").stdout == "made: the synthesis chosen\n"
    views = [running.nodes[number].read("view made")["turns"][0] for number in running.nodes]
    assert [view["chosen"] for view in views] == [0, 0, 0] and views[0]["candidates"]["0"] == said
    for process in running.nodes.values():
        process.wait(lambda e: e["event"] == "synthesis" and e["context"] == "made" and e["by"] == 3)
    late = ctl(running, 2, "choose", "made", "synth", "--wait")
    assert late.returncode == 1 and "already chosen: the synthesis, turn 1" in late.stderr


def test_an_imported_conversation_asks_no_llm(running: Cluster, tmp_path: Path) -> None:
    node = running.nodes[1]
    node.ok("create talk")
    node.ok("query talk Why?")
    answered(running, "talk")
    node.ok("choose talk 2")
    node.ok("ask talk And then?")
    until(lambda: node.ok("view talk")["turns"][1]["chosen"])
    assert ctl(running, 1, "export", "talk", "talk.md", cwd=tmp_path).returncode == 0
    assert "## 1. Why?" in (tmp_path / "talk.md").read_text()
    exported = ctl(running, 1, "export", "talk", "talk.json", cwd=tmp_path)
    assert exported.returncode == 0, exported.stderr
    refused = ctl(running, 1, "export", "talk", "talk.json", cwd=tmp_path)
    assert refused.returncode == 1 and "--force overwrites it" in refused.stderr

    asked = {pid: process.ok("status")["llm"]["replies"] for pid, process in running.nodes.items()}
    imported = ctl(running, 3, "import", "talk.json", "copy", cwd=tmp_path)
    assert (imported.returncode, imported.stdout) == (0, "copy: 2 questions imported\n")
    turns = [process.read("view copy")["turns"] for process in running.nodes.values()]
    assert turns == [node.ok("view talk")["turns"]] * 3
    running.converged()
    assert asked == {pid: process.ok("status")["llm"]["replies"] for pid, process in running.nodes.items()}


def test_the_log_is_the_same_everywhere(running: Cluster) -> None:
    running.nodes[1].ok("create log-1")
    running.nodes[2].ok("create log-2")
    running.converged()
    logs = [process.ok("log 1000")["log"] for process in running.nodes.values()]
    names = [[(e["position"], e["origin"], e["number"], e["command"], e["context"]) for e in log] for log in logs]
    assert names[0] == names[1] == names[2]
    assert names[0][-2][1:2] + names[0][-2][3:] == (1, "create", "log-1")
    assert all(entry["ballot"] is None or entry["ballot"][2] == entry["position"] for log in logs for entry in log)
    times = [[entry["at"] for entry in log] for log in logs]
    assert times[0] == times[1] == times[2] and abs(times[0][-1] - time.time()) < PATIENCE_S
    running.nodes[3].kill()
    running.start([3])
    running.converged()
    again = running.nodes[3].ok("log 1000")["log"]
    assert [entry["at"] for entry in again] == times[2], "a restart forgets no time"
    assert running.nodes[3].ok("viewall")["changed"] == running.nodes[1].ok("viewall")["changed"]
    assert running.nodes[3].ok("viewall")["changed"]["log-2"] == times[0][-1]


def test_use_works_in_json_too(running: Cluster) -> None:
    node = running.nodes[2]
    lines = [node.send(line) for line in ("create used", "use used", "query Is it?", "view", "use")]
    results = [node.result(line) for line in lines]
    assert all(result["ok"] for result in results)
    assert results[3]["context"] == "used" and results[3]["turns"][0]["query"] == "Is it?"
    assert not node.do("query Is it?")["ok"]


def test_explanations_of_a_failover(tmp_path: Path) -> None:
    with Cluster(tmp_path, size=3, timing=CALM) as cluster:
        leader = cluster.leader()
        survivors = [pid for pid in cluster.nodes if pid != leader]
        for pid in survivors:
            cluster.nodes[pid].ok("explain on")
        cluster.nodes[leader].kill()
        successor = cluster.leader(among=survivors)
        (follower,) = set(survivors) - {successor}
        cluster.nodes[follower].ok("create c1")

        def told(pid: int, phase: str, *words: str) -> Event:
            return cluster.nodes[pid].wait(
                lambda e: e["event"] == "explain" and e["phase"] == phase and all(word in e["text"] for word in words)
            )

        stood = told(successor, "prepare", "I campaign: Prepare <")
        assert stood["ballot"][1] == successor
        told(successor, "lead", "prepared <", f"node {follower} and this one promise; that is a majority of 3; I lead")
        told(successor, "accept", "I propose <")
        told(successor, "decide", "that is a majority of 3: decided")
        told(follower, "promise", f"promised node {successor} <")
        told(follower, "accepted", f"now on my disk; replied to node {successor}")
        told(follower, "decide", "create c1, submitted by this node")
        told(follower, "link", f"heartbeats with node {leader} no longer pass both ways")
        cluster.nodes[follower].ok("explain off")

        # Without a majority a script gets a timeout, and the node keeps trying.
        cluster.nodes[successor].kill()
        late = ctl(cluster, follower, "--timeout", "8", "create", "late")
        assert late.returncode == 1 and "no answer within 8 s" in late.stderr
        assert "still trying: no majority reachable" in late.stderr
        cluster.start([successor])
        until(lambda: any(c["context"] == "late" for c in cluster.nodes[follower].ok("viewall")["conversations"]))


@pytest.mark.parametrize(("sign", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_signals(running: Cluster, sign: signal.Signals, code: int) -> None:
    node = running.nodes[3]
    node.ok("status")
    node.signal(sign)
    assert node.popen.wait(PATIENCE_S) == code
    assert "Traceback" not in node.log.read_text()
    assert not (running.folder / "data" / "node-3.sock").exists()
    running.start([3])
    running.converged()


@pytest.mark.parametrize("size", [3, 7])
def test_other_sizes_by_configuration_alone(size: int, tmp_path: Path) -> None:
    with Cluster(tmp_path, size=size) as cluster:
        leader = cluster.leader()
        spare = [pid for pid in cluster.nodes if pid != leader]
        node = cluster.nodes[spare[-1]]
        node.ok("create c1")
        node.ok("query c1 why?")
        node.wait(lambda e: e["event"] == "candidate" and e["have"] == size == e["of"])
        for pid in [leader, *spare[: (size - 1) // 2 - 1]]:
            cluster.nodes[pid].kill()
        assert node.ok(f"choose c1 {leader}")["node"] == leader
        assert cluster.converged()["ok"]
